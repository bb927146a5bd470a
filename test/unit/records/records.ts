import type { RecordHeader, SourceRecord } from '../../../src/lib/ports.ts';

/** A record as a source hands it over; a value that is no Buffer is its text, or its JSON. */
export function recordOf(value: unknown, more: Partial<SourceRecord> = {}): SourceRecord {
  const bytes =
    value === null || Buffer.isBuffer(value)
      ? value
      : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  return {
    offset: 7n,
    timestampMs: Date.UTC(2026, 10, 1, 12),
    key: Buffer.from('k'),
    value: bytes,
    headers: [],
    ...more,
  };
}

export const header = (name: string, value: string | Buffer | null): RecordHeader => [
  name,
  typeof value === 'string' ? Buffer.from(value) : value,
];

export const limits = { maxValueBytes: 2_000_000, maxHeaders: 1000, maxDepth: 5000 };

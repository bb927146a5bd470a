import type { FetchedBatch, SourceRecord } from '../../../src/lib/ports.ts';
import { dead, type Decoded } from '../../../src/lib/records/decoded.ts';

/** A record whose value says what becomes of it: `dead…` is refused, anything else is a row. */
export function record(offset: number | bigint, value: string | null = `v${offset}`): SourceRecord {
  const bytes = value === null ? null : Buffer.from(value);
  return { offset: BigInt(offset), timestampMs: 0, key: null, value: bytes, headers: [] };
}

export interface TestRow {
  readonly offset: bigint;
  readonly text: string;
}

export function decodeTest({ offset, value }: SourceRecord): Decoded<TestRow> {
  const text = value?.toString() ?? '';
  return text.startsWith('dead') ? dead('schema', 'refused') : { kind: 'row', row: { offset, text } };
}

/** A fetch of [position, nextPosition) that holds these records. */
export function fetched(position: number, nextPosition: number, records: readonly SourceRecord[]): FetchedBatch {
  return {
    topic: 'events',
    partition: 0,
    position: BigInt(position),
    nextPosition: BigInt(nextPosition),
    highWatermark: BigInt(nextPosition),
    records,
    recordCount: records.length,
    bytes: records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0),
  };
}

/** A fetch without gaps, one record a value. */
export function fetchOf(position: number, values: readonly string[]): FetchedBatch {
  return fetched(
    position,
    position + values.length,
    values.map((value, index) => record(position + index, value)),
  );
}

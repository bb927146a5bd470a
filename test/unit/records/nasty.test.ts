import { describe, expect, test } from 'vitest';

import type { SourceRecord } from '../../../src/lib/ports.ts';
import { createEventDecoder } from '../../../src/lib/records/event.ts';
import { createLogDecoder } from '../../../src/lib/records/log.ts';
import { nastyCases, nastyOutcomes, nastyRecord, type NastyCase } from '../../support/nasty-cases.ts';

const options = { defaultSource: 'shop', limits: { maxValueBytes: 8_000_000, maxHeaders: 1000, maxDepth: 5000 } };
const decodeEvent = createEventDecoder(options);
const decodeLog = createLogDecoder(options);

const recordOf = (nasty: NastyCase): SourceRecord => {
  const { key, value, headers, timestampMs } = nastyRecord(nasty);
  return { offset: 1n, timestampMs: timestampMs ?? Date.UTC(2026, 10, 1, 12), key, value, headers };
};

/** What a path leads to, as PostgreSQL's #>> shows it; numbers by their text. */
function textAt(json: string, path: readonly string[]): unknown {
  const source = JSON as unknown as {
    parse: (text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown) => unknown;
  };
  const parsed = source.parse(json, (_key, value, context) => (typeof value === 'number' ? context.source : value));
  return path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], parsed);
}

describe('a record that breaks pipelines', () => {
  test.each(nastyCases.map((nasty) => [nasty.name, nasty] as const))('%s', (_name, nasty) => {
    const record = recordOf(nasty);
    const decoded = nasty.topic === 'logs' ? decodeLog(record) : decodeEvent(record);
    expect(nastyOutcomes(nasty)).toContain(decoded.kind === 'row' ? 'stored' : `dlq:${decoded.reason}`);
    if (decoded.kind === 'dead' || nasty.assert === undefined) {
      return;
    }
    const { path, text } = nasty.assert;
    if ('lines' in decoded.row) {
      const [line] = decoded.row.lines;
      expect(path[0] === 'service' ? line?.service : line?.body).toBe(text);
    } else {
      expect(textAt(`{"data":${decoded.row.data?.toString()}}`, path)).toBe(text);
    }
  });
});

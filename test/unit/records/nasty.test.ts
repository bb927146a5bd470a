import { readFileSync } from 'node:fs';

import { describe, expect, test } from 'vitest';

import type { SourceRecord } from '../../../src/lib/ports.ts';
import { createEventDecoder } from '../../../src/lib/records/event.ts';
import { createLogDecoder } from '../../../src/lib/records/log.ts';

/** Records that break pipelines, each with its outcome; what a large one holds is made from `value_gen`. */
interface NastyCase {
  readonly name: string;
  readonly topic: 'events' | 'logs' | 'analytics';
  readonly key_b64: string | null;
  readonly value_b64: string | null;
  readonly value_gen?: { readonly kind: 'deep' | 'wide' | 'fill' | 'words'; readonly n: number };
  readonly headers: readonly (readonly [string, string | null])[];
  readonly ts_ms: number | null;
  readonly id: string | null;
  readonly expect: 'stored' | 'dlq';
  readonly reason: string | null;
  readonly accept_also?: string;
  readonly assert?: { readonly path: readonly string[]; readonly text: string };
}

const cases = readFileSync(new URL('nasty.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as NastyCase);
const options = { defaultSource: 'shop', limits: { maxValueBytes: 8_000_000, maxHeaders: 1000, maxDepth: 5000 } };
const decodeEvent = createEventDecoder(options);
const decodeLog = createLogDecoder(options);
const bytes = (base64: string | null): Buffer | null => (base64 === null ? null : Buffer.from(base64, 'base64'));

function largeBody({ kind, n }: NonNullable<NastyCase['value_gen']>): string {
  switch (kind) {
    case 'deep':
      return '['.repeat(n) + ']'.repeat(n);
    case 'wide':
      return `{${Array.from({ length: n }, (_, index) => `"k${index}":${index}`).join(',')}}`;
    case 'fill':
      return JSON.stringify('a'.repeat(n));
    case 'words':
      return JSON.stringify(Array.from({ length: n }, (_, index) => `w${index.toString(16)}`).join(' '));
  }
}

function valueOf({ value_b64: value, value_gen: large, topic, id }: NastyCase): Buffer | null {
  if (large === undefined) {
    return bytes(value);
  }
  const body = largeBody(large);
  const data = large.kind === 'fill' || large.kind === 'words' ? `{"v":${body}}` : body;
  const time = '"time":"2026-11-01T12:00:00.000Z"';
  return Buffer.from(
    topic === 'logs' ? `{${time},"message":${body}}` : `{"id":"${id}","type":"order.updated",${time},"data":${data}}`,
  );
}

const recordOf = (nasty: NastyCase): SourceRecord => ({
  offset: 1n,
  timestampMs: nasty.ts_ms ?? Date.UTC(2026, 10, 1, 12),
  key: bytes(nasty.key_b64),
  value: valueOf(nasty),
  headers: nasty.headers.map(([name, value]) => [name, bytes(value)]),
});

/** What a path leads to, as PostgreSQL's #>> shows it; numbers by their text. */
function textAt(json: string, path: readonly string[]): unknown {
  const source = JSON as unknown as {
    parse: (text: string, reviver: (key: string, value: unknown, context: { source?: string }) => unknown) => unknown;
  };
  const parsed = source.parse(json, (_key, value, context) => (typeof value === 'number' ? context.source : value));
  return path.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], parsed);
}

describe('a record that breaks pipelines', () => {
  test.each(cases.map((nasty) => [nasty.name, nasty] as const))('%s', (_name, nasty) => {
    const record = recordOf(nasty);
    const decoded = nasty.topic === 'logs' ? decodeLog(record) : decodeEvent(record);
    const outcome = decoded.kind === 'row' ? 'stored' : `dlq:${decoded.reason}`;
    const expected = nasty.expect === 'stored' ? 'stored' : `dlq:${nasty.reason}`;
    expect([expected, nasty.accept_also?.replace(/^stored:.*/, 'stored') ?? expected]).toContain(outcome);
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

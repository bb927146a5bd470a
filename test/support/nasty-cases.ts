import { readFileSync } from 'node:fs';

import type { RecordHeader } from '../../src/lib/ports.ts';

/** Records that break pipelines, each with its outcome; what a large one holds is made from `value_gen`. */
export interface NastyCase {
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
  /** Cases that belong into one batch, in this order. */
  readonly group?: string;
}

export const nastyCases: readonly NastyCase[] = readFileSync(
  new URL('../unit/records/nasty.jsonl', import.meta.url),
  'utf8',
)
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as NastyCase);

const bytes = (base64: string | null): Buffer | null => (base64 === null ? null : Buffer.from(base64, 'base64'));

/** A case as it is sent. */
export function nastyRecord(nasty: NastyCase): {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
  readonly timestampMs: number | null;
} {
  return {
    key: bytes(nasty.key_b64),
    value: valueOf(nasty),
    headers: nasty.headers.map(([name, value]) => [name, bytes(value)]),
    timestampMs: nasty.ts_ms,
  };
}

/** The outcomes that are right: `stored`, `dlq:REASON`. */
export function nastyOutcomes({ expect, reason, accept_also: also }: NastyCase): readonly string[] {
  const expected = expect === 'stored' ? 'stored' : `dlq:${reason}`;
  return [expected, also?.replace(/^stored:.*/, 'stored') ?? expected];
}

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

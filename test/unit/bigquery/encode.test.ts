import * as fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';

import type { AnalyticsRow } from '../../../src/lib/bigquery/analytics-row.ts';
import { columns, rowDescriptor } from '../../../src/lib/bigquery/columns.ts';
import { createRowEncoder } from '../../../src/lib/bigquery/encode.ts';

/** protobufjs as the oracle: a reader that shares no code with the encoder. */
const AnalyticsRowMessage = new protobuf.Type('AnalyticsRow');
for (const { name, number, type } of rowDescriptor.field) {
  AnalyticsRowMessage.add(new protobuf.Field(name, number, type === 'TYPE_STRING' ? 'bytes' : 'int64'));
}
new protobuf.Root().add(AnalyticsRowMessage);

function decode(encoded: Buffer): Record<string, string> {
  const message = AnalyticsRowMessage.decode(encoded);
  const plain = AnalyticsRowMessage.toObject(message, { longs: String, bytes: String });
  return Object.fromEntries(
    Object.entries(plain).map(([name, value]) => {
      const isText =
        columns.find((column) => column.name === name)?.type !== 'INT64' && !/^(time|ingested_at)$/.test(name);
      return [name, isText ? Buffer.from(String(value), 'base64').toString('latin1') : String(value)];
    }),
  );
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const rows: fc.Arbitrary<AnalyticsRow> = fc.record({
  offset: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
  id: bytes,
  source: bytes,
  type: bytes,
  subject: fc.option(bytes),
  timeMicros: int64,
  data: fc.option(bytes),
  extensions: fc.option(bytes),
  ingestedAtMs: fc.integer({ min: 0, max: 8_640_000_000_000 }),
});

describe('a row as protobuf', () => {
  test('any row reads back as it was, and what is null is absent', () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 0, max: 2 ** 31 - 1 }), (row, partition) => {
        const encoded = createRowEncoder('shop.analytics', partition)(row);
        const expected: Record<string, string> = {
          id: row.id.toString('latin1'),
          source: row.source.toString('latin1'),
          type: row.type.toString('latin1'),
          time: String(row.timeMicros),
          kafka_topic: 'shop.analytics',
          kafka_partition: String(partition),
          kafka_offset: String(row.offset),
          ingested_at: String(row.ingestedAtMs * 1000),
          ...(row.subject === null ? {} : { subject: row.subject.toString('latin1') }),
          ...(row.data === null ? {} : { data: row.data.toString('latin1') }),
          ...(row.extensions === null ? {} : { extensions: row.extensions.toString('latin1') }),
        };
        expect(decode(encoded)).toEqual(expected);
      }),
    );
  });

  test.each([
    -(2n ** 63n),
    -1n,
    0n,
    127n,
    128n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 53n + 1n,
    2n ** 63n - 1n,
  ])('time %s keeps its 64 bits', (timeMicros) => {
    const row: AnalyticsRow = {
      offset: 0n,
      id: Buffer.from('a'),
      source: Buffer.from('b'),
      type: Buffer.from('c'),
      subject: null,
      timeMicros,
      data: null,
      extensions: null,
      ingestedAtMs: 0,
    };
    expect(decode(createRowEncoder('t', 0)(row))['time']).toBe(String(timeMicros));
  });

  test('a long data text is carried byte for byte', () => {
    const data = Buffer.from(`{"n":9007199254740993,"x":1.10,"e":1e400,"s":"${'ü'.repeat(200_000)}"}`);
    const row: AnalyticsRow = {
      offset: 7n,
      id: Buffer.from('a'),
      source: Buffer.from('b'),
      type: Buffer.from('c'),
      subject: null,
      timeMicros: 1n,
      data,
      extensions: null,
      ingestedAtMs: 0,
    };
    const decoded = decode(createRowEncoder('t', 0)(row))['data'] ?? '';
    expect(Buffer.from(decoded, 'latin1').equals(data)).toBe(true);
  });
});

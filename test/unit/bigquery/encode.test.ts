import * as fc from 'fast-check';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';

import type { AnalyticsRow } from '../../../src/lib/bigquery/analytics-row.ts';
import { columns, rowDescriptor } from '../../../src/lib/bigquery/columns.ts';
import { createRowEncoder } from '../../../src/lib/bigquery/encode.ts';
import { compileTypedColumns } from '../../../src/lib/bigquery/typed-columns.ts';

/** protobufjs as the oracle: a reader that shares no code with the encoder. */
const AnalyticsRowMessage = new protobuf.Type('AnalyticsRow');
for (const { name, number, type } of rowDescriptor([]).field) {
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

describe('declared columns as protobuf', () => {
  const every = [
    'STRING',
    'INT64',
    'NUMERIC',
    'BIGNUMERIC',
    'FLOAT64',
    'BOOL',
    'TIMESTAMP',
    'DATE',
    'JSON',
    'ARRAY<STRING>',
    'ARRAY<INT64>',
    'ARRAY<FLOAT64>',
    'ARRAY<BOOL>',
    'ARRAY<DATE>',
  ] as const;
  const typed = compileTypedColumns(
    { '*': Object.fromEntries(every.map((type, index) => [`c${index}`, { from: `data.c${index}`, type }])) },
    100,
  );
  /** Of the descriptor that goes along with the rows, by protobufjs. */
  const Message = new protobuf.Type('Typed');
  for (const { name, number, type, label } of typed.descriptor.field) {
    const rule = label === 'LABEL_REPEATED' ? 'repeated' : 'optional';
    Message.add(new protobuf.Field(name, number, type.slice(5).toLowerCase(), rule));
  }
  new protobuf.Root().add(Message);

  function roundTrip(data: object): Record<string, unknown> {
    const text = JSON.stringify(data).replaceAll(/"(-?\d+)n"/g, '$1');
    const row: AnalyticsRow = {
      offset: 1n,
      id: Buffer.from('a'),
      source: Buffer.from('b'),
      type: Buffer.from('c'),
      subject: null,
      timeMicros: 1n,
      data: Buffer.from(text),
      extensions: null,
      ingestedAtMs: 0,
    };
    const cells = typed.cellsOf(row);
    if (cells.kind === 'unfit') {
      throw new Error(cells.message);
    }
    const plain = Message.toObject(Message.decode(createRowEncoder('t', 0)(row, cells.cells)), { longs: String });
    expect(plain).toMatchObject({ id: 'a', kafka_topic: 't', data: text });
    return Object.fromEntries(Object.entries(plain).filter(([name]) => /^c\d+$/.test(name)));
  }

  test('each type reads back exactly', () => {
    expect(
      roundTrip({
        c0: 'ünï',
        c1: '-9007199254740993n',
        c2: '1.10',
        c3: '0.00000000000000000000000000000000000001',
        c4: 1.1,
        c5: false,
        c6: '1969-12-31T23:59:59.999999Z',
        c7: '1969-12-31',
        c8: { n: [1] },
        c9: ['', 'b'],
        c10: ['9223372036854775807n', -1],
        c11: [0.1, -0],
        c12: [true, false],
        c13: ['1970-01-02', '0001-01-01'],
      }),
    ).toEqual({
      c0: 'ünï',
      c1: '-9007199254740993',
      c2: '1.1',
      c3: '0.00000000000000000000000000000000000001',
      c4: 1.1,
      c5: false,
      c6: '-1',
      c7: -1,
      c8: '{"n":[1]}',
      c9: ['', 'b'],
      c10: ['9223372036854775807', '-1'],
      c11: [0.1, 0],
      c12: [true, false],
      c13: [1, -719_162],
    });
  });

  test('what is absent is no field', () => {
    expect(roundTrip({ c0: null, c9: [] })).toEqual({});
  });

  test('any numbers and texts read back', () => {
    const data = fc.record({
      c0: fc.string({ unit: 'grapheme' }),
      c1: int64.map((value) => `${value}n`),
      c4: fc.double({ noDefaultInfinity: true, noNaN: true }).map((value) => (Object.is(value, -0) ? 0 : value)),
      c7: fc.integer({ min: -719_162, max: 2_932_896 }),
    });
    fc.assert(
      fc.property(data, ({ c0, c1, c4, c7 }) => {
        const date = new Date(c7 * 86_400_000).toISOString().slice(0, 10);
        expect(roundTrip({ c0: `'${c0}`, c1, c4, c7: date })).toEqual({ c0: `'${c0}`, c1: c1.slice(0, -1), c4, c7 });
      }),
    );
  });
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

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { AnalyticsRow } from '../../../src/lib/bigquery/analytics-row.ts';
import { createLineEncoder, timestampText } from '../../../src/lib/bigquery/ndjson.ts';
import { compileTypedColumns } from '../../../src/lib/bigquery/typed-columns.ts';

const row: AnalyticsRow = {
  offset: 9_223_372_036_854_775_807n,
  id: Buffer.from('ünï "1"'),
  source: Buffer.from('/shop'),
  type: Buffer.from('page.viewed'),
  subject: null,
  timeMicros: 1_795_000_000_123_456n,
  data: Buffer.from('{"n":9007199254740993,\n "price":1.10,\r\n"huge":1e400}'),
  extensions: null,
  ingestedAtMs: 1_795_000_001_000,
};
const encode = createLineEncoder('shop.analytics', 3);

describe('a row as a line of JSON', () => {
  test('numbers stay the texts that they were, and a line break between tokens is a space', () => {
    expect(String(encode(row))).toBe(
      '{"id":"ünï \\"1\\"","source":"/shop","type":"page.viewed"' +
        ',"time":"2026-11-18 11:06:40.123456 UTC","ingested_at":"2026-11-18 11:06:41.000000 UTC"' +
        ',"kafka_topic":"shop.analytics","kafka_partition":3,"kafka_offset":9223372036854775807' +
        ',"data":{"n":9007199254740993,  "price":1.10,  "huge":1e400}}\n',
    );
  });

  test('declared columns: numbers that a double would bend go as strings, what is absent is not there', () => {
    const typed = compileTypedColumns(
      {
        'page.*': {
          n: { from: 'data.n', type: 'INT64' },
          price: { from: 'data.price', type: 'NUMERIC' },
          ratio: { from: 'data.ratio', type: 'FLOAT64' },
          done: { from: 'data.done', type: 'BOOL' },
          at: { from: 'data.at', type: 'TIMESTAMP' },
          day: { from: 'data.day', type: 'DATE' },
          raw: { from: 'data.raw', type: 'JSON' },
          tags: { from: 'data.tags', type: 'ARRAY<STRING>' },
          ids: { from: 'data.ids', type: 'ARRAY<INT64>' },
          gone: { from: 'data.gone', type: 'STRING' },
        },
      },
      100,
    );
    const data = `{"n":9007199254740993,"price":1.10,"ratio":1e21,"done":true,"at":"2026-11-23T08:00:00Z","day":"2026-11-23",
      "raw":{"a":\n1.10},"tags":["a\\n\\"b"],"ids":[1,-9223372036854775808],"gone":null}`;
    const each = { ...row, data: Buffer.from(data) };
    const cells = typed.cellsOf(each);
    const line = String(encode(each, cells.kind === 'cells' ? cells.cells : []));
    expect(line.slice(line.indexOf(',"n":"'))).toBe(
      ',"n":"9007199254740993","price":"1.1","ratio":1e+21,"done":true,"at":"2026-11-23 08:00:00.000000 UTC"' +
        ',"day":"2026-11-23","raw":{"a": 1.10},"tags":["a\\n\\"b"],"ids":["1","-9223372036854775808"]}\n',
    );
    expect(line.indexOf('\n')).toBe(line.length - 1);
  });

  test('any row is one line, and its JSON says what the row says', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 }).map((value) => Buffer.from(value));
    const rows = fc.record({
      offset: fc.bigInt({ min: 0n, max: 2n ** 53n - 1n }),
      id: text,
      source: text,
      type: text,
      subject: fc.option(text),
      timeMicros: fc.bigInt({ min: -62_135_596_800_000_000n, max: 253_402_300_799_999_999n }),
      data: fc.option(fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value, null, 2)))),
      extensions: fc.constant(null),
      ingestedAtMs: fc.integer({ min: 0, max: 8_640_000_000_000 }),
    });
    fc.assert(
      fc.property(rows, (each) => {
        const line = String(encode(each));
        expect(line.indexOf('\n')).toBe(line.length - 1);
        const parsed = JSON.parse(line) as Record<string, unknown>;
        expect(parsed).toMatchObject({ id: String(each.id), kafka_offset: Number(each.offset), kafka_partition: 3 });
        expect(parsed['subject']).toBe(each.subject === null ? undefined : String(each.subject));
        expect(parsed['data']).toEqual(each.data === null ? undefined : JSON.parse(String(each.data)));
      }),
    );
  });

  test.each([
    [0n, '1970-01-01 00:00:00.000000 UTC'],
    [-1n, '1969-12-31 23:59:59.999999 UTC'],
    [-62_135_596_800_000_000n, '0001-01-01 00:00:00.000000 UTC'],
    [253_402_300_799_999_999n, '9999-12-31 23:59:59.999999 UTC'],
  ])('%s microseconds are %s', (micros, text) => {
    expect(timestampText(micros)).toBe(text);
  });
});

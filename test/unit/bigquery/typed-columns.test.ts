import { describe, expect, test } from 'vitest';

import { compileTypedColumns, type Cells } from '../../../src/lib/bigquery/typed-columns.ts';
import type { WarehouseColumns } from '../../../src/lib/config/schema.ts';

type DeclaredType = WarehouseColumns[string][string]['type'];

function read(type: DeclaredType, value: string): Cells {
  const typed = compileTypedColumns({ '*': { it: { from: 'data.v', type } } }, 100);
  return typed.cellsOf({ type: Buffer.from('page.viewed'), data: Buffer.from(`{"before":{"v":0}, "v" : ${value} }`) });
}

/** The values of the one column; texts as strings. */
function valuesOf(cells: Cells): unknown {
  if (cells.kind === 'unfit') {
    return cells.message;
  }
  return cells.cells.flatMap(({ values }) => values.map((value) => (Buffer.isBuffer(value) ? String(value) : value)));
}

describe('a declared column', () => {
  test.each([
    ['STRING', '"a\\nb\\u00fc"', ['a\nbü']],
    ['STRING', '"\\ud800"', ['\ufffd']],
    ['STRING', '""', ['']],
    ['INT64', '9007199254740993', [9_007_199_254_740_993n]],
    ['INT64', '-9223372036854775808', [-(2n ** 63n)]],
    ['INT64', '"9223372036854775807"', [2n ** 63n - 1n]],
    ['NUMERIC', '1.10', ['1.1']],
    ['NUMERIC', '"0.1000000001e1"', ['1.000000001']],
    ['BIGNUMERIC', '0.12345678901234567890123456789012345678', ['0.12345678901234567890123456789012345678']],
    ['FLOAT64', '1.1', [1.1]],
    ['FLOAT64', '-0', [-0]],
    ['FLOAT64', '1e308', [1e308]],
    ['BOOL', 'true', [true]],
    ['BOOL', 'false', [false]],
    ['TIMESTAMP', '"2026-11-23T08:00:00.000001+01:00"', [1_795_417_200_000_001n]],
    ['TIMESTAMP', '1795417200000', [1_795_417_200_000_000n]],
    ['DATE', '"1970-01-02"', [1]],
    ['DATE', '"0001-01-01"', [-719_162]],
    ['DATE', '"9999-12-31"', [2_932_896]],
    ['JSON', '{"n": 1.10}', ['{"n": 1.10}']],
    ['ARRAY<STRING>', '["a" , "b\\"]", ",\\\\" ]', ['a', 'b"]', ',\\']],
    ['ARRAY<INT64>', '[1,9007199254740993]', [1n, 9_007_199_254_740_993n]],
    ['ARRAY<NUMERIC>', '[\n1.10\n]', ['1.1']],
    ['ARRAY<BOOL>', '[true,false]', [true, false]],
    ['ARRAY<FLOAT64>', '[]', []],
  ] as const)('%s of %s', (type, value, wanted) => {
    expect(valuesOf(read(type, value))).toEqual(wanted);
  });

  test.each([
    ['STRING', '1'],
    ['STRING', '{}'],
    ['INT64', '9223372036854775808'],
    ['INT64', '1.0'],
    ['INT64', '1e3'],
    ['INT64', 'true'],
    ['INT64', '"12 "'],
    ['INT64', '""'],
    ['NUMERIC', '0.1234567891'],
    ['NUMERIC', '[1]'],
    ['FLOAT64', '1e400'],
    ['FLOAT64', '"1.5"'],
    ['BOOL', '"true"'],
    ['BOOL', '1'],
    ['TIMESTAMP', '"2026-11-23 08:00:00"'],
    ['TIMESTAMP', '"2026-02-30T00:00:00Z"'],
    ['TIMESTAMP', '"0000-01-01T00:00:00Z"'],
    ['TIMESTAMP', '"now"'],
    ['DATE', '"2026-02-30"'],
    ['DATE', '"2026-1-1"'],
    ['DATE', '0'],
    ['ARRAY<STRING>', '"a"'],
    ['ARRAY<STRING>', '["a", null]'],
    ['ARRAY<INT64>', '[[1]]'],
    ['ARRAY<INT64>', '[1, {}]'],
    ['ARRAY<INT64>', '[1, "x"]'],
  ] as const)('%s takes no %s, and says so without the value', (type, value) => {
    expect(read(type, value)).toEqual({ kind: 'unfit', message: `data.v is no ${type}: column it` });
  });

  test.each(['STRING', 'INT64', 'JSON', 'ARRAY<INT64>'] as const)('%s of null is as if it were absent', (type) => {
    expect(read(type, 'null')).toEqual({ kind: 'cells', cells: [] });
  });

  test('an absent value, a path through a scalar and an event without data have no cells', () => {
    const typed = compileTypedColumns({ '*': { deep: { from: 'data.a.b.c', type: 'INT64' } } }, 100);
    const type = Buffer.from('x');
    for (const data of ['{}', '{"a":1}', '{"a":{"b":[{"c":1}]}}', '[1]', '"a"', '{"a":{"B":{"c":1}}}', null]) {
      expect(typed.cellsOf({ type, data: data === null ? null : Buffer.from(data) })).toEqual({
        kind: 'cells',
        cells: [],
      });
    }
    expect(valuesOf(typed.cellsOf({ type, data: Buffer.from('{"a":{"b":{"c":7}}}') }))).toEqual([7n]);
  });

  test('of repeated names the first counts, as in BigQuery’s JSON; names differ by case', () => {
    const typed = compileTypedColumns(
      { '*': { lower: { from: 'data.a', type: 'INT64' }, upper: { from: 'data.A', type: 'INT64' } } },
      100,
    );
    const cells = typed.cellsOf({ type: Buffer.from('x'), data: Buffer.from('{"A":1,"a":2,"a":3,"A":4}') });
    expect(valuesOf(cells)).toEqual([2n, 1n]);
  });

  test('is filled from the types it is declared for; of two patterns the first of the file', () => {
    const typed = compileTypedColumns(
      {
        'page.viewed': { ms: { from: 'data.ms', type: 'INT64' } },
        'page.*': { ms: { from: 'data.took', type: 'INT64' }, url: { from: 'data.url', type: 'STRING' } },
        'order.placed': { total: { from: 'data.total', type: 'NUMERIC' } },
      },
      100,
    );
    const data = Buffer.from('{"ms":1,"took":2,"url":"/","total":"x"}');
    const cells = (type: string): unknown => {
      const found = typed.cellsOf({ type: Buffer.from(type), data });
      return found.kind === 'unfit'
        ? found.message
        : found.cells.map(({ column, values }) => [column.name, String(values)]);
    };
    expect(typed.columns.map(({ name }) => name)).toEqual(['ms', 'url', 'total']);
    expect(cells('page.viewed')).toEqual([
      ['ms', '1'],
      ['url', '/'],
    ]);
    expect(cells('page.left')).toEqual([
      ['ms', '2'],
      ['url', '/'],
    ]);
    expect(cells('order.placed')).toBe('data.total is no NUMERIC: column total');
    expect(cells('other')).toEqual([]);
  });

  test('however many types producers make up, they are read alike', () => {
    const typed = compileTypedColumns({ 'page.*': { ms: { from: 'data.ms', type: 'INT64' } } }, 100);
    const data = Buffer.from('{"ms":5}');
    for (let index = 0; index < 3000; index += 1) {
      expect(valuesOf(typed.cellsOf({ type: Buffer.from(`page.${index}`), data }))).toEqual([5n]);
    }
  });
});

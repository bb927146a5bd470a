import { describe, expect, test } from 'vitest';

import type { ColumnType, ProjectionConfig } from '../../../src/lib/config/schema.ts';
import { createEventDecoder } from '../../../src/lib/records/event.ts';
import { createProjector } from '../../../src/lib/records/projection.ts';
import { limits, recordOf } from './records.ts';

const decode = createEventDecoder({ defaultSource: 'shop', limits });

function project(projections: readonly ProjectionConfig[], value: unknown) {
  const decoded = decode(recordOf(value));
  if (decoded.kind === 'dead') {
    throw new Error(decoded.reason);
  }
  return createProjector(projections, limits)(decoded.row);
}

const orders: ProjectionConfig = {
  match: { type: 'order.*' },
  table: 'public.orders',
  key: { order_id: { from: 'data.orderId', type: 'text' } },
  columns: { status: { from: 'data.status', type: 'text' }, at: { from: 'time', type: 'timestamptz' } },
  deleteOn: ['order.deleted'],
};

/** A projection of one column, and what an event's `data.v` becomes in it. */
function columnOf(type: ColumnType, data: string): string | null {
  const projection: ProjectionConfig = { ...orders, columns: { v: { from: 'data.v', type } } };
  const projected = project([projection], `{"id":"1","type":"order.x","data":{"orderId":"o","v":${data}}}`);
  return projected.kind === 'dead' ? `dead ${projected.reason}` : (projected.row[0]?.columns[0] ?? null);
}

const wrong = 'dead projection_type';

describe('a column', () => {
  test.each<[ColumnType, string, string | null]>([
    ['text', '"a"', 'a'],
    ['text', '"\\u0000\\ud800"', '\ufffd\ufffd'],
    ['text', '""', ''],
    ['text', '1', wrong],
    ['text', 'true', wrong],
    ['text', '{}', wrong],
    ['text', 'null', null],
    ['bigint', '0', '0'],
    ['bigint', '-0', '0'],
    ['bigint', '9223372036854775807', '9223372036854775807'],
    ['bigint', '-9223372036854775808', '-9223372036854775808'],
    ['bigint', '9223372036854775808', wrong],
    ['bigint', '99999999999999999999', wrong],
    ['bigint', '1.0', wrong],
    ['bigint', '1e3', wrong],
    ['bigint', '"1"', wrong],
    ['integer', '2147483647', '2147483647'],
    ['integer', '-2147483648', '-2147483648'],
    ['integer', '2147483648', wrong],
    ['numeric', '1.10', '1.10'],
    ['numeric', '1e400', '1e400'],
    ['numeric', '123456789012345678901234567890', '123456789012345678901234567890'],
    ['numeric', '"1"', wrong],
    ['double precision', '1.10', '1.1'],
    ['double precision', '-0', '0'],
    ['double precision', '1e400', wrong],
    ['double precision', '-1e-400', wrong],
    ['double precision', '0.0e-400', '0'],
    ['double precision', '"1"', wrong],
    ['boolean', 'true', 'true'],
    ['boolean', 'false', 'false'],
    ['boolean', '"true"', wrong],
    ['boolean', '1', wrong],
    ['timestamptz', '"2026-11-01T14:00:00.000001+02:00"', '2026-11-01T12:00:00.000001Z'],
    ['timestamptz', '1793534400000', '2026-11-01T12:00:00.000000Z'],
    ['timestamptz', '-0.25', '1969-12-31T23:59:59.999750Z'],
    ['timestamptz', '"0000-03-01T00:00:00Z"', '0001-03-01T00:00:00.000000Z BC'],
    ['timestamptz', '"0000-01-01T00:00:00+01:00"', wrong],
    ['timestamptz', '253402300800000', wrong],
    ['timestamptz', '9224318015999000', wrong],
    ['timestamptz', '"now"', wrong],
    ['timestamptz', '"2026-11-01"', wrong],
    ['timestamptz', 'true', wrong],
    ['date', '"2026-11-01"', '2026-11-01'],
    ['date', '"0000-02-29"', '0001-02-29 BC'],
    ['date', '"2026-02-29"', wrong],
    ['date', '"today"', wrong],
    ['date', '"2026-11-01T12:00:00Z"', wrong],
    ['date', '1', wrong],
    ['uuid', '"F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'],
    ['uuid', '"f81d4fae"', wrong],
    ['uuid', '"{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}"', wrong],
    ['uuid', '1', wrong],
    ['jsonb', '{ "n" : 9007199254740993 }', '{ "n" : 9007199254740993 }'],
    ['jsonb', '"a\\u0000"', '"a\\ufffd"'],
    ['jsonb', 'null', 'null'],
  ])('of type %s from %s: %s', (type, data, expected) => {
    expect(columnOf(type, data)).toBe(expected);
  });

  test('that is missing is null, and a missing key is a dead letter', () => {
    const projected = project([orders], '{"id":"1","type":"order.x","data":{"orderId":"o"}}');
    expect(projected).toMatchObject({
      kind: 'row',
      row: [{ kind: 'upsert', key: ['o'], columns: [null, '2026-11-01T12:00:00.000000Z'] }],
    });
    for (const data of ['{}', 'null', '[]', '"o"', '{"orderId":null}', '{"orderId":7}', '{"orderId":{"x":1}}']) {
      expect(project([orders], `{"id":"1","type":"order.x","data":${data}}`)).toMatchObject({
        kind: 'dead',
        reason: 'projection_type',
      });
    }
    expect(project([orders], '{"id":"1","type":"order.x"}')).toMatchObject({ kind: 'dead', reason: 'projection_type' });
  });

  test('from the envelope, from deep inside, and from escaped and repeated names', () => {
    const projection: ProjectionConfig = {
      ...orders,
      columns: {
        id: { from: 'id', type: 'text' },
        source: { from: 'source', type: 'text' },
        type: { from: 'type', type: 'text' },
        subject: { from: 'subject', type: 'text' },
        day: { from: 'time', type: 'date' },
        deep: { from: 'data.a.b.c', type: 'bigint' },
        twice: { from: 'data.t', type: 'bigint' },
        shadow: { from: 'data.__proto__.x', type: 'bigint' },
        own: { from: 'data.hasOwnProperty', type: 'bigint' },
        whole: { from: 'data.a', type: 'jsonb' },
        through: { from: 'data.t.x', type: 'text' },
      },
    };
    const value =
      '{"id":"1","type":"order.x","data":{"orderId":"o","a":{"b":{"c":1,"\\u0063":3}},"t":1,"\\u0074":2,"__proto__":{"x":4},"hasOwnProperty":5}}';
    const projected = project([projection], value);
    expect(projected.kind === 'row' ? projected.row[0]?.columns : projected).toEqual([
      '1',
      'shop',
      'order.x',
      null,
      '2026-11-01',
      '3',
      '2',
      '4',
      '5',
      '{"b":{"c":1,"\\u0063":3}}',
      null,
    ]);
  });

  test('a key beyond what an index entry holds is a dead letter', () => {
    const of = (length: number) =>
      project([orders], { id: '1', type: 'order.x', data: { orderId: 'x'.repeat(length) } }).kind;
    expect(of(2600)).toBe('row');
    expect(of(2601)).toBe('dead');
  });

  test('no message quotes a value', () => {
    for (const data of ['{"orderId":{"SECRET":1}}', '{"orderId":"o","status":["SECRET"]}']) {
      const projected = project([orders], `{"id":"1","type":"order.x","data":${data}}`);
      expect(projected.kind === 'dead' ? projected.message : 'row').toMatch(/data\.(orderId|status) is no text/);
    }
  });
});

describe('which projections an event has', () => {
  const matching = (match: ProjectionConfig['match'], type: string, source = 'shop'): number => {
    const projected = project([{ ...orders, match }], { id: '1', source, type, data: { orderId: 'o' } });
    return projected.kind === 'row' ? projected.row.length : -1;
  };
  test.each([
    [{ type: 'order.*' }, 'order.created', 1],
    [{ type: 'order.*' }, 'order', 0],
    [{ type: 'order.*' }, 'orders.x', 0],
    [{ type: '*' }, 'anything', 1],
    [{ type: 'order.created' }, 'order.created', 1],
    [{ type: 'order.created' }, 'order.created2', 0],
    [{ type: '*', source: 'shop' }, 't', 1],
    [{ type: '*', source: 'other' }, 't', 0],
  ])('%j and %s: %d', (match, type, expected) => {
    expect(matching(match, type)).toBe(expected);
  });

  test('an event that matches none changes nothing, whatever its data', () => {
    expect(project([orders], '{"id":"1","type":"page.viewed","data":7}')).toEqual({ kind: 'row', row: [] });
  });

  test('a delete needs only the key', () => {
    expect(project([orders], '{"id":"1","type":"order.deleted","data":{"orderId":"o","status":7}}')).toEqual({
      kind: 'row',
      row: [{ projection: 0, kind: 'delete', key: ['o'], columns: [], offset: 7n }],
    });
  });

  test('one event changes several tables, or none at all when one of them cannot take it', () => {
    const other: ProjectionConfig = {
      ...orders,
      table: 'public.stock',
      key: { sku: { from: 'data.sku', type: 'bigint' } },
    };
    const both = project([orders, other], { id: '1', type: 'order.x', data: { orderId: 'o', sku: 5 } });
    expect(both.kind === 'row' ? both.row.map(({ projection, key }) => [projection, key]) : both).toEqual([
      [0, ['o']],
      [1, ['5']],
    ]);
    expect(project([orders, other], { id: '1', type: 'order.x', data: { orderId: 'o', sku: 'x' } }).kind).toBe('dead');
  });
});

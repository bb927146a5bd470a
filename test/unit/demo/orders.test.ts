import { describe, expect, test } from 'vitest';

import { compareOrders, lastStates } from '../../../src/lib/demo/orders.ts';
import type { SentRecord } from '../../../src/lib/demo/shop-run.ts';
import type { OrderState } from '../../../src/lib/shop/types.ts';

const order = (orderId: string, over: Partial<OrderState> = {}): OrderState => ({
  orderId,
  status: 'paid',
  amountCents: 100,
  customerId: 'c',
  deleted: false,
  ...over,
});
const sent = (offset: number, state: OrderState | null, over: Partial<SentRecord> = {}): SentRecord => ({
  partition: 0,
  offset: BigInt(offset),
  expect: 'stored',
  id: null,
  ackedAtMs: 0,
  order: state,
  ...over,
});
const status = ({ status: text }: OrderState): string => text;

describe('lastStates', () => {
  test('takes the last event of each order by offset, in whatever order the acks came', () => {
    const states = lastStates([
      sent(5, order('a', { status: 'shipped' })),
      sent(2, order('a', { status: 'created' })),
      sent(3, order('b', { deleted: true })),
      sent(9, null),
    ]);

    expect([...states.values()]).toEqual([order('a', { status: 'shipped' }), order('b', { deleted: true })]);
  });

  test('leaves out what does not reach the table', () => {
    const states = lastStates([
      sent(1, order('a')),
      sent(2, order('a', { status: 'cancelled' }), { expect: 'schema' }),
    ]);

    expect(states.get('a')?.status).toBe('paid');
  });
});

describe('compareOrders', () => {
  const orders = new Map([
    ['a', order('a')],
    ['gone', order('gone', { deleted: true })],
  ]);

  test.each<[name: string, rows: readonly (readonly [string, readonly string[]])[], problems: readonly string[]]>([
    ['all is well', [['a', ['paid']]], []],
    ['a missing row', [], ['t: 1 orders have no row (first: a)']],
    ['an old state', [['a', ['created']]], ['t: 1 orders are not as their last event says (first: a)']],
    [
      'a deleted order that is still there',
      [
        ['a', ['paid']],
        ['gone', ['paid']],
      ],
      ['t: 1 orders were deleted and still have a row (first: gone)'],
    ],
  ])('%s', (_name, rows, problems) => {
    expect(compareOrders('t', orders, new Map(rows), [status])).toEqual({ table: 't', rows: 1, deleted: 1, problems });
  });
});

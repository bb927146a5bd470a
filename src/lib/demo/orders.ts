import type { Config } from '../config/load.ts';
import type { ProjectionConfig } from '../config/schema.ts';
import { openPool } from '../postgres/pool.ts';
import { projectedRows } from '../postgres/projected-rows.ts';
import type { OrderState } from '../shop/types.ts';
import type { SentRecord } from './shop-run.ts';

/** What the events say of an order, by the paths that a projection reads. */
const orderFields: Readonly<Record<string, (order: OrderState) => string>> = {
  'data.status': ({ status }) => status,
  'data.amountCents': ({ amountCents }) => String(amountCents),
  'data.customerId': ({ customerId }) => customerId,
};

export interface OrdersFindings {
  readonly table: string;
  /** Orders that must have a row, and those that must have none any more. */
  readonly rows: number;
  readonly deleted: number;
  readonly problems: readonly string[];
}

/**
 * Holds the table that projects the shop's orders against what the events say: of each order the last event wins, in the
 * order of its partition. null where no projection is one of orders. @throws KPIPE_POSTGRES_…
 */
export async function checkOrders(config: Config, acked: readonly SentRecord[]): Promise<OrdersFindings | null> {
  const projection = ordersProjection(config);
  const [keyColumn] = Object.keys(projection?.key ?? {});
  if (projection === undefined || keyColumn === undefined || config.postgres === undefined) {
    return null;
  }
  const fields = Object.entries(projection.columns).flatMap(([column, { from }]) => {
    const expected = orderFields[from];
    return expected === undefined ? [] : [{ column, expected }];
  });
  const orders = lastStates(acked);
  const pool = await openPool(config.postgres, { applicationName: 'kpipe:demo', max: 1 });
  try {
    const wanted = { table: projection.table, key: keyColumn, columns: fields.map(({ column }) => column) };
    const rows = await projectedRows(pool, wanted, [...orders.keys()]);
    return compareOrders(
      projection.table,
      orders,
      rows,
      fields.map(({ expected }) => expected),
    );
  } finally {
    await pool.end();
  }
}

/** The projection that takes its one key column from the orders' ids, if there is one. */
export function ordersProjection({ roles }: Pick<Config, 'roles'>): ProjectionConfig | undefined {
  return roles.events?.projections.find(
    ({ match, key, deleteOn }) =>
      match.type === 'order.*' &&
      match.source === undefined &&
      deleteOn.includes('order.deleted') &&
      Object.keys(key).length === 1 &&
      Object.values(key).every(({ from }) => from === 'data.orderId'),
  );
}

/** Whether a paid order's event is a dead letter when it has no order id: a projection takes its key from it. */
export function needsOrderId({ roles }: Pick<Config, 'roles'>): boolean {
  return (roles.events?.projections ?? []).some(
    ({ match, key }) =>
      ['*', 'order.*', 'order.paid'].includes(match.type) &&
      match.source === undefined &&
      Object.values(key).some(({ from }) => from === 'data.orderId'),
  );
}

/** Of each order the state that its last event tells. An order's events are in one partition, which keeps their order. */
export function lastStates(acked: readonly SentRecord[]): ReadonlyMap<string, OrderState> {
  const last = new Map<string, { readonly offset: bigint; readonly order: OrderState }>();
  for (const { offset, order, expect } of acked) {
    if (order !== null && expect === 'stored' && offset > (last.get(order.orderId)?.offset ?? -1n)) {
      last.set(order.orderId, { offset, order });
    }
  }
  return new Map(Array.from(last, ([orderId, { order }]) => [orderId, order]));
}

export function compareOrders(
  table: string,
  orders: ReadonlyMap<string, OrderState>,
  rows: ReadonlyMap<string, readonly (string | null)[]>,
  fields: readonly ((order: OrderState) => string)[],
): OrdersFindings {
  const states = [...orders.values()];
  const present = states.filter(({ deleted }) => !deleted);
  const missing = present.filter(({ orderId }) => !rows.has(orderId));
  const leftOver = states.filter(({ deleted, orderId }) => deleted && rows.has(orderId));
  const wrong = present.filter((order) => {
    const row = rows.get(order.orderId);
    return row !== undefined && fields.some((field, index) => row[index] !== field(order));
  });
  const tell = (found: readonly OrderState[], what: string): readonly string[] =>
    found[0] === undefined ? [] : [`${table}: ${found.length} orders ${what} (first: ${found[0].orderId})`];
  return {
    table,
    rows: present.length,
    deleted: states.length - present.length,
    problems: [
      ...tell(missing, 'have no row'),
      ...tell(leftOver, 'were deleted and still have a row'),
      ...tell(wrong, 'are not as their last event says'),
    ],
  };
}

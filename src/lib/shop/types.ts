import type { RecordHeader } from '../ports.ts';
import type { DeadLetterReason } from '../records/decoded.ts';

/**
 * A shop that never was, for demos, tests and measurements: its services write what such services write. Everything
 * follows from a seed, so that what must arrive is known before anything is sent.
 *
 * - `app`, an application service: the life cycles of the orders that customers place → events
 * - `api`, a backend API: partners' orders and customers' accounts → events; its HTTP access log → logs
 * - `worker`, a background worker: its job log → logs; page views, sessions and carts → analytics
 */
export const producerKinds = ['app', 'api', 'worker'] as const;
export type ProducerKind = (typeof producerKinds)[number];

export const shopTopics = ['events', 'logs', 'analytics'] as const;
export type ShopTopic = (typeof shopTopics)[number];

/** The topics that each kind of producer writes. */
export const topicsOf: Readonly<Record<ProducerKind, readonly ShopTopic[]>> = {
  app: ['events'],
  api: ['events', 'logs'],
  worker: ['logs', 'analytics'],
};

/** What becomes of a record: a row, or a dead letter with this reason. */
export type Expectation = 'stored' | DeadLetterReason;

export interface ShopRecord {
  readonly topic: ShopTopic;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
  /** When it happened in the shop; not when it is sent. */
  readonly timestampMs: number;
  readonly expect: Expectation;
  /** An event's id, where it has a right one. */
  readonly id: string | null;
  /** What the event says of its order, whole: the last one of an order wins. */
  readonly order: OrderState | null;
}

export type OrderStatus = 'created' | 'paid' | 'packed' | 'shipped' | 'delivered' | 'cancelled' | 'refunded';

export interface OrderState {
  readonly orderId: string;
  readonly status: OrderStatus;
  readonly amountCents: number;
  readonly customerId: string;
  /** `order.deleted`: no row remains. */
  readonly deleted: boolean;
}

export interface ShopOptions {
  /** Same seed, same content. */
  readonly seed: number;
  /** Goes into every id: runs of one seed that differ in this share no id. Default: none. */
  readonly run?: string;
  /** The time of the n-th record of a producer, ms since the epoch; never before the one of the record before. */
  readonly timeOf: (index: number) => number;
  /** The share of broken records, 0 to 1. Default 0.005. */
  readonly brokenShare?: number;
  /** Whether a projection reads `data.orderId` of `order.*`, so that an event without it is a dead letter. Default true. */
  readonly ordersProjected?: boolean;
}

import { accountEvents, cities, customerNames } from './catalogue.ts';
import { BrokenRecords } from './broken.ts';
import { encodeEvent, type Envelope } from './envelope.ts';
import { accessEntry, encodeLog, jobEntry } from './log-lines.ts';
import { OrderBook } from './orders.ts';
import { hash32, Random } from './random.ts';
import type { OrderState, ProducerKind, ShopOptions, ShopRecord, ShopTopic } from './types.ts';
import { Visitors } from './visits.ts';

/** Everything that a producer writes, without end: what an iterator takes is what it has produced. */
export function* shopRecords(kind: ProducerKind, options: ShopOptions): Generator<ShopRecord, never> {
  const { seed, run = '', timeOf, brokenShare = 0.005, ordersProjected = true } = options;
  // The content follows from the seed alone; the run shows in the ids.
  const random = new Random(`${seed}:${kind}`);
  const tag = `${kind}${(hash32(`${seed}:${run}`, 0x51ed270b) >>> 0).toString(36)}${run === '' ? '' : `-${run}`}`;
  const producer = producers[kind]({ random, tag });
  const broken: Readonly<Record<ShopTopic, BrokenRecords>> = {
    events: new BrokenRecords('events', ordersProjected),
    logs: new BrokenRecords('logs', ordersProjected),
    analytics: new BrokenRecords('analytics', ordersProjected),
  };
  for (let index = 0; ; index += 1) {
    const timestampMs = timeOf(index);
    const id = `${tag}-${index.toString(36).padStart(6, '0')}`;
    const topic = producer.topic();
    if (random.chance(brokenShare)) {
      const { reason, value, headers } = broken[topic].next(id, timestampMs);
      const key = topic === 'logs' ? null : Buffer.from(`broken-${id}`);
      yield { topic, key, value, headers, timestampMs, expect: reason, id: null, order: null };
    } else {
      yield producer.record(topic, id, timestampMs);
    }
  }
}

/** The time of each of `count` records spread evenly over [fromMs, toMs]; a record past them is at `toMs`. */
export function spreadOver(fromMs: number, toMs: number, count: number): (index: number) => number {
  return (index) => Math.floor(fromMs + (toMs - fromMs) * Math.min(1, (index + 1) / Math.max(1, count)));
}

interface Producer {
  topic(): ShopTopic;
  record(topic: ShopTopic, id: string, timeMs: number): ShopRecord;
}

interface ProducerSetting {
  readonly random: Random;
  readonly tag: string;
}

const producers: Readonly<Record<ProducerKind, (setting: ProducerSetting) => Producer>> = {
  app: ({ random, tag }) => {
    const orders = new OrderBook(random, tag);
    return {
      topic: () => 'events',
      record: (_topic, id, timeMs) => orderRecord(orders, random, '/shop/order-service', id, timeMs),
    };
  },
  api: ({ random, tag }) => {
    const orders = new OrderBook(random, tag);
    return {
      topic: () => (random.chance(0.4) ? 'events' : 'logs'),
      record: (topic, id, timeMs) => {
        if (topic === 'logs') {
          return logRecord(encodeLog(accessEntry(random, timeMs), random), timeMs);
        }
        return random.chance(0.6)
          ? orderRecord(orders, random, '/shop/partner-api', id, timeMs)
          : accountRecord(random, tag, id, timeMs);
      },
    };
  },
  worker: ({ random, tag }) => {
    const visitors = new Visitors(random, tag);
    return {
      topic: () => (random.chance(0.45) ? 'logs' : 'analytics'),
      record: (topic, id, timeMs) => {
        if (topic === 'logs') {
          return logRecord(encodeLog(jobEntry(random, timeMs), random), timeMs);
        }
        const { type, visitorId, data } = visitors.next(timeMs);
        return eventRecord(
          'analytics',
          visitorId,
          random,
          { id, source: '/shop/web-tracker', type, subject: visitorId, timeMs, data },
          null,
        );
      },
    };
  },
};

function orderRecord(orders: OrderBook, random: Random, source: string, id: string, timeMs: number): ShopRecord {
  const { type, data, order } = orders.next();
  return eventRecord(
    'events',
    order.orderId,
    random,
    { id, source, type, subject: order.orderId, timeMs, data },
    order,
  );
}

/** Events that no projection reads: they are stored, and nothing else. */
function accountRecord(random: Random, tag: string, id: string, timeMs: number): ShopRecord {
  const customerId = `cus-${tag}-${random.below(5000).toString(36)}`;
  const [city, country] = random.pick(cities);
  const data = JSON.stringify({ customerId, name: random.pick(customerNames), address: { city, country } });
  const type = random.pick(accountEvents);
  return eventRecord(
    'events',
    customerId,
    random,
    { id, source: '/shop/partner-api', type, subject: customerId, timeMs, data },
    null,
  );
}

function eventRecord(
  topic: ShopTopic,
  key: string,
  random: Random,
  event: Envelope,
  order: OrderState | null,
): ShopRecord {
  const { value, headers } = encodeEvent(event, random);
  return {
    topic,
    key: Buffer.from(key),
    value,
    headers,
    timestampMs: event.timeMs,
    expect: 'stored',
    id: event.id,
    order,
  };
}

function logRecord(value: Buffer, timestampMs: number): ShopRecord {
  return { topic: 'logs', key: null, value, headers: [], timestampMs, expect: 'stored', id: null, order: null };
}

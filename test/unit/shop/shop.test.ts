import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createEventDecoder, type EventRow } from '../../../src/lib/records/event.ts';
import { createLogDecoder } from '../../../src/lib/records/log.ts';
import { shopRecords, spreadOver } from '../../../src/lib/shop/shop.ts';
import {
  producerKinds,
  topicsOf,
  type ProducerKind,
  type ShopOptions,
  type ShopRecord,
} from '../../../src/lib/shop/types.ts';

const noon = Date.parse('2026-11-01T12:00:00Z');
const limits = { maxValueBytes: 8_000_000, maxDepth: 5000, maxHeaders: 1000 };

function take(kind: ProducerKind, count: number, options: Partial<ShopOptions> = {}): readonly ShopRecord[] {
  const timeOf = spreadOver(noon - 600_000, noon, count);
  return shopRecords(kind, { seed: 1, timeOf, ...options })
    .take(count)
    .toArray();
}

const fingerprint = ({ key, value, headers }: ShopRecord): string =>
  JSON.stringify([
    key?.toString('hex'),
    value?.toString('hex'),
    headers.map(([name, bytes]) => [name, bytes?.toString('hex')]),
  ]);

function sourceRecord({ key, value, headers, timestampMs }: ShopRecord) {
  return { offset: 0n, timestampMs, key, value, headers };
}

describe('the shop is deterministic', () => {
  test.each(producerKinds)('%s: the same seed and run give the same bytes', (kind) => {
    fc.assert(
      fc.property(fc.integer(), fc.stringMatching(/^[a-z0-9]{0,8}$/), (seed, run) => {
        const [first, second] = [take(kind, 300, { seed, run }), take(kind, 300, { seed, run })];
        expect(first.map(fingerprint)).toEqual(second.map(fingerprint));
      }),
      { numRuns: 10 },
    );
  });

  test.each(producerKinds)('%s: another run of the same seed has the same content under other ids', (kind) => {
    const [first, second] = [take(kind, 2000, { run: 'aa' }), take(kind, 2000, { run: 'bb' })];

    expect(
      second.map(({ topic, expect: outcome, order }) => [topic, outcome, order?.status, order?.amountCents]),
    ).toEqual(first.map(({ topic, expect: outcome, order }) => [topic, outcome, order?.status, order?.amountCents]));
    const ids = new Set(first.flatMap(({ id }) => id ?? []));
    expect(ids.size).toBeGreaterThan(500);
    expect(second.filter(({ id }) => id !== null && ids.has(id))).toEqual([]);
    const orders = new Set(first.flatMap(({ order }) => order?.orderId ?? []));
    expect(second.filter(({ order }) => order !== null && orders.has(order.orderId))).toEqual([]);
  });

  test('two seeds differ', () => {
    expect(take('app', 50, { seed: 1 }).map(fingerprint)).not.toEqual(take('app', 50, { seed: 2 }).map(fingerprint));
  });
});

describe('ids', () => {
  test('are unique over all producers of a run', () => {
    const ids = producerKinds.flatMap((kind) => take(kind, 20_000).flatMap(({ id }) => id ?? []));

    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe('topics', () => {
  test.each(producerKinds)('%s writes exactly its own', (kind) => {
    const topics = new Set(take(kind, 2000).map(({ topic }) => topic));

    expect([...topics].toSorted()).toEqual([...topicsOf[kind]].toSorted());
  });

  test('events are keyed by what they are about, logs have no key', () => {
    for (const record of producerKinds.flatMap((kind) => take(kind, 500))) {
      if (record.topic === 'logs') {
        expect(record.key).toBeNull();
      } else {
        expect(record.key?.length).toBeGreaterThan(0);
      }
      if (record.order !== null) {
        expect(record.key?.toString()).toBe(record.order.orderId);
      }
    }
  });
});

describe('what each record is expected to become', () => {
  const decodeEvent = createEventDecoder({ defaultSource: 'kpipe', limits });
  const decodeLog = createLogDecoder({ limits });

  test.each(producerKinds)('%s: the decoders of the roles agree, broken records and right ones', (kind) => {
    // Half are broken, so that each class comes many times; projections are the projector's, not the decoder's.
    const records = take(kind, 4000, { brokenShare: 0.5, ordersProjected: false });
    const judged = records.map((record) => {
      const decoded = record.topic === 'logs' ? decodeLog(sourceRecord(record)) : decodeEvent(sourceRecord(record));
      return { expected: record.expect, got: decoded.kind === 'row' ? 'stored' : decoded.reason };
    });

    expect(judged.filter(({ expected, got }) => expected !== got)).toEqual([]);
    expect(new Set(judged.map(({ got }) => got)).size).toBeGreaterThanOrEqual(7);
  });

  test('an event carries its id, type, subject and time into the row, in each of the three forms', () => {
    const records = take('app', 2000, { brokenShare: 0 });
    const forms = new Set<string>();
    for (const [index, record] of records.entries()) {
      const decoded = decodeEvent(sourceRecord(record));
      const row = decoded.kind === 'row' ? decoded.row : undefined;
      forms.add(record.headers.length === 0 ? 'bare' : record.headers.length === 1 ? 'structured' : 'binary');
      expect(row?.id.toString()).toBe(record.id);
      expect(row?.source.toString()).toBe('/shop/order-service');
      expect(row?.subject?.toString()).toBe(record.order?.orderId);
      expect(row?.time.ms).toBe(spreadOver(noon - 600_000, noon, 2000)(index));
      expect(dataOf(row)).toMatchObject({ orderId: record.order?.orderId, amountCents: record.order?.amountCents });
    }
    expect(forms).toEqual(new Set(['bare', 'structured', 'binary']));
  });

  test('log lines come in several shapes, with levels, trace ids and stack traces of several lines', () => {
    const values = take('api', 3000, { brokenShare: 0 })
      .filter(({ topic }) => topic === 'logs')
      .map(({ value }) => value?.toString() ?? '');
    const count = (pattern: RegExp): number => values.filter((value) => pattern.test(value)).length;

    expect(count(/^\{"level":\d\d,"time":\d+/)).toBeGreaterThan(values.length / 2);
    expect(count(/^\{"@timestamp"/)).toBeGreaterThan(50);
    expect(count(/^time=\S+ level=/)).toBeGreaterThan(50);
    expect(count(/^<13\d>1 /)).toBeGreaterThan(10);
    expect(count(/^2026-11-01 /)).toBeGreaterThan(10);
    expect(count(/trace.?[iI]d"?[:=]"?[0-9a-f]{32}/)).toBeGreaterThan(values.length / 2);
    expect(count(/\\n {4}at /)).toBeGreaterThan(10);
  });
});

function dataOf(row: EventRow | undefined): unknown {
  return JSON.parse(row?.data?.toString() ?? 'null');
}

describe('broken records', () => {
  test('their share is the one asked for', () => {
    const share = (brokenShare?: number): number => {
      const records = take('app', 50_000, brokenShare === undefined ? {} : { brokenShare });
      return records.filter(({ expect: outcome }) => outcome !== 'stored').length / records.length;
    };

    expect(share(0)).toBe(0);
    expect(share(1)).toBe(1);
    expect(share()).toBeGreaterThan(0.0035);
    expect(share()).toBeLessThan(0.0065);
  });

  test('without a projection of orders, none is broken for it', () => {
    const reasons = new Set(
      take('app', 200, { brokenShare: 1, ordersProjected: false }).map(({ expect: outcome }) => outcome),
    );
    const projected = new Set(take('app', 200, { brokenShare: 1 }).map(({ expect: outcome }) => outcome));

    expect(reasons).not.toContain('projection_type');
    expect(projected).toContain('projection_type');
  });
});

describe('orders', () => {
  const next: Readonly<Record<string, readonly string[]>> = {
    created: ['paid', 'cancelled'],
    paid: ['packed', 'cancelled'],
    packed: ['shipped'],
    shipped: ['delivered'],
    delivered: ['refunded'],
    cancelled: ['deleted'],
    refunded: ['deleted'],
    deleted: [],
  };

  test.each(['app', 'api'] as const)('of %s live as orders do, and each event has the whole state', (kind) => {
    const last = new Map<string, string>();
    for (const { order } of take(kind, 20_000)) {
      if (order !== null) {
        const status = order.deleted ? 'deleted' : order.status;
        const before = last.get(order.orderId);
        expect(before === undefined ? ['created'] : next[before]).toContain(status);
        last.set(order.orderId, status);
      }
    }
    expect(new Set(last.values())).toEqual(new Set(Object.keys(next)));
  });

  test("an order's amount is the sum of its items and never changes", () => {
    const amounts = new Map<string, number>();
    for (const { value, headers, order } of take('app', 5000, { brokenShare: 0 })) {
      const document = JSON.parse(value?.toString() ?? '') as Record<string, unknown>;
      const data = (headers.length > 1 ? document : document['data']) as {
        items: { quantity: number; unitCents: number }[];
        amountCents: number;
      };
      expect(data.items.reduce((sum, { quantity, unitCents }) => sum + quantity * unitCents, 0)).toBe(data.amountCents);
      const orderId = order?.orderId ?? '';
      expect(amounts.get(orderId) ?? data.amountCents).toBe(data.amountCents);
      amounts.set(orderId, data.amountCents);
    }
  });
});

describe('times', () => {
  test('are spread over the span, never back in time, the last one at its end', () => {
    const times = take('worker', 5000).map(({ timestampMs }) => timestampMs);

    expect(times).toEqual([...times].toSorted((left, right) => left - right));
    expect(times[0]).toBeGreaterThanOrEqual(noon - 600_000);
    expect(times.at(-1)).toBe(noon);
    expect(new Set(times).size).toBeGreaterThan(4000);
  });
});

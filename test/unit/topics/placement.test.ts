import { array, assert, boolean, integer, property, record, uniqueArray } from 'fast-check';
import { describe, expect, test } from 'vitest';

import { badlySpread, placeReplicas, type BrokerRack } from '../../../src/lib/topics/placement.ts';

const at = (
  replicas: readonly number[],
  partition = 0,
): { topic: string; partition: number; replicas: readonly number[] } => ({
  topic: 'events',
  partition,
  replicas,
});
const broker = (id: number, rack: string | null = null): BrokerRack => ({ id, rack });
const three = [broker(1), broker(2), broker(3)];

describe('where replicas go', () => {
  test.each<[string, readonly number[], number, readonly BrokerRack[], readonly number[]]>([
    ['as they are', [2, 1], 2, three, [2, 1]],
    ['one more, behind the leader', [3], 2, three, [3, 1]],
    ['one fewer, not the leader', [2, 1, 3], 1, three, [2]],
    ['off a broker that may hold none', [1, 2], 2, [broker(2), broker(3)], [2, 3]],
  ])('%s', (_name, now, replicationFactor, brokers, then) => {
    expect(placeReplicas([at(now)], { replicationFactor, brokers, spreadRacks: false })).toEqual([at(then)]);
  });

  test('over the racks, moving no more than has to be', () => {
    const racks = [broker(1, 'a'), broker(2, 'a'), broker(3, 'b'), broker(4, 'b'), broker(5, 'c')];
    const rules = { replicationFactor: 3, brokers: racks, spreadRacks: true };
    const now = [at([1, 2, 3], 0), at([1, 3, 5], 1)];
    const then = placeReplicas(now, rules);
    expect(then[1]).toEqual(at([1, 3, 5], 1));
    expect(then[0]?.replicas).toEqual([1, 3, 5]);
    expect(badlySpread([[1, 2, 3]], racks)).toBe(1);
    expect(badlySpread([[1, 3, 5]], racks)).toBe(0);
  });

  test('new replicas spread over the brokers', () => {
    const now = Array.from({ length: 12 }, (_, partition) => at([1], partition));
    const then = placeReplicas(now, { replicationFactor: 2, brokers: three, spreadRacks: false });
    const seconds = then.map(({ replicas }) => replicas[1]);
    expect([2, 3].map((id) => seconds.filter((each) => each === id).length)).toEqual([6, 6]);
  });
});

const cases = record({
  brokers: uniqueArray(record({ id: integer({ min: 1, max: 9 }), rack: integer({ min: 1, max: 3 }).map(String) }), {
    selector: ({ id }) => id,
    minLength: 1,
  }),
  current: array(uniqueArray(integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
  wanted: integer({ min: 1, max: 4 }),
  spreadRacks: boolean(),
}).map(({ brokers, current, wanted, spreadRacks }) => ({
  partitions: current.map(at),
  rules: { brokers, spreadRacks, replicationFactor: Math.min(wanted, brokers.length) },
}));

test('every partition has its replicas, on brokers that may hold them, each once; and then nothing is left to move', () => {
  assert(
    property(cases, ({ partitions, rules }) => {
      const placed = placeReplicas(partitions, rules);
      for (const { replicas } of placed) {
        expect(new Set(replicas).size).toBe(rules.replicationFactor);
        expect(replicas).toHaveLength(rules.replicationFactor);
        expect(replicas.every((id) => rules.brokers.some((each) => each.id === id))).toBe(true);
      }
      expect(placeReplicas(placed, rules)).toEqual(placed);
      if (rules.spreadRacks) {
        expect(
          badlySpread(
            placed.map(({ replicas }) => replicas),
            rules.brokers,
          ),
        ).toBe(0);
      }
    }),
  );
});

test('a rack never holds two more than another that still has room', () => {
  assert(
    property(cases, ({ partitions, rules }) => {
      for (const { replicas } of placeReplicas(partitions, { ...rules, spreadRacks: true })) {
        const racks = [...Map.groupBy(rules.brokers, ({ rack }) => rack).values()].map((inRack) => ({
          held: inRack.filter(({ id }) => replicas.includes(id)).length,
          size: inRack.length,
        }));
        const fullest = Math.max(...racks.map(({ held }) => held));
        expect(racks.every(({ held, size }) => held >= Math.min(size, fullest - 1))).toBe(true);
      }
    }),
  );
});

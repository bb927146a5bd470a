import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  assignCooperatively,
  balancedTarget,
  type GroupAssignment,
  type SubscribedMember,
} from '../../../../src/lib/kafka/group/cooperative-sticky.ts';
import { partitionKey, type TopicPartition } from '../../../../src/lib/ports.ts';

const topic = 'events';
const of = (...partitions: number[]): readonly TopicPartition[] =>
  partitions.map((partition) => ({ topic, partition }));
const member = (
  memberId: string,
  owned: readonly TopicPartition[] = [],
  more: Partial<SubscribedMember> = {},
): SubscribedMember => ({ memberId, topics: [topic], owned, generation: owned.length === 0 ? -1 : 7, ...more });
const numbers = (assignment: GroupAssignment): Record<string, number[]> =>
  Object.fromEntries([...assignment].map(([id, partitions]) => [id, partitions.map(({ partition }) => partition)]));
const six = new Map([[topic, 6]]);

describe('one rebalance', () => {
  test('a first member gets everything', () => {
    expect(numbers(assignCooperatively([member('a')], six))).toEqual({ a: [0, 1, 2, 3, 4, 5] });
  });

  test('a member that comes gets nothing yet; its partitions are only missing from who has them', () => {
    const given = assignCooperatively([member('a', of(0, 1, 2, 3, 4, 5)), member('b')], six);
    expect(numbers(given)).toEqual({ a: [0, 1, 2], b: [] });
  });

  test('what was released is given in the second one', () => {
    const given = assignCooperatively([member('a', of(0, 1, 2), { generation: 8 }), member('b')], six);
    expect(numbers(given)).toEqual({ a: [0, 1, 2], b: [3, 4, 5] });
  });

  test('what a member that left had goes to the others at once; they keep theirs', () => {
    const given = assignCooperatively([member('a', of(0, 1)), member('c', of(4, 5))], six);
    expect(numbers(given)).toEqual({ a: [0, 1, 2], c: [3, 4, 5] });
  });

  test('a member of an older generation owns nothing, and nobody gets what it still holds', () => {
    const given = assignCooperatively(
      [member('a', of(0, 1, 2)), member('zombie', of(2, 3), { generation: 5 })],
      new Map([[topic, 4]]),
    );
    expect(numbers(given)).toEqual({ a: [0, 1], zombie: [3] });
  });

  test('of two that claim one partition in one generation neither has it', () => {
    const given = assignCooperatively([member('a', of(0, 1)), member('b', of(1, 2))], new Map([[topic, 3]]));
    expect(numbers(given)).toEqual({ a: [0], b: [2] });
  });

  test('only partitions that exist, of topics that the member reads', () => {
    const given = assignCooperatively(
      [member('a', of(0, 9)), member('b', [], { topics: ['other', 'gone'] })],
      new Map([
        [topic, 2],
        ['other', 1],
      ]),
    );
    expect(Object.fromEntries(given)).toEqual({ a: of(0, 1), b: [{ topic: 'other', partition: 0 }] });
  });

  test('more members than partitions: the others have none', () => {
    const given = assignCooperatively([member('a'), member('b'), member('c')], new Map([[topic, 2]]));
    expect(numbers(given)).toEqual({ a: [0], b: [1], c: [] });
  });
});

/** What any group may look like: some that know the present generation, some that don't, claims that contradict. */
const anyGroup = fc
  .record({
    partitions: fc.integer({ min: 0, max: 12 }),
    members: fc.array(
      fc.record({
        owned: fc.uniqueArray(fc.integer({ min: 0, max: 14 }), { maxLength: 8 }),
        generation: fc.constantFrom(-1, 6, 7, 7, 7),
      }),
      { minLength: 1, maxLength: 6 },
    ),
  })
  .map(({ partitions, members }) => ({
    partitionsOf: new Map([[topic, partitions]]),
    members: members.map(({ owned, generation }, index) =>
      member(`m${index}`, generation < 0 ? [] : of(...owned), { generation }),
    ),
  }));

describe('of any group', () => {
  test('the target gives each partition to exactly one member, and loads differ by one at most', () => {
    fc.assert(
      fc.property(anyGroup, ({ members, partitionsOf }) => {
        const target = balancedTarget(members, partitionsOf);
        const all = [...target.values()].flat().map(({ partition }) => partition);
        expect(all.toSorted((left, right) => left - right)).toEqual(
          Array.from({ length: partitionsOf.get(topic) ?? 0 }, (_, partition) => partition),
        );
        const loads = [...target.values()].map(({ length }) => length);
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
      }),
    );
  });

  test('no more moves than balance asks for: whoever loses one is left with its fair share', () => {
    fc.assert(
      fc.property(anyGroup, ({ members, partitionsOf }) => {
        const target = balancedTarget(members, partitionsOf);
        const floor = Math.floor((partitionsOf.get(topic) ?? 0) / members.length);
        for (const { memberId, owned, generation } of members.filter((one) => one.generation === 7)) {
          const rivals = members.filter((other) => other.memberId !== memberId && other.generation === generation);
          const contested = new Set(rivals.flatMap((other) => other.owned.map(partitionKey)));
          const had = owned.filter(
            (one) => one.partition < (partitionsOf.get(topic) ?? 0) && !contested.has(partitionKey(one)),
          );
          const has = new Set(target.get(memberId)?.map(partitionKey));
          if (had.some((one) => !has.has(partitionKey(one)))) {
            expect(has.size).toBeLessThanOrEqual(floor + 1);
            expect([...has].every((key) => had.some((one) => partitionKey(one) === key))).toBe(true);
          }
        }
      }),
    );
  });

  test('the order in which members are listed changes nothing', () => {
    fc.assert(
      fc.property(anyGroup, ({ members, partitionsOf }) => {
        const sorted = (assignment: GroupAssignment): [string, number[]][] =>
          Object.entries(numbers(assignment)).toSorted(([left], [right]) => (left < right ? -1 : 1));
        expect(sorted(assignCooperatively(members.toReversed(), partitionsOf))).toEqual(
          sorted(assignCooperatively(members, partitionsOf)),
        );
      }),
    );
  });

  test('nobody is given what another member says that it has', () => {
    fc.assert(
      fc.property(anyGroup, ({ members, partitionsOf }) => {
        for (const [memberId, given] of assignCooperatively(members, partitionsOf)) {
          const others = new Set(
            members.filter((one) => one.memberId !== memberId).flatMap(({ owned }) => owned.map(partitionKey)),
          );
          expect(given.filter((one) => others.has(partitionKey(one)))).toEqual([]);
        }
      }),
    );
  });
});

describe('the protocol, played through', () => {
  type Owned = ReadonlyMap<string, readonly TopicPartition[]>;

  /** Everybody does as it is told: keeps what it was given, lets go of the rest. Answers who had to let go of something. */
  function rebalance(owned: Owned, generation: number, partitionsOf: ReadonlyMap<string, number>) {
    const members = [...owned].map(([id, partitions]) =>
      member(id, partitions, { generation: partitions.length === 0 ? -1 : generation }),
    );
    const given = assignCooperatively(members, partitionsOf);
    const released = [...owned].some(([id, partitions]) => {
      const has = new Set(given.get(id)?.map(partitionKey));
      return partitions.some((partition) => !has.has(partitionKey(partition)));
    });
    // While what is revoked is drained, its owner and the members with their new partitions own side by side.
    const during = [...owned].flatMap(([id, partitions]) =>
      [...new Set([...partitions, ...(given.get(id) ?? [])].map(partitionKey))].map((key) => ({ id, key })),
    );
    expect(new Set(during.map(({ key }) => key)).size).toBe(during.length);
    return { owned: given, released };
  }

  const churn = fc.record({
    partitions: fc.integer({ min: 1, max: 12 }),
    steps: fc.array(
      fc.record({ joins: fc.subarray(['a', 'b', 'c', 'd', 'e']), leaves: fc.subarray(['a', 'b', 'c', 'd', 'e']) }),
      { minLength: 1, maxLength: 8 },
    ),
  });

  test('members come and go: two rebalances later everything is shared evenly, and no partition ever had two owners', () => {
    fc.assert(
      fc.property(churn, ({ partitions, steps }) => {
        const partitionsOf = new Map([[topic, partitions]]);
        let owned: Owned = new Map();
        let generation = 1;
        for (const { joins, leaves } of steps) {
          const next = new Map(owned);
          leaves.forEach((id) => next.delete(id));
          joins.forEach((id) => next.set(id, next.get(id) ?? []));
          owned = next;
          const first = rebalance(owned, generation, partitionsOf);
          const second = first.released ? rebalance(first.owned, generation + 1, partitionsOf) : first;
          generation += 2;
          owned = second.owned;
          expect(first.released && second.released).toBe(false);
          const loads = [...owned.values()].map(({ length }) => length);
          expect(loads.reduce((sum, load) => sum + load, 0)).toBe(owned.size === 0 ? 0 : partitions);
          expect(Math.max(0, ...loads) - Math.min(...loads, partitions)).toBeLessThanOrEqual(1);
        }
      }),
    );
  });
});

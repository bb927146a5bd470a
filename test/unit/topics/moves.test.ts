import { describe, expect, test } from 'vitest';

import { leadership } from '../../../src/lib/topics/elect.ts';
import {
  planMoves,
  refuseUnderInSync,
  type MoveObservation,
  type MoveRequest,
} from '../../../src/lib/topics/move/move-plan.ts';
import { throttledReplicas } from '../../../src/lib/topics/move/throttle.ts';
import { managedTopics, pruneTargets } from '../../../src/lib/topics/prune.ts';
import { retentionsBetween } from '../../../src/lib/topics/retention-steps.ts';

const partition = (
  index: number,
  replicas: readonly number[],
  isr = replicas,
): MoveObservation['topics'][number]['partitions'][number] => ({
  partition: index,
  leader: isr[0] ?? -1,
  replicas,
  isr,
});

function seen(over: Partial<MoveObservation> = {}): MoveObservation {
  return {
    clusterId: 'c',
    brokers: [1, 2, 3].map((id) => ({ id, rack: null })),
    topics: [{ name: 'events', id: 'i', internal: false, partitions: [partition(0, [1, 2]), partition(1, [2, 3])] }],
    reassignments: [],
    sizes: new Map([
      [
        'events-0',
        new Map([
          [1, 100n],
          [2, 90n],
        ]),
      ],
      [
        'events-1',
        new Map([
          [2, 10n],
          [3, 10n],
        ]),
      ],
    ]),
    minInSync: new Map([['events', 1]]),
    elsewhere: new Map(),
    ...over,
  };
}

const request = (replicationFactor: number, brokers: readonly number[] = []): MoveRequest => ({
  wanted: [{ topic: 'events', replicationFactor, spreadRacks: false }],
  brokers,
});

describe('what is moved', () => {
  test('nothing where everything is in place', () => {
    expect(planMoves(request(2), seen())).toEqual({ clusterId: 'c', moves: [], bytes: 0n });
  });

  test('one more replica, with the bytes that it takes', () => {
    const { moves, bytes } = planMoves(request(3), seen());
    expect(moves).toEqual([
      { topic: 'events', partition: 0, from: [1, 2], replicas: [1, 2, 3], bytes: 100n, underWay: false },
      { topic: 'events', partition: 1, from: [2, 3], replicas: [2, 3, 1], bytes: 10n, underWay: false },
    ]);
    expect(bytes).toBe(110n);
  });

  test('what is under way to its place is waited for', () => {
    const reassignments = [{ topic: 'events', partition: 0, replicas: [1, 2, 3], adding: [3], removing: [] }];
    const topics = [{ name: 'events', id: 'i', internal: false, partitions: [partition(0, [1, 2, 3], [1, 2])] }];
    expect(planMoves(request(3), seen({ reassignments, topics })).moves).toEqual([
      { topic: 'events', partition: 0, from: [1, 2], replicas: [1, 2, 3], bytes: 100n, underWay: true },
    ]);
  });

  test.each<[string, MoveRequest, Partial<MoveObservation>, string]>([
    [
      'a topic that is not there',
      { wanted: [{ topic: 'x', replicationFactor: 1, spreadRacks: false }], brokers: [] },
      {},
      'KPIPE_TOPIC_MISSING',
    ],
    ['more replicas than brokers', request(4), {}, 'KPIPE_REFUSED'],
    ['a broker that is down', request(2, [1, 9]), {}, 'KPIPE_REFUSED'],
    ['fewer than writes need', request(1), { minInSync: new Map([['events', 2]]) }, 'KPIPE_REFUSED'],
    [
      'racks that are not known',
      { wanted: [{ topic: 'events', replicationFactor: 2, spreadRacks: true }], brokers: [] },
      {},
      'KPIPE_REFUSED',
    ],
  ])('%s is refused', (_name, asked, over, code) => {
    expect(() => planMoves(asked, seen(over))).toThrowError(expect.objectContaining({ code }));
  });

  test('a partition below min.insync.replicas is not touched', () => {
    const topics = [{ name: 'events', id: 'i', internal: false, partitions: [partition(0, [1, 2], [1])] }];
    const now = seen({ topics, minInSync: new Map([['events', 2]]) });
    const { moves } = planMoves(request(3), now);
    expect(() => refuseUnderInSync(moves, now)).toThrowError(/events-0 has 1 of 2/);
    const healthy = { ...now, minInSync: new Map([['events', 1]]) };
    expect(() => refuseUnderInSync(moves, healthy)).not.toThrow();
  });
});

test('a throttle names who is copied from and to, and the brokers that take part', () => {
  const { topics, brokers } = throttledReplicas([
    { topic: 'events', partition: 0, from: [1, 2], replicas: [1, 3] },
    { topic: 'events', partition: 4, from: [2], replicas: [2, 3] },
    { topic: 'logs', partition: 0, from: [4, 5], replicas: [4] },
  ]);
  expect([...topics]).toEqual([
    [
      'events',
      {
        'leader.replication.throttled.replicas': '0:1,0:2,4:2',
        'follower.replication.throttled.replicas': '0:3,4:3',
      },
    ],
  ]);
  expect(brokers).toEqual([1, 2, 3]);
});

test('leadership: who leads, who should, and how uneven it is', () => {
  const partitions = [partition(0, [1, 2]), partition(1, [2, 1], [1, 2]), partition(2, [3, 1], [1, 3])];
  const topics = [{ name: 'events', id: 'i', internal: false, partitions }];
  expect(leadership(topics, [1, 2, 3])).toEqual({
    brokers: [
      { broker: 1, leads: 3, preferred: 1 },
      { broker: 2, leads: 0, preferred: 1 },
      { broker: 3, leads: 0, preferred: 1 },
    ],
    displaced: 2,
    skew: 3,
  });
  expect(leadership([], [1])).toMatchObject({ displaced: 0, skew: null });
});

test.each<[number, number, number, readonly number[]]>([
  [100, 20, 4, [80, 60, 40]],
  [100, 20, 1, []],
  [20, 100, 4, []],
  [20, 20, 4, []],
])('retention from %d to %d in %d steps', (from, to, steps, between) => {
  expect(retentionsBetween(from, to, steps)).toEqual(between);
});

describe('what --prune may name', () => {
  const role = { topic: 'events', deadLetters: 'events.dlq' };
  const managed = managedTopics([{ name: 'logs' }], { roles: { events: role }, kafka: { journal: 'kpipe.journal' } });
  const topics = ['old', 'logs', 'events.dlq', 'kpipe.journal', '__consumer_offsets'].map((name) => ({
    name,
    internal: false,
  }));

  test('a topic outside the file, once', () => {
    expect(pruneTargets(['old', 'old'], { topics, managed })).toEqual(['old']);
  });

  test.each(['__consumer_offsets', '__made_up', 'kpipe.journal', 'events', 'events.dlq', 'logs'])(
    'never %s',
    (name) => {
      expect(() => pruneTargets([name], { topics, managed })).toThrowError(
        expect.objectContaining({ code: 'KPIPE_REFUSED', exitCode: 4 }),
      );
    },
  );

  test('a name that nobody has', () => {
    expect(() => pruneTargets(['olt'], { topics, managed })).toThrowError(/no topic olt to delete: did you mean old\?/);
  });
});

import { assert, constantFrom, dictionary, integer, pre, property, record, uniqueArray } from 'fast-check';
import { describe, expect, test } from 'vitest';

import { topicPlanSchema, type Change } from '../../../src/lib/topics/change.ts';
import { hashState, type ObservedTopic, type TopicsState } from '../../../src/lib/topics/observe.ts';
import { partitionOfKey } from '../../../src/lib/kafka/partitioner.ts';
import type { KeySample } from '../../../src/lib/topics/key-moves.ts';
import { planTopics } from '../../../src/lib/topics/plan.ts';
import type { TopicSpec } from '../../../src/lib/topics/spec.ts';

const day = 86_400_000;

function spec(over: Partial<TopicSpec> = {}): TopicSpec {
  return {
    name: 'events',
    origin: 'declared',
    partitions: { count: 6, basis: '6 consumers', atLeast: false },
    replicationFactor: 3,
    config: {},
    roles: [],
    keyed: false,
    ...over,
  };
}

function topic(over: Partial<ObservedTopic> = {}): ObservedTopic {
  const { partitions = 6, replicationFactor = 3 } = over;
  return {
    id: 'id-1',
    partitions,
    replicationFactor,
    replicas: Array.from({ length: partitions }, () => [1, 2, 3].slice(0, replicationFactor)),
    overrides: {},
    inherited: { 'retention.ms': String(7 * day) },
    ...over,
  };
}

const brokers = (count: number, racks: readonly string[] = []): TopicsState['brokers'] =>
  Array.from({ length: count }, (_, index) => ({ id: index + 1, rack: racks[index % racks.length] ?? null }));

function state(topics: Readonly<Record<string, ObservedTopic>>, over: Partial<TopicsState> = {}): TopicsState {
  return {
    clusterId: 'cluster-1',
    observedAtMs: Date.UTC(2026, 0, 2, 3, 4, 5),
    brokers: brokers(3),
    topics: new Map(Object.entries(topics)),
    names: Object.keys(topics),
    evidence: new Map(),
    ...over,
  };
}

const planOne = (declared: TopicSpec, now: TopicsState): readonly Change[] =>
  planTopics([declared], now, { managed: new Set([declared.name]), prune: [] }).changes;

describe('what a plan says', () => {
  test('a topic that is not there is created as declared', () => {
    const declared = spec({ config: { 'retention.ms': '5' } });
    expect(planOne(declared, state({}))).toEqual([
      {
        topic: 'events',
        kind: 'create',
        key: null,
        from: null,
        to: { partitions: 6, replicationFactor: 3, config: { 'retention.ms': '5' } },
        reason: '6 consumers',
        risk: 'none',
        warnings: [],
      },
    ]);
  });

  test.each<[string, Partial<TopicSpec>, Partial<ObservedTopic>, Partial<Change>[]]>([
    ['in sync', { config: { 'retention.ms': '5' } }, { overrides: { 'retention.ms': '5' } }, []],
    ['another key of the topic stays', {}, { overrides: { 'segment.ms': '5' } }, []],
    [
      "a broker's equal value is not the topic's own",
      { config: { 'min.insync.replicas': '2' } },
      { inherited: { 'min.insync.replicas': '2' } },
      [
        {
          kind: 'config',
          key: 'min.insync.replicas',
          from: null,
          to: '2',
          reason: "declared; the brokers' 2 is in effect now",
          risk: 'none',
        },
      ],
    ],
    [
      'a list with a space',
      { config: { 'cleanup.policy': 'compact, delete' } },
      { overrides: { 'cleanup.policy': 'compact,delete' } },
      [],
    ],
    [
      'a double that Kafka shortened',
      { config: { 'min.cleanable.dirty.ratio': '0.50' } },
      { overrides: { 'min.cleanable.dirty.ratio': '0.5' } },
      [],
    ],
    ['a boolean in capitals', { config: { preallocate: 'TRUE' } }, { overrides: { preallocate: 'true' } }, []],
    [
      'retention raised',
      { config: { 'retention.ms': String(14 * day) } },
      { overrides: { 'retention.ms': String(7 * day) } },
      [{ key: 'retention.ms', from: '604800000', to: '1209600000', risk: 'none', warnings: [] }],
    ],
    [
      'retention lowered',
      { config: { 'retention.ms': String(day) } },
      { overrides: { 'retention.ms': String(7 * day) } },
      [{ key: 'retention.ms', risk: 'high', warnings: ['records older than 1d expire'] }],
    ],
    [
      'retention no longer unlimited',
      { config: { 'retention.ms': String(day) } },
      { overrides: { 'retention.ms': '-1' } },
      [{ risk: 'high' }],
    ],
    [
      "lowered below the brokers' value",
      { config: { 'retention.ms': String(day) } },
      {},
      [{ from: null, risk: 'high' }],
    ],
    [
      'retention made unlimited',
      { config: { 'retention.ms': '-1' } },
      { overrides: { 'retention.ms': '5' } },
      [{ risk: 'none' }],
    ],
    [
      'compaction switched on',
      { config: { 'cleanup.policy': 'compact' } },
      { inherited: { 'cleanup.policy': 'delete' } },
      [{ risk: 'high' }],
    ],
    [
      'more in-sync replicas than the topic has',
      { replicationFactor: 1, config: { 'min.insync.replicas': '2' } },
      { replicationFactor: 1 },
      [{ risk: 'high', warnings: ['the topic has 1 replica: every write with acks=all would fail'] }],
    ],
    [
      'fewer in-sync replicas',
      { config: { 'min.insync.replicas': '1' } },
      { overrides: { 'min.insync.replicas': '2' } },
      [{ risk: 'low' }],
    ],
    [
      'more partitions of a keyed topic',
      { keyed: true, partitions: { count: 12, basis: '12 consumers', atLeast: false } },
      {},
      [
        {
          kind: 'partitions',
          from: 6,
          to: 12,
          reason: '12 consumers',
          risk: 'high',
          warnings: ['keyed topic: key → partition mapping changes for new records'],
        },
      ],
    ],
    [
      'more partitions of another',
      { partitions: { count: 7, basis: 'count', atLeast: false } },
      {},
      [{ kind: 'partitions', risk: 'low', reason: 'declared' }],
    ],
    [
      'another replication factor',
      { replicationFactor: 2 },
      {},
      [{ kind: 'replication', from: 3, to: 2, risk: 'high' }],
    ],
    [
      'dead letters in more partitions',
      { partitions: { count: 1, basis: 'dead letters of events', atLeast: true } },
      {},
      [],
    ],
  ])('%s', (_name, declared, observed, changes) => {
    expect(planOne(spec(declared), state({ events: topic(observed) }))).toEqual(
      changes.map((change) => expect.objectContaining(change) as unknown),
    );
  });

  test.each([
    [{ records: 0n, bytes: 0n, unread: [], behind: [] }, 'low', ['no record is older than 1d now']],
    [
      { records: 12n, bytes: null, unread: [], behind: [] },
      'low',
      ['expires about 12 records older than 1d; every role has read them'],
    ],
    [
      { records: 12n, bytes: 44_023_414_784n, unread: [], behind: [{ role: 'analytics', ageMs: 10_800_000 }] },
      'low',
      [
        'expires about 41 GiB, 12 records older than 1d; every role has read them',
        'role analytics is 3h behind, loses nothing before 21h',
      ],
    ],
    [
      { records: 12n, bytes: 1536n, unread: [{ role: 'events', records: 5n }], behind: [] },
      'high',
      ['expires about 1.5 KiB, 12 records older than 1d; role events has not read 5 of them'],
    ],
  ] as const)('retention lowered with evidence %#', (expiry, risk, warnings) => {
    const now = state(
      { events: topic({ overrides: { 'retention.ms': String(7 * day) } }) },
      { evidence: new Map([['events', { expiry }]]) },
    );
    expect(planOne(spec({ config: { 'retention.ms': String(day) } }), now)).toEqual([
      expect.objectContaining({ risk, warnings }),
    ]);
  });

  test('more partitions, with what it does to the keys that were found', () => {
    const now = state({ events: topic() });
    const more = spec({ keyed: true, partitions: { count: 12, basis: 'count', atLeast: false } });
    const warningsWith = (keys: KeySample): readonly string[] =>
      planOne(more, { ...now, evidence: new Map([['events', { keys }]]) }).flatMap(({ warnings }) => warnings);
    const keys = Array.from({ length: 400 }, (_, index) => {
      const key = Buffer.from(`order-${index}`);
      return { key, partition: partitionOfKey(key, 6) };
    });
    const moving = keys.filter(({ key, partition }) => partitionOfKey(key, 12) !== partition).length;
    expect(moving).toBeGreaterThan(100);
    expect(warningsWith({ records: 500, keyed: 500, keys })).toEqual([
      `keyed topic: key → partition mapping changes for new records (${moving} of 400 sampled keys go to another partition)`,
    ]);
    const elsewhere = keys.map(({ key, partition }) => ({ key, partition: (partition + 1) % 6 }));
    expect(warningsWith({ records: 500, keyed: 500, keys: elsewhere })[0]).toContain(
      '(0 of 0 sampled keys go to another partition; 400 lie where their producers put them)',
    );
    expect(warningsWith({ records: 7, keyed: 0, keys: [] })).toEqual([
      'none of 7 sampled records has a key: no order to lose',
    ]);
  });

  test('replicas that share a rack, where racks are declared', () => {
    const declared = spec({ placement: 'racks', replicationFactor: 2 });
    const racks = brokers(4, ['a', 'a', 'b', 'b']);
    const badly = topic({
      replicas: [
        [1, 2],
        [1, 3],
        [3, 4],
      ],
      partitions: 6,
      replicationFactor: 2,
    });
    expect(planOne(declared, state({ events: badly }, { brokers: racks }))).toMatchObject([
      { kind: 'placement', from: 2, to: 'racks', risk: 'low' },
    ]);
    const well = topic({
      replicas: [
        [1, 3],
        [4, 2],
      ],
      partitions: 6,
      replicationFactor: 2,
    });
    expect(planOne(declared, state({ events: well }, { brokers: racks }))).toEqual([]);
  });

  test('a move that was not ended is drift; a standing rule is not', () => {
    const key = 'follower.replication.throttled.replicas';
    const slowed = (value: string): TopicsState => state({ events: topic({ overrides: { [key]: value } }) });
    expect(planOne(spec(), slowed('0:3,1:3'))).toMatchObject([
      { kind: 'replication', from: 3, to: 3, reason: 'a move was not ended' },
    ]);
    expect(planOne(spec(), slowed('*'))).toEqual([]);
  });

  test('a topic that was named to be deleted, with what goes with it', () => {
    const now = state(
      { events: topic(), old: topic({ id: 'id-9' }) },
      { evidence: new Map([['old', { records: 3n, bytes: new Map([[0, 2048n]]) }]]) },
    );
    const plan = planTopics([spec()], now, { managed: new Set(['events']), prune: ['old'] });
    expect(plan.unmanaged).toEqual([]);
    expect(plan.changes).toEqual([
      {
        topic: 'old',
        kind: 'delete',
        key: null,
        from: { id: 'id-9', partitions: 6, replicationFactor: 3 },
        to: null,
        reason: 'named by --prune',
        risk: 'high',
        warnings: ['deletes 3 records, 2 KiB, for good'],
      },
    ]);
  });

  test('topics in sync with the keys that stay, and topics that are nobody’s', () => {
    const now = state(
      {
        events: topic({ overrides: { 'segment.ms': '5', 'flush.ms': '1' } }),
        stranger: topic(),
        'events.dlq': topic(),
      },
      {},
    );
    const plan = planTopics([spec()], now, { managed: new Set(['events', 'events.dlq']), prune: [] });
    expect(plan).toEqual({
      clusterId: 'cluster-1',
      observedAt: '2026-01-02T03:04:05.000Z',
      stateHash: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
      changes: [],
      inSync: [{ topic: 'events', keptKeys: ['flush.ms', 'segment.ms'] }],
      unmanaged: ['stranger'],
    });
  });
});

describe('what Kafka cannot do is refused', () => {
  test.each<[string, Partial<TopicSpec>, Readonly<Record<string, ObservedTopic>>, number, RegExp]>([
    [
      'fewer partitions',
      { partitions: { count: 5, basis: 'count', atLeast: false } },
      { events: topic() },
      3,
      /6 → 5 partitions/,
    ],
    ['more replicas than brokers', { replicationFactor: 4 }, {}, 3, /4 replicas need as many brokers; 3 are up/],
    ['one broker', {}, {}, 1, /3 replicas need as many brokers; 1 is up/],
    [
      'fewer replicas than writes need',
      { replicationFactor: 1 },
      { events: topic({ overrides: { 'min.insync.replicas': '2' } }) },
      3,
      /1 replicas are fewer than min\.insync\.replicas 2/,
    ],
    ['racks that no broker has', { placement: 'racks' }, {}, 3, /needs broker\.rack on every broker/],
  ])('%s', (_name, declared, topics, up, message) => {
    expect(() => planOne(spec(declared), state(topics, { brokers: brokers(up) }))).toThrowError(
      expect.objectContaining({
        code: 'KPIPE_REFUSED',
        exitCode: 4,
        message: expect.stringMatching(message) as unknown,
      }),
    );
  });

  test('a broker that is down does not make an existing topic impossible', () => {
    expect(planOne(spec(), state({ events: topic() }, { brokers: brokers(2) }))).toEqual([]);
  });
});

const keys = ['retention.ms', 'min.insync.replicas', 'cleanup.policy', 'segment.ms', 'preallocate'];
const values = ['1', '2', '86400000', '-1', 'compact', 'compact, delete', 'true', '0.50'];
const configs = dictionary(constantFrom(...keys), constantFrom(...values), { maxKeys: 4 });
const specs = uniqueArray(
  record({
    name: constantFrom('a', 'b', 'c', 'd'),
    count: integer({ min: 6, max: 20 }),
    replicationFactor: integer({ min: 1, max: 3 }),
    config: configs,
  }),
  { selector: ({ name }) => name },
).map((all) =>
  all.map(({ name, count, replicationFactor, config }) =>
    spec({ name, replicationFactor, config, partitions: { count, basis: 'count', atLeast: false } }),
  ),
);
const states = dictionary(
  constantFrom('a', 'b', 'c', 'e'),
  record({
    partitions: integer({ min: 1, max: 6 }),
    replicationFactor: integer({ min: 1, max: 3 }),
    overrides: configs,
  }),
).map((topics) => state(Object.fromEntries(Object.entries(topics).map(([name, observed]) => [name, topic(observed)]))));

/** The cluster after the changes: a model that shares no code with the planner. */
function after(now: TopicsState, changes: readonly Change[]): TopicsState {
  const topics = new Map(now.topics);
  for (const change of changes) {
    const before = topics.get(change.topic) ?? topic({ id: `new-${change.topic}`, partitions: 0 });
    switch (change.kind) {
      case 'create':
        topics.set(change.topic, {
          ...before,
          partitions: change.to.partitions,
          replicationFactor: change.to.replicationFactor,
          overrides: change.to.config,
        });
        break;
      case 'config':
        topics.set(change.topic, { ...before, overrides: { ...before.overrides, [change.key]: change.to } });
        break;
      case 'partitions':
        topics.set(change.topic, { ...before, partitions: change.to });
        break;
      case 'replication':
        topics.set(change.topic, { ...before, replicationFactor: change.to });
        break;
      case 'placement':
      case 'delete':
        throw new Error(`nobody asked for ${change.kind}`);
    }
  }
  return { ...now, topics };
}

/** Whether no topic would have fewer replicas than its writes need: that is refused. */
function keepsWrites(declared: readonly TopicSpec[], now: TopicsState): boolean {
  return declared.every(({ name, replicationFactor, config }) => {
    const before = now.topics.get(name);
    const least = Number(config['min.insync.replicas'] ?? before?.overrides['min.insync.replicas'] ?? 1);
    return before === undefined || replicationFactor >= before.replicationFactor || !(replicationFactor < least);
  });
}

describe('properties', () => {
  const plan = (declared: readonly TopicSpec[], now: TopicsState): ReturnType<typeof planTopics> =>
    planTopics(declared, now, { managed: new Set(declared.map(({ name }) => name)), prune: [] });

  test('after its changes nothing is left to change, and no undeclared key was touched', () => {
    assert(
      property(specs, states, (declared, now) => {
        pre(keepsWrites(declared, now));
        const { changes } = plan(declared, now);
        const next = after(now, changes);
        expect(plan(declared, next).changes).toEqual([]);
        for (const [name, before] of now.topics) {
          const declaredKeys = Object.keys(declared.find((each) => each.name === name)?.config ?? {});
          const undeclared = Object.entries(before.overrides).filter(([each]) => !declaredKeys.includes(each));
          for (const [key, value] of undeclared) {
            expect(next.topics.get(name)?.overrides[key]).toBe(value);
          }
        }
      }),
    );
  });

  test('every topic asked for is either changed or in sync, never both, and the plan survives its file', () => {
    assert(
      property(specs, states, (declared, now) => {
        pre(keepsWrites(declared, now));
        const made = plan(declared, now);
        const changed = new Set(made.changes.map(({ topic: name }) => name));
        const inSync = made.inSync.map(({ topic: name }) => name);
        expect([...changed, ...inSync].toSorted()).toEqual(declared.map(({ name }) => name).toSorted());
        expect(topicPlanSchema.parse(JSON.parse(JSON.stringify(made)))).toEqual(made);
      }),
    );
  });

  test('the hash depends on the topics asked for and on nothing else', () => {
    assert(
      property(states, constantFrom('a', 'b', 'c'), (now, name) => {
        const hash = hashState(now, [name]);
        const elsewhere = {
          ...now,
          observedAtMs: 1,
          brokers: brokers(1),
          names: [],
          topics: new Map(now.topics).set('z', topic()),
        };
        expect(hashState(elsewhere, [name])).toBe(hash);
        const touched = topic({
          id: 'another',
          ...now.topics.get(name),
          overrides: { ...now.topics.get(name)?.overrides, 'flush.ms': '77' },
        });
        expect(hashState({ ...now, topics: new Map(now.topics).set(name, touched) }, [name])).not.toBe(hash);
        expect(hashState({ ...now, clusterId: 'other' }, [name])).not.toBe(hash);
      }),
    );
  });
});

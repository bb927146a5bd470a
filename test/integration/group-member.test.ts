import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test, vi } from 'vitest';

import { parseConfig, type KafkaConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { KafkaConnections } from '../../src/lib/kafka/connections.ts';
import { GroupMember } from '../../src/lib/kafka/group/group-member.ts';
import { coordinator } from '../../src/lib/kafka/group-requests.ts';
import { AssignmentLostError, type Assignment, type ClusterAdmin } from '../../src/lib/ports.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const { brokers } = inject('servers');
const protocols = ['classic', 'consumer'] as const;
const partitions = 6;
let admin: ClusterAdmin;
let topic: string;

function kafka(group: object, more: object = {}): KafkaConfig {
  const section = { brokers, group, sessionTimeout: '6s', ...more };
  return parseConfig(JSON.stringify({ pipeline: 'test', kafka: section }), '/dev/null/kpipe.yaml', {}).kafka;
}

beforeAll(async () => {
  admin = await openKafkaAdmin(kafka({}));
  topic = uniqueTopic('group-member');
  await admin.createTopic({ name: topic, partitions, replicationFactor: Math.min(3, brokers.length), config: {} });
  await topicsEverywhere(kafka({}), [topic]);
});

afterAll(async () => {
  await admin.deleteTopic(topic);
  await admin.close();
});

type Event = 'assigned' | 'reading' | 'stopped' | 'revoking' | 'released';

interface Setting {
  readonly group: string;
  readonly protocol: 'auto' | 'classic' | 'consumer';
  readonly instanceId?: string;
  readonly topic?: string;
  readonly sessionTimeout?: string;
}

/** A member that reads nothing, and writes down what happens to it. */
class Member {
  readonly name: string;
  readonly events: string[];
  readonly assignments = new Map<number, Assignment>();
  readonly notices: string[] = [];
  readonly ended: Promise<unknown>;
  error: unknown = undefined;
  joined = 0;
  drained: Promise<void> = Promise.resolve();
  readonly #member: GroupMember;

  private constructor(name: string, events: string[], member: GroupMember) {
    this.name = name;
    this.events = events;
    this.#member = member;
    this.ended = this.#run().catch((error: unknown) => {
      this.error = error;
    });
  }

  static async join(name: string, events: string[], setting: Setting): Promise<Member> {
    const { group, protocol, instanceId } = setting;
    const notices: string[] = [];
    const { sessionTimeout = '30s' } = setting;
    const member = await GroupMember.open(kafka({ protocol }, { sessionTimeout }), {
      topic: setting.topic ?? topic,
      group,
      clientId: name,
      instanceId: instanceId ?? null,
      notice: (text) => notices.push(text),
      onAway: () => undefined,
    });
    const made = new Member(name, events, member);
    onTestFinished(() => made.stop());
    return Object.assign(made, { notices });
  }

  #tell(event: Event, of: readonly { readonly partition: number }[]): void {
    this.events.push(...of.map(({ partition }) => `${this.name} ${event} ${partition}`));
  }

  #run(): Promise<void> {
    return this.#member.run(
      {
        joined: () => {
          this.joined += 1;
        },
        assigned: (assignment) => {
          this.#tell('assigned', [assignment]);
          this.assignments.set(assignment.partition, assignment);
          return Promise.resolve(0n);
        },
        fetched: () => Promise.resolve(),
        revoked: async (gone) => {
          this.#tell('revoking', gone);
          await this.drained;
          this.#tell('released', gone);
        },
      },
      {
        start: (assignment) => this.#tell('reading', [assignment]),
        stop: (gone) => this.#tell('stopped', gone),
      },
    );
  }

  get held(): readonly number[] {
    return [...this.assignments.values()]
      .filter(({ active }) => active)
      .map(({ partition }) => partition)
      .toSorted((left, right) => left - right);
  }

  /** How often each event happened to a partition. */
  count(event: Event, partition: number): number {
    return this.events.filter((line) => line === `${this.name} ${event} ${partition}`).length;
  }

  stop(): Promise<void> {
    return this.#member.stop();
  }
}

/** Everything is somebody's, and shared evenly. */
async function shared(...members: readonly Member[]): Promise<void> {
  await vi.waitFor(
    () => {
      for (const member of members) {
        if (member.error !== undefined) {
          throw new Error(`${member.name} ended`, { cause: member.error });
        }
      }
      const all = members.flatMap((member) => member.held);
      expect(all.toSorted((left, right) => left - right)).toEqual([0, 1, 2, 3, 4, 5]);
      const loads = members.map(({ held }) => held.length);
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1);
    },
    { timeout: 90_000, interval: 20 },
  );
}

/** What happened to each partition, in its order, over all members. */
function ofPartition(events: readonly string[], partition: number): readonly string[] {
  return events.filter((line) => line.endsWith(` ${partition}`));
}

describe.each(protocols)('members of a %s group', (protocol) => {
  test('come and go: what stays is not touched, what moves is drained first', async () => {
    const group = uniqueTopic('group');
    const events: string[] = [];
    const a = await Member.join('a', events, { group, protocol });
    await shared(a);
    const drained = Promise.withResolvers<void>();
    a.drained = drained.promise;
    const b = await Member.join('b', events, { group, protocol });
    await vi.waitFor(() => expect(events.filter((line) => line.startsWith('a revoking'))).toHaveLength(3), 60_000);
    // While it drains it is a member with rights: it commits what it had in hand, and nobody has it yet.
    const moving = [0, 1, 2, 3, 4, 5].filter((partition) => a.count('revoking', partition) === 1);
    await a.assignments.get(moving[0]!)!.commit(42n, 'in hand');
    expect(b.held).toEqual([]);
    drained.resolve();
    await shared(a, b);
    for (const partition of moving) {
      expect(ofPartition(events, partition)).toEqual([
        `a assigned ${partition}`,
        `a reading ${partition}`,
        `a stopped ${partition}`,
        `a revoking ${partition}`,
        `a released ${partition}`,
        `b assigned ${partition}`,
        `b reading ${partition}`,
      ]);
    }
    for (const partition of a.held) {
      expect(ofPartition(events, partition)).toEqual([`a assigned ${partition}`, `a reading ${partition}`]);
    }
    const c = await Member.join('c', events, { group, protocol });
    await shared(a, b, c);
    const kept = [...a.held, ...c.held];
    const before = kept.map((partition) => ofPartition(events, partition));
    await b.stop();
    await shared(a, c);
    expect(kept.map((partition) => ofPartition(events, partition))).toEqual(before);
    expect(await admin.committedOffsets(group)).toEqual([
      { topic, partition: moving[0], offset: 42n, metadata: 'in hand' },
    ]);
  });

  test('commit what they keep through a rebalance, and not what has gone', async () => {
    const group = uniqueTopic('group');
    const a = await Member.join('a', [], { group, protocol });
    await shared(a);
    const first = new Map(a.assignments);
    const b = await Member.join('b', [], { group, protocol });
    await shared(a, b);
    for (const partition of a.held) {
      expect(a.assignments.get(partition)).toBe(first.get(partition));
      await first.get(partition)!.commit(BigInt(partition + 100));
    }
    for (const partition of b.held) {
      await expect(first.get(partition)!.commit(1n)).rejects.toBeInstanceOf(AssignmentLostError);
    }
    const committed = await admin.committedOffsets(group);
    expect(new Map(committed.map(({ partition, offset }) => [partition, offset]))).toEqual(
      new Map(a.held.map((partition) => [partition, BigInt(partition + 100)])),
    );
  });

  test('are put out by an administrator: inactive, told, and back with new assignments', async () => {
    const group = uniqueTopic('group');
    const events: string[] = [];
    const a = await Member.join('a', events, { group, protocol });
    await shared(a);
    const first = [...a.assignments.values()];
    await evict(group);
    await vi.waitFor(() => expect(first.every(({ active }) => !active)).toBe(true), 60_000);
    await shared(a);
    for (const partition of a.held) {
      expect(a.count('revoking', partition)).toBe(1);
      expect(a.count('assigned', partition)).toBe(2);
    }
    await expect(first[0]!.commit(7n)).rejects.toBeInstanceOf(AssignmentLostError);
    await a.assignments.get(0)!.commit(8n);
    expect((await admin.committedOffsets(group)).map(({ offset }) => offset)).toEqual([8n]);
  });

  test('with an instance id are expected back: nothing moves', async () => {
    const group = uniqueTopic('group');
    const events: string[] = [];
    const a = await Member.join('a', events, { group, protocol, instanceId: 'host-a' });
    const b = await Member.join('b', events, { group, protocol, instanceId: 'host-b' });
    await shared(a, b);
    const had = b.held;
    const before = [...events];
    await b.stop();
    const again = await Member.join('again', events, { group, protocol, instanceId: 'host-b' });
    await vi.waitFor(() => expect(again.held).toEqual(had), 60_000);
    expect(events.slice(before.length)).toEqual(
      expect.arrayContaining(had.map((partition) => `again reading ${partition}`)),
    );
    expect(events.slice(before.length).filter((line) => line.startsWith('a '))).toEqual([]);
    await again.assignments.get(had[0]!)!.commit(5n);
  });

  test('share what a topic gains', async () => {
    const group = uniqueTopic('group');
    const growing = uniqueTopic('growing');
    await admin.createTopic({ name: growing, partitions: 2, replicationFactor: 1, config: {} });
    await topicsEverywhere(kafka({}), [growing]);
    onTestFinished(() => admin.deleteTopic(growing));
    const a = await Member.join('a', [], { group, protocol, topic: growing });
    await vi.waitFor(() => expect(a.held).toEqual([0, 1]), 60_000);
    await admin.createPartitions(growing, 4);
    await vi.waitFor(() => expect(a.held).toEqual([0, 1, 2, 3]), 60_000);
    expect(a.count('assigned', 0)).toBe(1);
  });

  test('end with an error when their topic is deleted', async () => {
    const group = uniqueTopic('group');
    const doomed = uniqueTopic('doomed');
    await admin.createTopic({ name: doomed, partitions: 1, replicationFactor: 1, config: {} });
    await topicsEverywhere(kafka({}), [doomed]);
    const a = await Member.join('a', [], { group, protocol, topic: doomed });
    await vi.waitFor(() => expect(a.held).toEqual([0]), 60_000);
    await admin.deleteTopic(doomed);
    await a.ended;
    expect(a.error).toMatchObject({ code: 'KPIPE_TOPIC_MISSING' });
  });
});

/** As an administrator does; each protocol has its own request. */
async function evict(group: string): Promise<void> {
  const { protocol, members } = await admin.describeGroup(group);
  const connections = await KafkaConnections.prepare(kafka({}), 10_000);
  const broker = await coordinator(connections, group);
  const { leaveGroupV5, consumerGroupHeartbeatV1 } = connections.driver;
  for (const { memberId } of members) {
    await (protocol === 'classic'
      ? connections.request(broker, [leaveGroupV5.api], group, [{ memberId, groupInstanceId: null, reason: 'test' }])
      : connections.request(
          broker,
          [consumerGroupHeartbeatV1.api],
          group,
          memberId,
          -1,
          null,
          null,
          -1,
          null,
          null,
          null,
          null,
        ));
  }
  await connections.close();
}

describe('one instance id, two processes', () => {
  test('classic: the newcomer has it, the other one ends and says why', async () => {
    const group = uniqueTopic('group');
    const a = await Member.join('a', [], { group, protocol: 'classic', instanceId: 'same' });
    await shared(a);
    const b = await Member.join('b', [], { group, protocol: 'classic', instanceId: 'same' });
    await a.ended;
    expect(a.error).toMatchObject({
      code: 'KPIPE_KAFKA_FAILED',
      message: expect.stringContaining('as same') as string,
    });
    expect(a.held).toEqual([]);
    await shared(b);
  });

  test('consumer: the newcomer waits until the other one has gone, and says so once', async () => {
    const group = uniqueTopic('group');
    const a = await Member.join('a', [], { group, protocol: 'consumer', instanceId: 'same' });
    await shared(a);
    const b = await Member.join('b', [], { group, protocol: 'consumer', instanceId: 'same' });
    await vi.waitFor(() => expect(b.notices).toEqual([expect.stringContaining('instance id same')]), 60_000);
    expect(a.held).toHaveLength(partitions);
    await a.stop();
    await shared(b);
    expect(b.notices).toHaveLength(1);
  });
});

describe('which protocol', () => {
  test('auto: as the members of the group, else KIP-848 where its session is not longer than ours', async () => {
    const classicGroup = uniqueTopic('group');
    const a = await Member.join('a', [], { group: classicGroup, protocol: 'classic' });
    await shared(a);
    const b = await Member.join('b', [], { group: classicGroup, protocol: 'auto' });
    await shared(a, b);
    expect(await admin.describeGroup(classicGroup)).toMatchObject({ protocol: 'classic', state: 'Stable' });

    const newGroup = uniqueTopic('group');
    const c = await Member.join('c', [], { group: newGroup, protocol: 'auto', sessionTimeout: '10s' });
    await shared(c);
    expect(await admin.describeGroup(newGroup)).toMatchObject({ protocol: 'consumer', state: 'Stable' });

    const quickGroup = uniqueTopic('group');
    const d = await Member.join('d', [], { group: quickGroup, protocol: 'auto', sessionTimeout: '6s' });
    await shared(d);
    expect(await admin.describeGroup(quickGroup)).toMatchObject({ protocol: 'classic', state: 'Stable' });
  });

  test('members of both share one group, which the brokers convert', async () => {
    const group = uniqueTopic('group');
    const events: string[] = [];
    const classic = await Member.join('classic', events, { group, protocol: 'classic' });
    await shared(classic);
    const consumer = await Member.join('consumer', events, { group, protocol: 'consumer' });
    await shared(classic, consumer);
    for (const partition of classic.held) {
      expect(classic.count('assigned', partition)).toBe(1);
      await classic.assignments.get(partition)!.commit(BigInt(partition));
    }
    for (const partition of consumer.held) {
      expect(ofPartition(events, partition).at(-3)).toBe(`classic released ${partition}`);
      await consumer.assignments.get(partition)!.commit(BigInt(partition));
    }
    await consumer.stop();
    await shared(classic);
  });

  test('a group of kafkajs assigns in another way: the newcomer ends, and says what to do', async () => {
    const group = uniqueTopic('group');
    const other = new kafkajs.Kafka({
      brokers: [...brokers],
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { retries: 10 },
    });
    const consumer = other.consumer({ groupId: group });
    onTestFinished(() => consumer.disconnect());
    await consumer.connect();
    await consumer.subscribe({ topic });
    await consumer.run({ eachMessage: () => Promise.resolve() });
    await vi.waitFor(
      async () => expect((await admin.describeGroup(group)).members[0]?.assignment).toHaveLength(partitions),
      60_000,
    );
    const a = await Member.join('a', [], { group, protocol: 'auto' });
    await a.ended;
    expect(a.error).toMatchObject({
      code: 'KPIPE_KAFKA_FAILED',
      next: expect.stringContaining('stop them first') as string,
    });
  });
});

describe('a process that stands still for longer than a session', () => {
  test('loses everything, hears so, and joins again', async () => {
    const group = uniqueTopic('group');
    const events: string[] = [];
    const a = await Member.join('a', events, { group, protocol: 'classic', sessionTimeout: '6s' });
    await shared(a);
    const first = [...a.assignments.values()];
    // The event loop stands; the broker's clock goes on.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 8000);
    await vi.waitFor(() => expect(first.every(({ active }) => !active)).toBe(true), 60_000);
    await shared(a);
    expect(a.joined).toBe(2);
    await a.assignments.get(3)!.commit(9n);
  });
});

import { createServer, type Server } from 'node:net';

import { Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { afterAll, describe, expect, inject, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { KpipeError } from '../../src/lib/errors.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const { kafka: config } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(config);
const { Kafka, logLevel } = kafkajs;
// A topic that was just made is not known to every broker yet; under NODE_ENV=test kafkajs hardly tries again by itself.
const classic = new Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-classic',
  logLevel: logLevel.NOTHING,
  retry: { retries: 10 },
});
const replicas = Math.min(3, servers.brokers.length);
const topics: string[] = [];

/** A topic of one test's own, deleted at the end. */
async function newTopic(partitions: number, keys: Readonly<Record<string, string>> = {}): Promise<string> {
  const name = uniqueTopic('admin');
  topics.push(name);
  await admin.createTopic({ name, partitions, replicationFactor: replicas, config: keys });
  await topicsEverywhere(config, [name]);
  return name;
}

async function produce(topic: string, partition: number, timestamps: readonly number[]): Promise<void> {
  const producer = new Producer({
    clientId: 'test-producer',
    bootstrapBrokers: [...servers.brokers],
    serializers: stringSerializers,
  });
  await producer.send({
    messages: timestamps.map((ms) => ({ topic, partition, value: String(ms), timestamp: BigInt(ms) })),
    acks: -1,
  });
  await producer.close();
}

async function failureOf(work: Promise<unknown>): Promise<KpipeError> {
  const failure = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(failure instanceof KpipeError)) {
    throw new Error(`not a KpipeError: ${String(failure)}`);
  }
  return failure;
}

afterAll(async () => {
  await Promise.all(topics.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

describe('the cluster', () => {
  test('has an id, brokers at the addresses that were given, and a version', async () => {
    const cluster = await admin.describeCluster();
    expect(cluster.clusterId).toMatch(/^[\w-]{22}$/);
    expect(cluster.brokers.map(({ host, port }) => `${host}:${port}`).toSorted()).toEqual(servers.brokers.toSorted());
    expect(await admin.kafkaVersion()).toMatch(/^\d+\.\d+$/);
    await Promise.all(cluster.brokers.map((broker) => admin.reach(broker)));
  });
});

describe('topics', () => {
  test('validateOnly creates nothing', async () => {
    const name = uniqueTopic('admin');
    await admin.createTopic({ name, partitions: 2, replicationFactor: replicas, config: {} }, { validateOnly: true });
    // A topic made after it is there, and it is not.
    const later = await newTopic(1);
    const names = (await admin.listTopics()).map((topic) => topic.name);
    expect(names).toContain(later);
    expect(names).not.toContain(name);
  });

  test('are described with partitions and replicas; those that do not exist are left out', async () => {
    const name = await newTopic(3);
    const [topic, ...others] = await admin.describeTopics([name, uniqueTopic('absent')]);
    expect(others).toEqual([]);
    expect(topic).toMatchObject({ name, internal: false, id: expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown });
    expect(topic?.partitions.map(({ partition }) => partition)).toEqual([0, 1, 2]);
    for (const partition of topic?.partitions ?? []) {
      expect(partition.replicas).toHaveLength(replicas);
      expect(partition.replicas).toContain(partition.leader);
    }
  });

  test('get more partitions; fewer are refused', async () => {
    const name = await newTopic(2);
    await admin.createPartitions(name, 4, { validateOnly: true });
    expect((await admin.describeTopics([name]))[0]?.partitions).toHaveLength(2);
    await admin.createPartitions(name, 4);
    await vi.waitFor(async () => expect((await admin.describeTopics([name]))[0]?.partitions).toHaveLength(4), {
      timeout: 60_000,
    });
    expect(await failureOf(admin.createPartitions(name, 1))).toMatchObject({ code: 'KPIPE_REFUSED', exitCode: 4 });
  });

  test('changing one key leaves the others; null takes a value away', async () => {
    const name = await newTopic(1, { 'retention.ms': '100000', 'segment.ms': '50000' });
    await admin.alterConfigs({ topic: name, set: { 'retention.ms': '200000' } });
    const own = async (): Promise<unknown> => {
      const entries =
        (await admin.topicConfigs([name])).get(name) ?? new Map<string, { source: string; value: string | null }>();
      return Object.fromEntries(
        [...entries].filter(([, entry]) => entry.source === 'topic').map(([key, entry]) => [key, entry.value]),
      );
    };
    await vi.waitFor(async () => expect(await own()).toEqual({ 'retention.ms': '200000', 'segment.ms': '50000' }), {
      timeout: 60_000,
    });
    await admin.alterConfigs({ topic: name, set: { 'segment.ms': null } });
    await vi.waitFor(async () => expect(await own()).toEqual({ 'retention.ms': '200000' }), { timeout: 60_000 });
    const entries = (await admin.topicConfigs([name])).get(name);
    expect(entries?.get('segment.ms')).toMatchObject({ source: 'default' });
  });

  test.each([
    [{ 'retention.mss': '1' }, /Unknown topic config name: retention\.mss/],
    [{ 'retention.ms': 'soon' }, /retention\.ms/],
  ])('bad configuration %j is the reader’s to mend', async (set, message) => {
    const name = await newTopic(1);
    const failure = await failureOf(admin.alterConfigs({ topic: name, set }, { validateOnly: true }));
    expect(failure).toMatchObject({ code: 'KPIPE_CONFIG_INVALID', exitCode: 2, where: { topic: name } });
    expect(failure.message).toMatch(message);
  });

  test('more replicas than brokers are refused', async () => {
    const topic = { name: uniqueTopic('admin'), partitions: 1, replicationFactor: 30, config: {} };
    expect(await failureOf(admin.createTopic(topic, { validateOnly: true }))).toMatchObject({ code: 'KPIPE_REFUSED' });
  });

  test('rights are told', async () => {
    const name = await newTopic(1);
    expect((await admin.topicRights([name])).get(name)).toEqual({ read: true, write: true, alter: true });
  });
});

describe('offsets', () => {
  test('by position and by time, in the order asked for; a time past the end is null', async () => {
    const name = await newTopic(2);
    await produce(name, 0, [1000, 2000, 3000]);
    await produce(name, 1, [1500]);
    const both = [1, 0].map((partition) => ({ topic: name, partition }));
    const offsets = async (query: Parameters<typeof admin.listOffsets>[1]): Promise<unknown> =>
      (await admin.listOffsets(both, query)).map(({ partition, offset, timestampMs }) => [
        partition,
        offset,
        timestampMs,
      ]);
    expect(await offsets('earliest')).toEqual([
      [1, 0n, null],
      [0, 0n, null],
    ]);
    expect(await offsets('latest')).toEqual([
      [1, 1n, null],
      [0, 3n, null],
    ]);
    expect(await offsets({ timestampMs: 1500 })).toEqual([
      [1, 0n, 1500],
      [0, 1n, 2000],
    ]);
    expect(await offsets({ timestampMs: 1501 })).toEqual([
      [1, null, null],
      [0, 1n, 2000],
    ]);
    expect(await offsets({ timestampMs: 4000 })).toEqual([
      [1, null, null],
      [0, null, null],
    ]);
  });

  test('of a partition that does not exist', async () => {
    const name = await newTopic(1);
    const failure = await failureOf(admin.listOffsets([{ topic: name, partition: 7 }], 'latest'));
    expect(failure).toMatchObject({ code: 'KPIPE_TOPIC_MISSING', where: { topic: name, partition: 7 } });
  });
});

describe('groups', () => {
  test('that never were are Dead, without commits', async () => {
    const group = uniqueTopic('nobody');
    expect(await admin.describeGroup(group)).toEqual({ group, protocol: null, state: 'Dead', members: [] });
    expect(await admin.committedOffsets(group)).toEqual([]);
  });

  test('of the classic protocol', async () => {
    const name = await newTopic(2);
    await produce(name, 0, [1]);
    const group = uniqueTopic('classic');
    const consumer = classic.consumer({ groupId: group });
    try {
      await consumer.connect();
      await consumer.subscribe({ topic: name, fromBeginning: true });
      await consumer.run({ autoCommit: false, eachMessage: async () => undefined });
      await vi.waitFor(async () => expect((await admin.describeGroup(group)).state).toBe('Stable'), {
        timeout: 90_000,
        interval: 200,
      });
      const description = await admin.describeGroup(group);
      expect(description).toMatchObject({ group, protocol: 'classic' });
      expect(description.members).toEqual([
        expect.objectContaining({
          clientId: 'test-classic',
          instanceId: null,
          assignment: [0, 1].map((partition) => ({ topic: name, partition })),
        }),
      ]);
      await consumer.commitOffsets([{ topic: name, partition: 0, offset: '1', metadata: 'intent' }]);
      expect(await admin.committedOffsets(group)).toEqual([
        { topic: name, partition: 0, offset: 1n, metadata: 'intent' },
      ]);
      expect(await admin.listGroups()).toContainEqual({ group, protocol: 'classic', state: 'Stable' });
    } finally {
      await consumer.disconnect();
    }
    await vi.waitFor(async () => expect((await admin.describeGroup(group)).state).toBe('Empty'), {
      timeout: 90_000,
      interval: 200,
    });
  });

  test('of KIP-848, which the classic request calls Dead', async () => {
    const name = await newTopic(2);
    const group = uniqueTopic('kip848');
    const consumer = new Consumer({
      clientId: 'test-848',
      groupId: group,
      groupProtocol: 'consumer',
      bootstrapBrokers: [...servers.brokers],
      deserializers: stringDeserializers,
    });
    try {
      const stream = await consumer.consume({ topics: [name], mode: 'earliest', autocommit: false });
      stream.resume();
      await vi.waitFor(
        async () => {
          const { members, state } = await admin.describeGroup(group);
          expect(state).toBe('Stable');
          expect(
            members
              .flatMap(({ assignment }) => assignment)
              .map(({ partition }) => partition)
              .toSorted((left, right) => left - right),
          ).toEqual([0, 1]);
        },
        { timeout: 90_000, interval: 200 },
      );
      const description = await admin.describeGroup(group);
      expect(description).toMatchObject({ group, protocol: 'consumer', state: 'Stable' });
      expect(description.members).toEqual([expect.objectContaining({ clientId: 'test-848' })]);
      await consumer.commit({ offsets: [{ topic: name, partition: 1, offset: 5n, leaderEpoch: 0 }] });
      expect(await admin.committedOffsets(group)).toEqual([{ topic: name, partition: 1, offset: 5n, metadata: '' }]);
      expect(await admin.listGroups()).toContainEqual({ group, protocol: 'consumer', state: 'Stable' });
    } finally {
      await consumer.close(true);
    }
  });
});

describe('a cluster that is not there', () => {
  async function listening(
    onConnection: (server: Server) => void = () => undefined,
  ): Promise<{ address: string; close: () => void }> {
    const sockets = new Set<{ destroy: () => void }>();
    const server = createServer((socket) => sockets.add(socket.on('error', () => undefined)));
    onConnection(server);
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const address = server.address();
    const close = (): void => {
      server.close();
      sockets.forEach((socket) => socket.destroy());
    };
    return { address: typeof address === 'object' ? `127.0.0.1:${address?.port}` : '', close };
  }

  test('is told with its brokers and a next step', async () => {
    const gone = await listening();
    gone.close();
    const down = await openKafkaAdmin({ ...config, brokers: [gone.address, 'no-such-host.invalid:9092'] });
    const failure = await failureOf(down.describeCluster());
    await down.close();
    expect(failure).toMatchObject({
      code: 'KPIPE_KAFKA_UNREACHABLE',
      exitCode: 1,
      where: { brokers: `${gone.address},no-such-host.invalid:9092` },
    });
    expect(failure.message).toContain(`${gone.address} refused the connection`);
    expect(failure.next).toBeDefined();
  });

  test('accepts connections and says nothing: the deadline ends it', async () => {
    const mute = await listening();
    const down = await openKafkaAdmin({ ...config, brokers: [mute.address] }, { deadlineMs: 500 });
    const failure = await failureOf(down.listTopics());
    expect(failure).toMatchObject({
      code: 'KPIPE_KAFKA_UNREACHABLE',
      message: expect.stringContaining('within 0.5 s') as unknown,
    });
    await down.close();
    mute.close();
  });

  test('one mute broker does not hide the others', async () => {
    const mute = await listening();
    const mixed = await openKafkaAdmin({ ...config, brokers: [mute.address, ...config.brokers] });
    expect((await mixed.describeCluster()).clusterId).toBe((await admin.describeCluster()).clusterId);
    await mixed.close();
    mute.close();
  });
});

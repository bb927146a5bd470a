import kafkajs from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import type { GroupLag } from '../../src/lib/offsets/lag-report.ts';
import { openSource } from '../../src/lib/kafka/open-source.ts';
import { lookAtLag } from '../../src/lib/offsets/look.ts';
import type { Assignment } from '../../src/lib/ports.ts';
import { consoleConsumer, describedOffsets, describedPartitions } from '../support/kafka-tools.ts';
import { uniqueTopic } from '../support/servers.ts';

/** Lag of a group of the consumer protocol (KIP-848), made by Kafka's own console consumer. */

const servers = inject('servers');
const config = loadConfig({ file: servers.config, cwd: process.cwd(), env: {} });
const kafka = new kafkajs.Kafka({
  brokers: [...servers.brokers],
  logLevel: kafkajs.logLevel.NOTHING,
  retry: { retries: 10 },
});
const admin = kafka.admin();
const producer = kafka.producer();
const topic = uniqueTopic('lag-848');
const group = uniqueTopic('lag-848-group');
/** Of kpipe's own source. */
const ownTopic = uniqueTopic('lag-848-own');
const ownGroup = uniqueTopic('lag-848-own-group');
const { signal } = new AbortController();

beforeAll(async () => {
  await Promise.all([admin.connect(), producer.connect()]);
  await admin.createTopics({
    topics: [
      { topic, numPartitions: 2, replicationFactor: 1 },
      { topic: ownTopic, numPartitions: 4, replicationFactor: 1 },
    ],
    waitForLeaders: true,
  });
});

afterAll(async () => {
  await admin.deleteGroups([group, ownGroup]);
  await admin.deleteTopics({ topics: [topic, ownTopic] });
  await Promise.all([producer.disconnect(), admin.disconnect()]);
});

const send = (count: number) =>
  producer.send({ topic, messages: Array.from({ length: count }, (_, at) => ({ value: `${at}`, partition: at % 2 })) });

async function look(name = group): Promise<GroupLag | undefined> {
  const target = { role: null, group: name, topic: null, positionsIn: 'group' } as const;
  const options = { forMs: 0, intervalMs: 1000, conditions: [] };
  const report = await lookAtLag(config, [target], options, signal).catch(() => undefined);
  return report?.roles[0];
}

test('a group of the consumer protocol: its members while it runs, its lag when it is gone, as Kafka’s tool says', async () => {
  await send(20);
  const consumer = consoleConsumer(topic, group, { protocol: 'consumer' });
  try {
    const running = await vi.waitUntil(
      async () => {
        const seen = await look();
        return seen?.state === 'Stable' && seen.members === 1 && seen.lagRecords === 0 && seen;
      },
      { timeout: 90_000, interval: 300 },
    );
    expect(running).toMatchObject({ protocol: 'consumer', timeLagMs: 0, status: 'ok' });
    expect(running.partitions.map(({ position, member }) => [position, member === null])).toEqual([
      [10n, false],
      [10n, false],
    ]);
  } finally {
    consumer.child.kill('SIGTERM');
    await consumer.ended;
  }
  await send(6);
  const left = await vi.waitUntil(
    async () => {
      const seen = await look();
      return seen?.members === 0 && seen.lagRecords === 6 && seen;
    },
    { timeout: 60_000, interval: 300 },
  );
  expect(left).toMatchObject({ protocol: 'consumer', state: 'Empty' });
  const offsets = await describedOffsets(group);
  for (const { partition, position } of left.partitions) {
    expect(offsets.get(`${group} ${topic} ${partition}`)).toBe(String(position));
  }
});

/** A member by kpipe's own source; it commits what it has read. */
async function startMember(clientId: string) {
  const kafkaConfig = { ...config.kafka, group: { ...config.kafka.group, protocol: 'consumer' as const } };
  const source = await openSource(kafkaConfig, {
    topic: ownTopic,
    group: ownGroup,
    clientId,
    maxBytesPerPartition: 1024 * 1024,
    maxWaitMs: 100,
    instanceId: null,
    notice: () => undefined,
  });
  const held = new Map<number, Assignment>();
  const running = source.run({
    joined: () => undefined,
    assigned: (assignment) => {
      held.set(assignment.partition, assignment);
      return Promise.resolve(0n);
    },
    fetched: async ({ partition, nextPosition }) => held.get(partition)?.commit(nextPosition),
    revoked: (partitions) => {
      partitions.forEach(({ partition }) => held.delete(partition));
      return Promise.resolve();
    },
  });
  const stop = async (): Promise<void> => {
    await source.stop();
    await running;
  };
  return { clientId, held, stop };
}

test('two members of kpipe’s own source: who they are, where they run, and which partitions each has', async () => {
  const messages = Array.from({ length: 40 }, (_, at) => ({ value: `${at}`, partition: at % 4 }));
  await producer.send({ topic: ownTopic, messages });
  const members = [await startMember('lag-left'), await startMember('lag-right')];
  try {
    const seen = await vi.waitUntil(
      async () => {
        const found = await look(ownGroup);
        const isShared = members.every(({ held }) => held.size === 2);
        return isShared && found?.state === 'Stable' && found.members === 2 && found.lagRecords === 0 && found;
      },
      { timeout: 90_000, interval: 300 },
    );
    expect(seen).toMatchObject({ protocol: 'consumer', positionSource: 'group', status: 'ok', reason: null });
    const expected = members.flatMap(({ clientId, held }) =>
      [...held.keys()].map((partition) => [partition, `${clientId}@127.0.0.1`, 10n] as const),
    );
    const ofLag = seen.partitions.map(({ partition, member, position }) => [partition, member, position] as const);
    expect(ofLag).toEqual(expected.toSorted(([left], [right]) => left - right));
    const oracle = await describedPartitions([ownGroup]);
    expect(
      oracle
        .map(({ partition, member, offset }) => [partition, member, BigInt(offset)] as const)
        .toSorted(([left], [right]) => left - right),
    ).toEqual(ofLag);
  } finally {
    await Promise.all(members.map(({ stop }) => stop()));
  }
});

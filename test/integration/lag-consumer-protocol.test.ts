import kafkajs from 'kafkajs';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import type { GroupLag } from '../../src/lib/offsets/lag-report.ts';
import { lookAtLag } from '../../src/lib/offsets/look.ts';
import { consoleConsumer, describedOffsets } from '../support/kafka-tools.ts';
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
const { signal } = new AbortController();

beforeAll(async () => {
  await Promise.all([admin.connect(), producer.connect()]);
  await admin.createTopics({ topics: [{ topic, numPartitions: 2, replicationFactor: 1 }], waitForLeaders: true });
});

afterAll(async () => {
  await admin.deleteGroups([group]);
  await admin.deleteTopics({ topics: [topic] });
  await Promise.all([producer.disconnect(), admin.disconnect()]);
});

const send = (count: number) =>
  producer.send({ topic, messages: Array.from({ length: count }, (_, at) => ({ value: `${at}`, partition: at % 2 })) });

async function look(): Promise<GroupLag | undefined> {
  const target = { role: null, group, topic: null, positionsIn: 'group' } as const;
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

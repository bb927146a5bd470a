import { Producer, stringSerializers } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { afterAll, expect, inject, test, vi } from 'vitest';

import { parseConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { drawUpPlan } from '../../src/lib/topics/draw-up.ts';
import { uniqueTopic } from '../support/servers.ts';

const servers = inject('servers');
const topic = uniqueTopic('expiry');
const dayMs = 86_400_000;

function declared(retention: string): ReturnType<typeof parseConfig> {
  return parseConfig(
    `pipeline: test
kafka: {brokers: [${servers.brokers.join(', ')}]}
topics: {${topic}: {partitions: 1, replicationFactor: 1, retention: ${retention}}}
roles: {events: {topic: ${topic}, group: ${topic}, deadLetters: ${topic}.dlq}}
postgres: {primary: 'postgres://kpipe@127.0.0.1:1/kpipe'}`,
    'kpipe.yaml',
    {},
  );
}

const admin = await openKafkaAdmin(declared('7d').kafka);

afterAll(async () => {
  await admin.deleteTopic(topic);
  await admin.close();
});

async function riskOf(retention: string, nowMs: number): Promise<readonly unknown[]> {
  const plan = await drawUpPlan(admin, { declarations: declared(retention), only: [topic], nowMs });
  return plan.changes.map(({ key, risk, warnings }) => [key, risk, ...warnings]);
}

test('a shorter retention is shown with the records that expire and those that a role has not read', async () => {
  // given five records, one a day, and a role that has read two of them
  const nowMs = Date.now();
  await admin.createTopic({
    name: topic,
    partitions: 1,
    replicationFactor: 1,
    config: { 'retention.ms': String(7 * dayMs) },
  });
  await vi.waitFor(async () => expect(await admin.describeTopics([topic])).toHaveLength(1), { timeout: 10_000 });
  const producer = new Producer({
    clientId: 'test',
    bootstrapBrokers: [...servers.brokers],
    serializers: stringSerializers,
  });
  const ages = [5, 4, 3, 2, 1];
  await producer.send({
    messages: ages.map((age) => ({ topic, value: `${age}`, timestamp: BigInt(nowMs - age * dayMs) })),
    acks: -1,
  });
  await producer.close();
  const group = new kafkajs.Kafka({
    brokers: [...servers.brokers],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 10 },
  }).admin();
  await group.connect();
  await group.setOffsets({ groupId: topic, topic, partitions: [{ partition: 0, offset: '2' }] });
  await group.disconnect();

  // then each retention expires what is older
  expect(await riskOf('7d', nowMs)).toEqual([]);
  expect(await riskOf('6d', nowMs)).toEqual([['retention.ms', 'low', 'no record is older than 6d now']]);
  expect(await riskOf('4d12h', nowMs)).toEqual([
    ['retention.ms', 'low', 'expires about 1 record older than 4d12h; every role has read them'],
  ]);
  expect(await riskOf('36h', nowMs)).toEqual([
    ['retention.ms', 'high', 'expires about 4 records older than 1d12h; role events has not read 2 of them'],
  ]);
  expect(await riskOf('1h', nowMs)).toEqual([
    ['retention.ms', 'high', 'expires about 5 records older than 1h; role events has not read 3 of them'],
  ]);
});

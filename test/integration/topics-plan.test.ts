import { Producer, stringSerializers } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { afterAll, expect, inject, test } from 'vitest';

import { parseConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { sampleKeys } from '../../src/lib/kafka/key-sample.ts';
import { partitionOfKey } from '../../src/lib/kafka/partitioner.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import { openRecordTimeReader } from '../../src/lib/kafka/record-time.ts';
import { drawUpPlan } from '../../src/lib/topics/draw-up.ts';
import type { EvidenceSources } from '../../src/lib/topics/evidence.ts';
import { keyMoves } from '../../src/lib/topics/key-moves.ts';
import { formatGibi } from '../../src/lib/topics/risks.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

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
  await topicsEverywhere(declared('7d').kafka, [topic]);
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

test('the true position decides who has read what expires, and bytes follow the records', async () => {
  // given the same records, and PostgreSQL saying that the role has read four, whatever its group has committed
  const nowMs = Date.now();
  const records = await openRecordTimeReader(declared('7d').kafka);
  const stored = { topic, partition: 0, position: 4n, epoch: 1n, updatedAtMs: nowMs };
  const sources: EvidenceSources = {
    partitionSizes: (name) => admin.partitionSizes(name),
    sampleKeys: (name) => sampleKeys(declared('7d').kafka, admin, name),
    records,
    positions: {
      positions: () => Promise.resolve({ kind: 'known', positions: [stored] }),
      close: () => Promise.resolve(),
    },
  };
  const plan = await drawUpPlan(admin, { declarations: declared('36h'), only: [topic], nowMs, sources });
  await records.close();

  // then none of the four that expire is unread, and the fifth tells how far behind the role is
  const size = (await admin.partitionSizes(topic)).get(0) ?? 0n;
  expect(size).toBeGreaterThan(0n);
  expect(plan.changes).toMatchObject([
    {
      key: 'retention.ms',
      risk: 'low',
      warnings: [
        `expires about ${formatGibi((size * 4n) / 5n)}, 4 records older than 1d12h; every role has read them`,
        expect.stringMatching(/^role events is 1d\w* behind, loses nothing before 1[12]h\w*$/) as unknown,
      ],
    },
  ]);
});

test('keys are sampled from the newest records of every partition', async () => {
  // given 300 keys where Kafka's partitioner puts them, on three partitions
  const keyed = uniqueTopic('keys');
  await admin.createTopic({ name: keyed, partitions: 3, replicationFactor: 1, config: {} });
  try {
    await topicsEverywhere(declared('7d').kafka, [keyed]);
    const publisher = await openPublisher(declared('7d').kafka, { clientId: keyed });
    const keys = Array.from({ length: 300 }, (_, index) => Buffer.from(`order-${index}`));
    const sent = keys.map((key) => ({ key, value: Buffer.from('x'), partition: partitionOfKey(key, 3) }));
    await publisher.publish(keyed, sent);
    await publisher.publish(keyed, [{ key: null, value: Buffer.from('x'), partition: 1 }]);
    await publisher.close();
    const sample = await sampleKeys(declared('7d').kafka, admin, keyed);
    expect(sample).toMatchObject({ records: 301, keyed: 300 });
    const moving = keys.filter((key) => partitionOfKey(key, 3) !== partitionOfKey(key, 4)).length;
    expect(keyMoves(sample, { from: 3, to: 4 }, partitionOfKey)).toEqual({
      records: 301,
      keyed: 300,
      keys: 300,
      moving,
      byDefault: 300,
    });
  } finally {
    await admin.deleteTopic(keyed);
  }
});

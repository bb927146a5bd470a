import type { Producer } from 'kafkajs';
import { afterAll, afterEach, expect, inject, test, vi } from 'vitest';

import { parseConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { KafkaConnections } from '../../src/lib/kafka/connections.ts';
import { PartitionFetcher, type FetchOptions } from '../../src/lib/kafka/fetch/partition-fetcher.ts';
import { createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import type { FetchedBatch } from '../../src/lib/ports.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const { brokers } = inject('servers');
const { kafka: config } = parseConfig(JSON.stringify({ pipeline: 'test', kafka: { brokers } }), '/x/kpipe.yaml', {});
const admin = await openKafkaAdmin(config);
const kafka = await createKafkaJs(config, 'fetcher-test');
const producer = kafka.producer({ allowAutoTopicCreation: false, retry: { retries: 20 } });
await producer.connect();
const topics: string[] = [];
const fetchers: PartitionFetcher[] = [];

/** Long enough that nobody who had to wait for it would be done in time. */
const never = 100_000;
const soon = { timeout: 60_000, interval: 10 };

async function newTopic(partitions = 1, keys: Readonly<Record<string, string>> = {}, replicas = 1): Promise<string> {
  const name = uniqueTopic('fetcher');
  topics.push(name);
  await admin.createTopic({ name, partitions, replicationFactor: replicas, config: keys });
  await topicsEverywhere(config, [name]);
  return name;
}

async function openFetcher(topic: string, more: Partial<FetchOptions> = {}): Promise<PartitionFetcher> {
  const bounds = { maxBytesPerPartition: 1024 * 1024, maxBytes: 1024 * 1024, minBytes: 1, maxWaitMs: 500 };
  const fetcher = await PartitionFetcher.open(config, { topic, clientId: 'fetcher-test', ...bounds, ...more });
  fetchers.push(fetcher);
  return fetcher;
}

/** What was delivered of one partition, and whether each delivery began where the one before ended. */
class Reading {
  readonly values: string[] = [];
  readonly batches: Omit<FetchedBatch, 'records'>[] = [];
  position: bigint;
  /** While set, the next delivery waits for it. */
  room: Promise<void> = Promise.resolve();

  constructor(position = 0n) {
    this.position = position;
  }

  readonly deliver = async ({ records, ...batch }: FetchedBatch): Promise<void> => {
    expect(batch.position).toBe(this.position);
    this.position = batch.nextPosition;
    this.batches.push(batch);
    for (const { value } of records) {
      this.values.push(value?.toString() ?? '');
    }
    await this.room;
  };

  async reaches(position: bigint): Promise<void> {
    await vi.waitFor(() => expect(this.position).toBe(position), soon);
  }
}

async function send(
  topic: string,
  partition: number,
  values: readonly string[],
  by: Pick<Producer, 'send'> = producer,
) {
  await by.send({ topic, acks: -1, messages: values.map((value) => ({ partition, value })) });
}

const numbered = (name: string, count: number) => Array.from({ length: count }, (_, index) => `${name}-${index}`);

afterEach(async () => {
  await Promise.all(fetchers.splice(0).map((fetcher) => fetcher.close()));
});

afterAll(async () => {
  await producer.disconnect();
  await Promise.all(topics.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

test('partitions of several brokers are read from their positions to their ends, and on', async () => {
  const topic = await newTopic(6);
  const fetcher = await openFetcher(topic);
  const readings = Array.from({ length: 6 }, (_, partition) => new Reading(BigInt(partition)));
  for (let partition = 0; partition < 6; partition += 1) {
    await send(topic, partition, numbered(`p${partition}`, 20));
    fetcher.add({ topic, partition }, BigInt(partition), readings[partition]!.deliver);
  }
  const run = fetcher.run();
  await Promise.all(readings.map((reading) => reading.reaches(20n)));
  await send(topic, 4, ['later']);
  await readings[4]!.reaches(21n);
  for (const [partition, { values }] of readings.entries()) {
    const all = [...numbered(`p${partition}`, 20), ...(partition === 4 ? ['later'] : [])];
    expect(values).toEqual(all.slice(partition));
  }
  expect(readings[4]!.batches.at(-1)).toMatchObject({ highWatermark: 21n, recordCount: 1 });
  await fetcher.close();
  await expect(run).resolves.toBeUndefined();
});

test('a partition that waits for room stops no other, and goes on at once when it has some', async () => {
  const topic = await newTopic(2);
  const fetcher = await openFetcher(topic, { maxWaitMs: never, maxBytesPerPartition: 1000 });
  const [slow, quick] = [new Reading(), new Reading()];
  const room = Promise.withResolvers<void>();
  slow.room = room.promise;
  fetcher.add({ topic, partition: 0 }, 0n, slow.deliver);
  fetcher.add({ topic, partition: 1 }, 0n, quick.deliver);
  void fetcher.run();
  for (let batch = 0; batch < 5; batch += 1) {
    await send(topic, 0, [`${batch}`.padEnd(900, '.')]);
    await send(topic, 1, [`${batch}`]);
    await quick.reaches(BigInt(batch + 1));
  }
  expect(slow.batches).toHaveLength(1);
  slow.room = Promise.resolve();
  room.resolve();
  await slow.reaches(5n);
  await send(topic, 0, ['on']);
  await slow.reaches(6n);
});

test('a partition that comes while the others are waited for is read at once', async () => {
  const topic = await newTopic(2);
  const fetcher = await openFetcher(topic, { maxWaitMs: never });
  const [first, second] = [new Reading(), new Reading()];
  fetcher.add({ topic, partition: 0 }, 0n, first.deliver);
  void fetcher.run();
  await send(topic, 0, ['a']);
  await first.reaches(1n);
  await send(topic, 1, ['b']);
  fetcher.add({ topic, partition: 1 }, 0n, second.deliver);
  await second.reaches(1n);
});

test('after a seek only what lies there is delivered; after a removal nothing', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, numbered('v', 10));
  const fetcher = await openFetcher(topic);
  const reading = new Reading();
  fetcher.add({ topic, partition: 0 }, 0n, reading.deliver);
  void fetcher.run();
  await reading.reaches(10n);
  reading.position = 7n;
  fetcher.seek({ topic, partition: 0 }, 7n);
  await reading.reaches(10n);
  expect(reading.values.slice(10)).toEqual(['v-7', 'v-8', 'v-9']);
  fetcher.remove([{ topic, partition: 0 }]);
  const again = new Reading(10n);
  await send(topic, 0, ['more']);
  fetcher.add({ topic, partition: 0 }, 10n, again.deliver);
  await again.reaches(11n);
  expect(reading.values).toHaveLength(13);
});

test('a batch larger than every bound gets through, between small ones of another partition', async () => {
  const topic = await newTopic(2);
  const fetcher = await openFetcher(topic, { maxBytes: 2000, maxBytesPerPartition: 1000 });
  const large = 'x'.repeat(800_000);
  await send(topic, 0, ['before', large, 'after']);
  await send(topic, 1, numbered('small', 50));
  const [first, second] = [new Reading(), new Reading()];
  fetcher.add({ topic, partition: 0 }, 0n, first.deliver);
  fetcher.add({ topic, partition: 1 }, 0n, second.deliver);
  void fetcher.run();
  await Promise.all([first.reaches(3n), second.reaches(50n)]);
  expect(first.values).toEqual(['before', large, 'after']);
});

test('transactions: what was aborted is not delivered, first, in the middle, across fetches, and at the end', async () => {
  const topic = await newTopic(1);
  const [one, two] = await Promise.all(
    [1, 2].map(async () => {
      const transactional = kafka.producer({
        transactionalId: uniqueTopic('tx'),
        idempotent: true,
        maxInFlightRequests: 1,
      });
      await transactional.connect();
      return transactional;
    }),
  );
  const bytes = 'z'.repeat(300);
  const first = await one!.transaction();
  const second = await two!.transaction();
  for (let index = 0; index < 20; index += 1) {
    await send(topic, 0, [`aborted ${index} ${bytes}`], first);
    await send(topic, 0, [`committed ${index} ${bytes}`], second);
    await send(topic, 0, [`plain ${index} ${bytes}`]);
  }
  await first.abort();
  await second.commit();
  const last = await one!.transaction();
  await send(topic, 0, ['aborted at the end'], last);
  await last.abort();
  // 60 records and two markers, a record and a marker.
  const end = 64n;
  await vi.waitFor(async () => {
    const [found] = await admin.listOffsets([{ topic, partition: 0 }], 'latest');
    expect(found?.offset).toBe(end);
  }, soon);
  for (const maxBytesPerPartition of [400, 1500, 1024 * 1024]) {
    const fetcher = await openFetcher(topic, { maxBytesPerPartition });
    const reading = new Reading();
    fetcher.add({ topic, partition: 0 }, 0n, reading.deliver);
    void fetcher.run();
    await reading.reaches(end);
    const expected = Array.from({ length: 20 }, (_, index) => [
      `committed ${index} ${bytes}`,
      `plain ${index} ${bytes}`,
    ]);
    expect(reading.values).toEqual(expected.flat());
    await fetcher.close();
  }
  await Promise.all([one!.disconnect(), two!.disconnect()]);
});

test('an open transaction holds back what lies behind it until it ends', async () => {
  const topic = await newTopic(1);
  const transactional = kafka.producer({
    transactionalId: uniqueTopic('tx'),
    idempotent: true,
    maxInFlightRequests: 1,
  });
  await transactional.connect();
  const transaction = await transactional.transaction();
  await send(topic, 0, ['before']);
  await send(topic, 0, ['inside'], transaction);
  await send(topic, 0, ['behind']);
  const fetcher = await openFetcher(topic);
  const reading = new Reading();
  fetcher.add({ topic, partition: 0 }, 0n, reading.deliver);
  void fetcher.run();
  await reading.reaches(1n);
  expect(reading.values).toEqual(['before']);
  await transaction.commit();
  await reading.reaches(4n);
  expect(reading.values).toEqual(['before', 'inside', 'behind']);
  await transactional.disconnect();
});

test('records that were deleted before they were read are told exactly', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, numbered('v', 10));
  const classic = kafka.admin();
  await classic.connect();
  await classic.fetchTopicOffsets(topic);
  await classic.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] });
  await classic.disconnect();
  const fetcher = await openFetcher(topic);
  const reading = new Reading(2n);
  fetcher.add({ topic, partition: 0 }, 2n, reading.deliver);
  await expect(fetcher.run()).rejects.toMatchObject({
    code: 'KPIPE_RECORDS_LOST',
    message: expect.stringContaining('offsets 2 to 5') as unknown,
    where: { topic, partition: 0, lostFrom: 2n, lostTo: 5n },
  });
  expect(reading.batches).toEqual([]);
});

test('a position beyond the end of the log is told, with where it ends', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, numbered('v', 3));
  const fetcher = await openFetcher(topic);
  fetcher.add({ topic, partition: 0 }, 9n, new Reading(9n).deliver);
  await expect(fetcher.run()).rejects.toMatchObject({
    code: 'KPIPE_RECORDS_LOST',
    where: { topic, partition: 0, lostFrom: 3n, lostTo: 8n },
  });
});

test('a topic that is deleted and created again while it is read is not read on', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, numbered('old', 3));
  const fetcher = await openFetcher(topic);
  const reading = new Reading();
  fetcher.add({ topic, partition: 0 }, 0n, reading.deliver);
  const run = fetcher.run();
  await reading.reaches(3n);
  await admin.deleteTopic(topic);
  await vi.waitFor(() => admin.createTopic({ name: topic, partitions: 1, replicationFactor: 1, config: {} }), soon);
  await send(topic, 0, numbered('new', 9));
  await expect(run).rejects.toMatchObject({ code: 'KPIPE_TOPIC_RECREATED', where: { topic } });
  expect(reading.values).toEqual(numbered('old', 3));
});

test('a topic of another id than the one asked for is not read', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, ['v']);
  const fetcher = await openFetcher(topic, { topicId: '11111111-2222-3333-4444-555555555555' });
  fetcher.add({ topic, partition: 0 }, 0n, new Reading().deliver);
  await expect(fetcher.run()).rejects.toMatchObject({ code: 'KPIPE_TOPIC_RECREATED' });
});

test('a partition that moves to another broker is read on there', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, ['here']);
  const fetcher = await openFetcher(topic);
  const reading = new Reading();
  fetcher.add({ topic, partition: 0 }, 0n, reading.deliver);
  void fetcher.run();
  await reading.reaches(1n);
  const { brokers: nodes } = await admin.describeCluster();
  let end = 1n;
  for (let move = 0; move < 3; move += 1) {
    const leader = (await admin.describeTopics([topic]))[0]?.partitions[0]?.leader;
    const target = nodes.find(({ id }) => id !== leader)!;
    await reassign(topic, target.id);
    await vi.waitFor(async () => {
      const [moved] = (await admin.describeTopics([topic]))[0]!.partitions;
      expect(moved).toMatchObject({ leader: target.id, replicas: [target.id] });
    }, soon);
    await send(topic, 0, [`move ${move}`]);
    end += 1n;
    await reading.reaches(end);
  }
  expect(reading.values).toEqual(['here', 'move 0', 'move 1', 'move 2']);
});

async function reassign(topic: string, broker: number): Promise<void> {
  const connections = await KafkaConnections.prepare(config, 5000);
  try {
    const { controllerId, brokers: nodes } = await admin.describeCluster();
    const controller = await connections.to(nodes.find(({ id }) => id === controllerId) ?? nodes[0]!);
    const api = connections.driver.alterPartitionReassignmentsV1.api;
    const partitions = [{ partitionIndex: 0, replicas: [broker] }];
    await api.async(controller.connection, 5000, true, [{ name: topic, partitions }]);
  } finally {
    await connections.close();
  }
}

test('what a delivery throws ends the reading', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, ['v']);
  const fetcher = await openFetcher(topic);
  fetcher.add({ topic, partition: 0 }, 0n, () => Promise.reject(new Error('no sink')));
  await expect(fetcher.run()).rejects.toThrow('no sink');
});

test('once it is quiet nothing more is delivered, and it ends', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, ['a']);
  const fetcher = await openFetcher(topic, { maxWaitMs: never });
  const reading = new Reading();
  fetcher.add({ topic, partition: 0 }, 0n, reading.deliver);
  const run = fetcher.run();
  await reading.reaches(1n);
  fetcher.quiesce();
  await send(topic, 0, ['b']);
  await fetcher.close();
  await run;
  expect(reading.values).toEqual(['a']);
});

import { afterAll, expect, inject, test, vi } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { Connections, createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import { RangeReader, stableRanges } from '../../src/lib/kafka/range-reader.ts';
import type { RangeBatch } from '../../src/lib/kafka/range-batch.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const file = pipelineDirectory().write(`pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\n`);
const { kafka } = loadConfig({ file, cwd: '/', env: {} });
const admin = await openKafkaAdmin(kafka);
const connections = new Connections();
const client = await createKafkaJs(kafka, 'range-reader-test', connections);
const producer = client.producer();
await producer.connect();
const made: string[] = [];
const never = new AbortController().signal;

afterAll(async () => {
  await producer.disconnect();
  connections.cut();
  await Promise.all(made.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

async function newTopic(partitions: number): Promise<string> {
  const name = uniqueTopic('range');
  made.push(name);
  await admin.createTopic({ name, partitions, replicationFactor: 1, config: {} });
  await topicsEverywhere(kafka, [name]);
  return name;
}

const send = (topic: string, partition: number, values: readonly string[], atMs = 1000): Promise<unknown> =>
  producer.send({
    topic,
    acks: -1,
    messages: values.map((value, index) => ({ value, partition, timestamp: String(atMs + index) })),
  });

async function readAll(batches: AsyncIterable<RangeBatch>): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const { partition, records } of batches) {
    found.push(...records.map(({ offset, value }) => `${partition}@${offset} ${value?.toString()}`));
  }
  return found;
}

async function reading<Result>(topic: string, work: (reader: RangeReader) => Promise<Result>): Promise<Result> {
  const reader = new RangeReader(kafka, { topic });
  try {
    return await work(reader);
  } finally {
    await reader.close();
  }
}

/** The groups that have a member on the topic, or positions in it. */
async function groupsOf(topic: string): Promise<readonly string[]> {
  const all = (await admin.listGroups()).map(({ group }) => group);
  const found = await Promise.all(
    all.map(async (group) => {
      const [{ members }, commits] = await Promise.all([admin.describeGroup(group), admin.committedOffsets(group)]);
      const places = [...members.flatMap(({ assignment }) => assignment), ...commits];
      return places.some((place) => place.topic === topic) ? [group] : [];
    }),
  );
  return found.flat();
}

test('reads exactly the ranges, several times with one reader, and joins no group', async () => {
  const topic = await newTopic(2);
  await send(topic, 0, ['a', 'b', 'c', 'd']);
  await send(topic, 1, ['x', 'y']);

  await reading(topic, async (reader) => {
    const some = [
      { topic, partition: 0, from: 1n, to: 3n },
      { topic, partition: 1, from: 1n, to: 1n },
    ];
    expect(await readAll(reader.read(some, never))).toEqual(['0@1 b', '0@2 c']);
    const all = [0, 1].map((partition) => ({ topic, partition, from: 0n, to: null }));
    const ends = await stableRanges(admin, all);
    expect(ends.map(({ to }) => to)).toEqual([4n, 2n]);
    expect((await readAll(reader.read(ends, never))).toSorted()).toEqual([
      '0@0 a',
      '0@1 b',
      '0@2 c',
      '0@3 d',
      '1@0 x',
      '1@1 y',
    ]);
    expect(await readAll(reader.read([], never))).toEqual([]);
  });
  // Other files' groups come and go meanwhile; no group has read this topic.
  expect(await groupsOf(topic)).toEqual([]);
});

test('merges partitions by time', async () => {
  const topic = await newTopic(3);
  await send(topic, 0, ['10', '11'], 10);
  await send(topic, 1, ['5', '6'], 5);
  await send(topic, 0, ['30'], 30);
  await send(topic, 1, ['20'], 20);

  const ranges = await stableRanges(
    admin,
    [0, 1, 2].map((partition) => ({ topic, partition, from: 0n, to: null })),
  );
  const found = await reading(topic, (reader) => readAll(reader.readByTime(ranges, never)));

  expect(found).toEqual(['1@0 5', '1@1 6', '0@0 10', '0@1 11', '1@2 20', '0@2 30']);
});

test('aborted records are not there; an open transaction ends a bounded read, and its commit lets a following one go on', async () => {
  const topic = await newTopic(1);
  const transactional = client.producer({ transactionalId: topic, idempotent: true, maxInFlightRequests: 1 });
  await transactional.connect();
  const within = async (value: string, end: 'commit' | 'abort' | 'open') => {
    const transaction = await transactional.transaction();
    await transaction.send({ topic, messages: [{ value, partition: 0 }] });
    await (end === 'open' ? undefined : transaction[end]());
    return transaction;
  };
  await within('committed', 'commit');
  await within('aborted', 'abort');
  const open = await within('late', 'open');
  await send(topic, 0, ['behind']);

  await reading(topic, async (reader) => {
    const [range] = await stableRanges(admin, [{ topic, partition: 0, from: 0n, to: null }]);
    expect(range?.to).toBe(4n);
    expect(await readAll(reader.read(range === undefined ? [] : [range], never))).toEqual(['0@0 committed']);

    const following = new AbortController();
    const found: string[] = [];
    const follow = (async () => {
      for await (const { records } of reader.read([{ topic, partition: 0, from: 4n, to: null }], following.signal)) {
        found.push(...records.map(({ value }) => value?.toString() ?? ''));
      }
    })();
    await open.commit();
    await vi.waitFor(() => expect(found).toEqual(['late', 'behind']), { timeout: 60_000 });
    following.abort();
    await follow;
  });
  await transactional.disconnect();
});

test('what is gone from the log is told, and the rest is read', async () => {
  const topic = await newTopic(1);
  await send(topic, 0, ['a', 'b', 'c', 'd', 'e']);
  const [left] = await admin.deleteRecords([{ topic, partition: 0, position: 3n }]);
  expect(left).toEqual({ topic, partition: 0, position: 3n });

  const batches: RangeBatch[] = [];
  await reading(topic, async (reader) => {
    for await (const batch of reader.read([{ topic, partition: 0, from: 1n, to: 5n }], never)) {
      batches.push(batch);
    }
  });

  expect(batches[0]?.lost).toEqual({ from: 1n, to: 2n });
  expect(batches.flatMap(({ records }) => records).map(({ value }) => value?.toString())).toEqual(['d', 'e']);
});

test('a reader that nobody takes from holds back the rest, and can be closed', async () => {
  const topic = await newTopic(1);
  const value = 'z'.repeat(100_000);
  for (let batch = 0; batch < 12; batch += 1) {
    await send(
      topic,
      0,
      Array.from({ length: 5 }, () => value),
    );
  }

  await reading(topic, async (reader) => {
    const batches = reader.read([{ topic, partition: 0, from: 0n, to: 60n }], never);
    const first = await batches.next();
    expect(first.done).toBe(false);
    // Less than everything was delivered while we held the first.
    expect((first.value as RangeBatch).nextPosition < 60n).toBe(true);
    await batches.return();
    expect(await readAll(reader.read([{ topic, partition: 0, from: 59n, to: 60n }], never))).toEqual([`0@59 ${value}`]);
  });
});

test('a topic that does not exist is said to be missing', async () => {
  const topic = uniqueTopic('nowhere');
  await expect(stableRanges(admin, [{ topic, partition: 0, from: 0n, to: null }])).rejects.toMatchObject({
    code: 'KPIPE_TOPIC_MISSING',
  });
});

import { afterAll, expect, inject, test } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { Connections, createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import { RangeReader, stableRanges } from '../../src/lib/kafka/range-reader.ts';
import { TransactionalWriter, WriteFailed, type AddressedRecord } from '../../src/lib/kafka/transactional-writer.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const file = pipelineDirectory().write(`pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\n`);
const { kafka } = loadConfig({ file, cwd: '/', env: {} });
const admin = await openKafkaAdmin(kafka);
const made: string[] = [];

afterAll(async () => {
  await Promise.all(made.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

async function newTopic(): Promise<string> {
  const name = uniqueTopic('writer');
  made.push(name);
  await admin.createTopic({ name, partitions: 2, replicationFactor: 1, config: {} });
  await topicsEverywhere(kafka, [name]);
  return name;
}

const record = (topic: string, partition: number, value: string): AddressedRecord => ({
  topic,
  partition,
  key: null,
  value: Buffer.from(value),
  headers: [['h', null]],
});

async function valuesOf(topic: string): Promise<readonly string[]> {
  const ranges = await stableRanges(
    admin,
    [0, 1].map((partition) => ({ topic, partition, from: 0n, to: null })),
  );
  const reader = new RangeReader(kafka, { topic });
  const found: string[] = [];
  for await (const { partition, records } of reader.read(ranges, new AbortController().signal)) {
    found.push(...records.map(({ offset, value }) => `${partition}@${offset} ${value?.toString()}`));
  }
  await reader.close();
  return found.toSorted();
}

const failureOf = async (writing: Promise<unknown>): Promise<WriteFailed> => {
  const error: unknown = await writing.then(
    () => new Error('it was written'),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(WriteFailed);
  return error as WriteFailed;
};

test('records of several topics are there together, at the offsets that are answered', async () => {
  const [one, other] = [await newTopic(), await newTopic()];
  const writer = await TransactionalWriter.open(kafka, one);
  expect(await writer.write([record(one, 1, 'a'), record(other, 0, 'x'), record(one, 1, 'b')])).toEqual([0n, 0n, 1n]);
  expect(await writer.write([record(one, 1, 'c')])).toEqual([3n]);
  await writer.close();
  expect(await valuesOf(one)).toEqual(['1@0 a', '1@1 b', '1@3 c']);
  expect(await valuesOf(other)).toEqual(['0@0 x']);
});

test('what a broker refuses leaves nothing of its transaction', async () => {
  const topic = await newTopic();
  const writer = await TransactionalWriter.open(kafka, topic);
  const large = { ...record(topic, 1, ''), value: Buffer.alloc(2_000_000) };
  const failure = await failureOf(writer.write([record(topic, 0, 'beside'), large]));
  expect([failure.outcome, failure.isFinal, failure.failure.code]).toEqual(['none', true, 'KPIPE_PRODUCE_FAILED']);
  await writer.close();
  expect(await valuesOf(topic)).toEqual([]);
});

test('who opens ends the writer before, and what it left open', async () => {
  const topic = await newTopic();
  const connections = new Connections();
  const client = await createKafkaJs(kafka, 'writer-test', connections);
  const killed = client.producer({
    transactionalId: topic,
    idempotent: true,
    maxInFlightRequests: 1,
    transactionTimeout: 60_000,
  });
  await killed.connect();
  const open = await killed.transaction();
  await open.send({ topic, messages: [{ value: 'half done', partition: 0 }] });

  const first = await TransactionalWriter.open(kafka, topic);
  const [stable] = await admin.listOffsets([{ topic, partition: 0 }], 'lastStable');
  expect(stable?.offset).toBe(2n);
  await first.write([record(topic, 0, 'first')]);
  const second = await TransactionalWriter.open(kafka, topic);

  const refused = await failureOf(first.write([record(topic, 0, 'too late')]));
  expect([refused.isFinal, refused.failure.code]).toEqual([true, 'KPIPE_REFUSED']);
  await second.write([record(topic, 0, 'second')]);
  await expect(open.send({ topic, messages: [{ value: 'woken', partition: 0 }] })).rejects.toThrow(/epoch|fenced/i);
  expect((await valuesOf(topic)).map((value) => value.split(' ')[1])).toEqual(['first', 'second']);
  await Promise.all([first.close(), second.close()]);
  connections.cut();
});

import kafkajs from 'kafkajs';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { parseConfig, type Config } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import type { Advice, TuneRule } from '../../src/lib/topics/tune/advice.ts';
import { tuneTopics, type TopicTuning, type TunedTopic } from '../../src/lib/topics/tune/tune.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const kafka = new kafkajs.Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-tune',
  logLevel: kafkajs.logLevel.NOTHING,
  retry: { retries: 10 },
});
const producer = kafka.producer();
const [busy, idle, behind] = ['busy', 'idle', 'behind'].map((name) => uniqueTopic(`tune-${name}`)) as [
  string,
  string,
  string,
];
const topics = [busy, idle, behind];
/** For tests whose topic must be fresh with every try. */
const fresh = Array.from({ length: 2 }, () => uniqueTopic('tune-dated'));
let tries = 0;

/** The role's database does not answer: its group's commits stand for its positions. */
function declared(): Config {
  const entries = [...topics, ...fresh].map(
    (topic) => `  ${topic}: {partitions: 2, replicationFactor: 1, retention: unlimited}`,
  );
  return parseConfig(
    `pipeline: test
kafka: {brokers: [${servers.brokers.join(', ')}]}
topics:
${entries.join('\n')}
  ${busy}-absent: {partitions: 1, retention: 7d}
roles: {events: {topic: ${behind}, group: ${behind}-group, deadLetters: ${behind}.dlq}}
postgres: {primary: 'postgres://kpipe@127.0.0.1:1/kpipe'}`,
    'kpipe.yaml',
    {},
  );
}

const config = declared();
const admin = await openKafkaAdmin(config.kafka, { deadlineMs: 30_000 });

beforeAll(async () => {
  await producer.connect();
  await Promise.all(
    [...topics, ...fresh].map((name) =>
      admin.createTopic({ name, partitions: 2, replicationFactor: 1, config: { 'retention.ms': '-1' } }),
    ),
  );
  await topicsEverywhere(config.kafka, [...topics, ...fresh]);
});

afterAll(async () => {
  await producer.disconnect();
  await Promise.all([...topics, ...fresh].map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

function tune(names: readonly string[], forMs: number, signal = new AbortController().signal): Promise<TopicTuning> {
  const request = { topics: names, forMs, headroom: 1.5, perPartitionBytesPerSec: null, write: false, env: {} };
  return tuneTopics(config, request, () => undefined, signal);
}

async function tuneOne(topic: string, forMs: number): Promise<TunedTopic> {
  const { topics: found } = await tune([topic], forMs);
  expect(found.map((each) => each.topic)).toEqual([topic]);
  return found[0]!;
}

const ruleOf = ({ advice }: TunedTopic, rule: TuneRule): Advice => advice.find((each) => each.rule === rule)!;

/** Keeps on sending batches until the work is done; answers the work's result and how many were sent. */
async function whileSending<Result>(
  work: Promise<Result>,
  batch: () => Promise<unknown>,
): Promise<{ readonly result: Result; readonly sent: number }> {
  const over = new AbortController();
  const ended = work.finally(() => over.abort());
  let sent = 0;
  while (!over.signal.aborted) {
    await batch();
    sent += 1;
  }
  return { result: await ended, sent };
}

describe('what comes in', () => {
  const value = 'the same words again and again, which a codec makes little of; '.repeat(4);
  const messages = Array.from({ length: 25 }, (_, index) => ({ key: `k${index}`, value, partition: 0 }));

  test('batches are told by their headers, rates by the log, and compression by trying it', async () => {
    // when 25 records a batch go to partition 0 all the time
    const { result, sent } = await whileSending(tuneOne(busy, 6000), () => producer.send({ topic: busy, messages }));

    // then every batch of the sample is one of these
    const { measured } = result;
    const sample = measured.batches!;
    expect(sample).toMatchObject({
      codecs: { none: sample.batches },
      producers: null,
      partitions: 1,
      duringWatch: true,
    });
    expect(sample.records).toBe(sample.batches * 25);
    expect(sample.batches).toBeLessThanOrEqual(sent);
    expect(sample.unpackedBytesPerBatch).toBeCloseTo(sample.bytes / sample.batches, 6);
    expect(sample.bytes / sample.records).toBeGreaterThan(value.length);
    // and no more came in than was sent, of which a whole number of batches
    expect(measured.recordsPerSec! * (measured.watchedMs / 1000)).toBeLessThanOrEqual(sent * 25 + 1);
    expect(measured.recordsPerSec).toBeGreaterThan(0);
    expect(measured.peakRecordsPerSec).toBeGreaterThanOrEqual(measured.recordsPerSec!);
    expect(measured.peakBytesPerSec).toBeGreaterThan(measured.peakRecordsPerSec! * value.length);
    expect(measured.busiestPartitionBytesPerSec).toBe(measured.peakBytesPerSec);
    expect(measured).toMatchObject({ partitions: 2, replicationFactor: 1, minInsyncReplicas: 1, retentionMs: -1 });
    // the topic is some seconds old
    expect(measured.history).toBeNull();

    const producers = ruleOf(result, 'producers');
    expect(producers).toMatchObject({ verdict: 'change', confidence: 'low' });
    expect(producers.producerSettings).toMatchObject({ 'compression.type': 'zstd' });
    expect(sample.packed!.toBytes).toBeLessThan(sample.packed!.fromBytes / 4);
    expect(ruleOf(result, 'retention')).toMatchObject({ verdict: 'notice', edits: [] });
    expect(ruleOf(result, 'durability').edits).toEqual([
      { path: ['topics', busy, 'replicationFactor'], from: 1, to: 3 },
      { path: ['topics', busy, 'config', 'min.insync.replicas'], from: null, to: 2 },
    ]);
  });

  test('the log tells of the day before: hours, exactly', async () => {
    // given a record of 26 hours ago, 720 of three and a half, and 1,440 of ten and a half hours ago
    const dated = fresh[tries]!;
    tries += 1;
    const nowMs = Date.now();
    const at = (hours: number, count: number) =>
      Array.from({ length: count }, () => ({ value: 'x', partition: 0, timestamp: String(nowMs - hours * 3_600_000) }));
    for (const batch of [at(26, 1), at(10.5, 1440), at(3.5, 720)]) {
      await producer.send({ topic: dated, messages: batch });
    }
    await producer.send({
      topic: dated,
      messages: [{ value: 'x', partition: 1, timestamp: String(nowMs - 93_600_000) }],
    });

    const tuned = await tuneOne(dated, 1000);

    expect(tuned.measured.history).toEqual({
      spanMs: 86_400_000,
      stepMs: 3_600_000,
      meanRecordsPerSec: 0.025,
      peakRecordsPerSec: 0.4,
    });
    expect(tuned.measured).toMatchObject({
      recordsPerSec: 0,
      batches: { duringWatch: false, records: 721, batches: 2 },
    });
    const partitions = ruleOf(tuned, 'partitions');
    expect(partitions).toMatchObject({ verdict: 'keep', confidence: 'good' });
    expect(partitions.evidence[0]).toEqual({
      what: 'peak in',
      value: 0.4,
      unit: 'records/s',
      how: 'the busiest 1h of the last 1d, by offsets at times',
    });
  });

  test('nothing: no number is made up', async () => {
    const tuned = await tuneOne(idle, 1000);
    expect(tuned.measured).toMatchObject({ recordsPerSec: 0, bytesPerSec: 0, batches: null, history: null });
    expect(tuned.advice.map(({ rule, verdict }) => [rule, verdict])).toEqual([
      ['partitions', 'unknown'],
      ['producers', 'unknown'],
      ['retention', 'unknown'],
      ['durability', 'change'],
    ]);
    expect(ruleOf(tuned, 'partitions').evidence.filter(({ what }) => what === 'peak in')).toMatchObject([
      { value: null },
      { value: null },
    ]);
  });
});

test('a consumer with a backlog shows what it can read, and partitions follow from that', async () => {
  // given more than it can read, and a consumer that takes ten records at a time
  const messages = Array.from({ length: 5000 }, (_, index) => ({ value: 'x', partition: index % 2 }));
  for (let round = 0; round < 8; round += 1) {
    await producer.send({ topic: behind, messages });
  }
  const group = `${behind}-group`;
  const consumer = kafka.consumer({ groupId: group, maxBytesPerPartition: 512 });
  await consumer.connect();
  await consumer.subscribe({ topic: behind, fromBeginning: true });
  let read = 0n;
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      for (const { offset } of batch.messages) {
        read = BigInt(offset) + 1n;
        if (read % 10n === 0n) {
          await consumer.commitOffsets([{ topic: behind, partition: batch.partition, offset: String(read) }]);
          await heartbeat();
        }
        resolveOffset(offset);
      }
    },
  });
  try {
    await vi.waitFor(async () => expect(await admin.committedOffsets(group)).not.toEqual([]), { timeout: 60_000 });
    const { result } = await whileSending(tuneOne(behind, 6000), () => producer.send({ topic: behind, messages }));

    const [reader] = result.measured.readers;
    expect(reader).toMatchObject({ role: 'events', group, members: 1, saturated: true });
    expect(reader!.leastLagRecords).toBeGreaterThan(reader!.recordsPerSec! * 2);
    const advice = ruleOf(result, 'partitions');
    const seen = (what: string, unit: string): number =>
      advice.evidence.find((each) => each.what === what && each.unit === unit)!.value!;
    const needed = Math.ceil((seen('peak in', 'records/s') * 1.5) / seen('role events reads', 'records/s'));
    expect(seen('needed for role events', 'partitions')).toBe(needed);
    expect(needed).toBeGreaterThan(2);
    expect(advice.verdict).toBe(needed > 1000 ? 'notice' : 'change');
    expect(advice.edits).toEqual(
      needed > 1000 ? [] : [{ path: ['topics', behind, 'partitions', 'count'], from: 2, to: needed }],
    );
  } finally {
    await consumer.disconnect();
  }
});

describe('the watch', () => {
  test('what is declared and not there is named', async () => {
    const tuned = await tune([`${busy}-absent`], 1000);
    expect(tuned).toMatchObject({ topics: [], missing: [`${busy}-absent`], watchedMs: 0, written: null });
  });

  test('a topic that is not declared is refused', async () => {
    await expect(tune(['nothing-like-it'], 1000)).rejects.toMatchObject({ code: 'KPIPE_USAGE' });
  });

  test('interrupted before anything was seen, it says nothing', async () => {
    const signal = AbortSignal.abort(Object.assign(new Error('stopped'), { code: 'KPIPE_INTERRUPTED' }));
    await expect(tune([idle], 60_000, signal)).rejects.toMatchObject({ code: 'KPIPE_INTERRUPTED' });
  });

  test('interrupted later, it advises from what it has', async () => {
    const controller = new AbortController();
    const request = {
      topics: [idle],
      forMs: 600_000,
      headroom: 1.5,
      perPartitionBytesPerSec: null,
      write: false,
      env: {},
    };
    const startedAt: number[] = [];
    const tuned = await tuneTopics(
      config,
      request,
      ({ leftMs, looks }) => {
        startedAt.push(leftMs);
        if (looks >= 2) {
          controller.abort();
        }
      },
      controller.signal,
    );
    expect(tuned).toMatchObject({ endedEarly: true });
    expect(tuned.watchedMs).toBeGreaterThan(0);
    expect(tuned.watchedMs).toBeLessThan(600_000);
    expect(tuned.topics[0]?.advice).toHaveLength(4);
    expect(startedAt[0]).toBeLessThanOrEqual(600_000);
  });
});

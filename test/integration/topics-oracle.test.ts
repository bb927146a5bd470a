import { Producer, stringSerializers } from '@platformatic/kafka';
import { afterAll, describe, expect, inject, test, vi } from 'vitest';

import { parseConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { applyPlan, type ApplyEvent } from '../../src/lib/topics/apply.ts';
import { moverFor } from '../../src/lib/topics/apply-moves.ts';
import type { AuditAct } from '../../src/lib/topics/audit.ts';
import { drawUpPlan } from '../../src/lib/topics/draw-up.ts';
import { electLeaders, observeLeadership } from '../../src/lib/topics/elect.ts';
import { importTopics } from '../../src/lib/topics/import.ts';
import { describeTopic } from '../../src/lib/topics/inspect.ts';
import { moveReplicas, type MoveOptions, type MoveProgress } from '../../src/lib/topics/move/carry-out.ts';
import { oracleConfig, oracleTopic } from '../support/kafka-tools.ts';
import { uniqueTopic } from '../support/servers.ts';
import { ownValuesEverywhere, seenEverywhere, topicsEverywhere } from '../support/topics-everywhere.ts';

/** Whatever kpipe says that it did, Kafka's own tools must say too. */
const servers = inject('servers');
const made: string[] = [];
const acts: AuditAct[] = [];
const ids = (numbers: readonly number[] | undefined): readonly number[] =>
  (numbers ?? []).toSorted((left, right) => left - right);

function declared(topics: string): ReturnType<typeof parseConfig> {
  const text = `pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\ntopics:\n${topics}\n`;
  return parseConfig(text, 'kpipe.yaml', {});
}

const { kafka } = declared('  unused: {partitions: 1}');
const admin = await openKafkaAdmin(kafka, { deadlineMs: 30_000 });

afterAll(async () => {
  await Promise.all(made.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

const moveOptions: MoveOptions = {
  throttleBytesPerSec: null,
  batchSize: 10,
  signal: new AbortController().signal,
  audit: (act) => acts.push(act),
  onProgress: () => undefined,
};

/** Kafka's own tool asks one broker, which may be behind the others for a moment. */
function agrees(claim: () => Promise<void>): Promise<void> {
  return vi.waitFor(claim, { timeout: 60_000, interval: 500 });
}

/** Plans and applies, as `kpipe topics apply --yes --prune …` does. */
async function apply(topics: string, prune: readonly string[] = []): Promise<readonly string[]> {
  const nowMs = Date.now();
  const plan = await drawUpPlan(admin, { declarations: declared(topics), only: [], prune, nowMs });
  const events: ApplyEvent[] = [];
  const result = await applyPlan(admin, plan, {
    nowMs,
    signal: new AbortController().signal,
    visibleWithinMs: 30_000,
    audit: (act) => acts.push(act),
    onEvent: (event) => events.push(event),
    move: moverFor(admin, moveOptions),
  });
  expect(result).toMatchObject({ failed: [], notDone: [] });
  expect(events.filter(({ kind }) => kind === 'done')).toHaveLength(
    events.filter(({ kind }) => kind === 'begins').length,
  );
  return result.done.map(({ kind }) => kind);
}

async function fill(topic: string, partitions: number, recordsEach: number): Promise<void> {
  const producer = new Producer({
    clientId: 'test',
    bootstrapBrokers: [...servers.brokers],
    serializers: stringSerializers,
  });
  for (let partition = 0; partition < partitions; partition += 1) {
    const messages = Array.from({ length: recordsEach }, (_, index) => ({
      topic,
      partition,
      key: `key-${index}`,
      value: 'x'.repeat(1000),
    }));
    await producer.send({ messages, acks: -1 });
  }
  await producer.close();
}

describe('apply', () => {
  const topic = uniqueTopic('oracle');
  made.push(topic);

  test('what it creates, changes, adds and moves is there', async () => {
    // given a topic that kpipe makes, for the first time or again
    await admin.deleteTopic(topic).catch(() => undefined);
    await ownValuesEverywhere(kafka, topic, null);
    acts.length = 0;
    expect(await apply(`  ${topic}: {partitions: 2, replicationFactor: 1, retention: 7d}`)).toEqual(['create']);
    await agrees(async () => {
      const fresh = await oracleTopic(topic);
      expect(fresh?.partitions.map(({ replicas }) => replicas.length)).toEqual([1, 1]);
      expect(await oracleConfig('topics', topic)).toEqual({ 'retention.ms': '604800000' });
    });

    // when a key of somebody else is set, and all that can change is declared otherwise
    await admin.alterConfigs({ topic, set: { 'segment.ms': '600000' } });
    await ownValuesEverywhere(kafka, topic, { 'retention.ms': '604800000', 'segment.ms': '600000' });
    const more = `  ${topic}: {partitions: 4, replicationFactor: 3, retention: 2d, config: {min.insync.replicas: 2}}`;
    expect(await apply(more)).toEqual(['replication', 'config', 'config', 'partitions']);

    // then Kafka says so, and the other key has stayed
    const values = { 'retention.ms': '172800000', 'min.insync.replicas': '2', 'segment.ms': '600000' };
    await agrees(async () => {
      const changed = await oracleTopic(topic);
      expect(changed?.partitions.map(({ replicas }) => ids(replicas))).toEqual(
        Array.from({ length: 4 }, () => [1, 2, 3]),
      );
      expect(await oracleConfig('topics', topic)).toEqual(values);
    });
    expect(acts.filter((act) => act.topic === topic).map(({ act }) => act)).toEqual([
      'create',
      'replication',
      'reassign',
      'reassign',
      'config',
      'config',
      'partitions',
    ]);
    await ownValuesEverywhere(kafka, topic, values);
    await seenEverywhere(kafka, async (broker) => (await broker.describeTopics([topic]))[0]?.partitions.length === 4);
    expect(await apply(more)).toEqual([]);
  });

  test('what it imports plans clean, and what it describes is what Kafka says', async () => {
    const { yaml } = await importTopics(admin, {
      nowMs: Date.now(),
      pipeline: 'imported',
      kafka,
      journal: 'kpipe.journal',
    });
    const imported = parseConfig(yaml, 'kpipe.yaml', {});
    const plan = await drawUpPlan(admin, { declarations: imported, only: [topic], nowMs: Date.now() });
    expect(plan).toMatchObject({ changes: [], inSync: [{ topic, keptKeys: [] }] });

    await fill(topic, 1, 3);
    let described = await describeTopic(admin, imported, topic);
    await agrees(async () => {
      described = await describeTopic(admin, imported, topic);
      const oracle = await oracleTopic(topic);
      expect(
        described.partitions.map(({ partition, leader, replicas, isr }) => ({
          partition,
          leader,
          replicas,
          isr: ids(isr),
        })),
      ).toEqual(oracle?.partitions);
    });
    expect(described.partitions[0]).toMatchObject({ records: 3n });
    expect(described.partitions[0]?.bytes).toBeGreaterThan(0n);
    expect(Date.parse(described.partitions[0]?.lastRecordAt ?? '')).toBeGreaterThan(Date.now() - 3_600_000);
    expect(described.partitions[1]).toMatchObject({ records: 0n, firstRecordAt: null, lastRecordAt: null });
    expect(described.config.find(({ key }) => key === 'segment.ms')).toMatchObject({
      value: '600000',
      source: 'topic',
    });
  });

  test('what it deletes is gone', async () => {
    const other = uniqueTopic('oracle');
    made.push(other);
    await admin.createTopic({ name: other, partitions: 1, replicationFactor: 1, config: {} });
    await topicsEverywhere(kafka, [other]);
    const keep = `  ${topic}: {partitions: 4, replicationFactor: 3}`;
    expect(await apply(keep, [other])).toEqual(['delete']);
    await agrees(async () => expect(await oracleTopic(other)).toBeNull());
    expect((await oracleTopic(topic))?.partitions).toHaveLength(4);
  });
});

describe('move and elect', () => {
  async function topicOfTwo(replicationFactor: number): Promise<string> {
    const topic = uniqueTopic('oracle');
    made.push(topic);
    await admin.createTopic({ name: topic, partitions: 2, replicationFactor, config: {} });
    await topicsEverywhere(kafka, [topic]);
    return topic;
  }

  test('slowed, off a broker, and nothing of the throttle is left', async () => {
    // given two partitions on brokers 1 and 2, with records
    const topic = await topicOfTwo(1);
    const wanted = (
      replicationFactor: number,
    ): { topic: string; replicationFactor: number; spreadRacks: boolean }[] => [
      { topic, replicationFactor, spreadRacks: false },
    ];
    await moveReplicas(admin, { wanted: wanted(2), brokers: [1, 2] }, moveOptions);
    await fill(topic, 2, 600);

    // when they are moved to 2 and 3, as slowly as can be seen
    const progress: MoveProgress[] = [];
    let throttled: Readonly<Record<string, string>> = {};
    const moving = moveReplicas(
      admin,
      { wanted: wanted(2), brokers: [2, 3] },
      { ...moveOptions, throttleBytesPerSec: 150_000, pollMs: 100, onProgress: (each) => progress.push(each) },
    );
    await vi.waitFor(
      async () => {
        throttled = Object.fromEntries(
          [...((await admin.topicConfigs([topic])).get(topic) ?? [])].flatMap(([key, { value }]) =>
            key.endsWith('throttled.replicas') && value !== null && value !== '' ? [[key, value] as const] : [],
          ),
        );
        expect(Object.keys(throttled)).toHaveLength(2);
      },
      { timeout: 30_000, interval: 50 },
    );
    const result = await moving;

    // then they are there, its progress was told in bytes, and no throttle stays
    expect(throttled['follower.replication.throttled.replicas']).toBe('0:3,1:3');
    expect(result).toMatchObject({ notMoved: [], problem: null, throttlesLeft: [], throttleBytesPerSec: 150_000 });
    expect(result.moved).toHaveLength(2);
    expect(result.bytes).toBeGreaterThan(1_000_000n);
    expect(progress.at(-1)).toMatchObject({ partitionsDone: 2, partitions: 2 });
    await agrees(async () => {
      const oracle = await oracleTopic(topic);
      expect(oracle?.partitions.flatMap(({ replicas, isr }) => [ids(replicas), isr])).toEqual(
        Array.from({ length: 4 }, () => [2, 3]),
      );
      expect(await oracleConfig('topics', topic)).toEqual({});
    });
    for (const broker of ['1', '2', '3']) {
      expect(Object.keys(await oracleConfig('brokers', broker))).not.toContain('leader.replication.throttled.rate');
    }
  });

  test('the preferred replicas lead again, with the skew before and after', async () => {
    // given partitions whose preferred replica is not their leader
    const topic = await topicOfTwo(2);
    const [before] = await admin.describeTopics([topic]);
    await admin.reassign(
      (before?.partitions ?? []).map(({ partition, replicas, leader }) => ({
        topic,
        partition,
        replicas: [...replicas.filter((id) => id !== leader), leader],
      })),
    );
    await vi.waitFor(async () => expect((await observeLeadership(admin, [topic])).before.displaced).toBe(2), {
      timeout: 30_000,
      interval: 100,
    });
    const result = await electLeaders(admin, await observeLeadership(admin, [topic]), (act) => acts.push(act));
    expect(result).toMatchObject({ elected: 2, failed: [], before: { displaced: 2 }, after: { displaced: 0 } });
    await agrees(async () => {
      const oracle = await oracleTopic(topic);
      expect(oracle?.partitions.map(({ leader }) => leader)).toEqual(
        oracle?.partitions.map(({ replicas }) => replicas[0]),
      );
    });
    expect(acts.at(-1)).toMatchObject({ act: 'elect', topic, partitions: [0, 1] });
  });
});

import { createServer, type Server } from 'node:net';

import kafkajs, { type Admin } from 'kafkajs';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { loadConfig, parseConfig, type Config } from '../../src/lib/config/load.ts';
import { withKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openRecordTimeReader } from '../../src/lib/kafka/record-time.ts';
import type { GroupLag } from '../../src/lib/offsets/lag-report.ts';
import { lookAtLag } from '../../src/lib/offsets/look.ts';
import type { LagTarget } from '../../src/lib/offsets/targets.ts';
import { LagWatch, withLagSources } from '../../src/lib/offsets/watch.ts';
import { migrate } from '../../src/lib/postgres/migrate.ts';
import { openPool } from '../../src/lib/postgres/pool.ts';
import { createDatabase, uniqueTopic } from '../support/servers.ts';

const servers = inject('servers');
const database = await createDatabase();
const config = configOn(database.url);
const { Kafka, CompressionTypes, logLevel } = kafkajs;
// A topic that was just made is not known to every broker yet; under NODE_ENV=test kafkajs hardly tries again by itself.
const kafka = new Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-lag',
  logLevel: logLevel.NOTHING,
  retry: { retries: 10 },
});
const replicas = Math.min(3, servers.brokers.length);
const made: string[] = [];
const groups: string[] = [];
let admin: Admin;

/** The sandbox's kpipe.yaml with another database. */
function configOn(url: string): Config {
  const { kafka: kafkaConfig } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
  const text = JSON.stringify({
    pipeline: 'test',
    kafka: { brokers: kafkaConfig.brokers },
    postgres: { primary: url },
  });
  return parseConfig(text, '/dev/null/kpipe.yaml', process.env);
}

beforeAll(async () => {
  admin = kafka.admin();
  await admin.connect();
});

afterAll(async () => {
  await admin.deleteGroups(groups).catch(() => undefined);
  await admin.deleteTopics({ topics: made }).catch(() => undefined);
  await admin.disconnect();
});

async function newTopic(numPartitions: number, retentionMs = 86_400_000): Promise<string> {
  const topic = uniqueTopic('lag');
  made.push(topic);
  const configEntries = [{ name: 'retention.ms', value: String(retentionMs) }];
  await admin.createTopics({
    topics: [{ topic, numPartitions, replicationFactor: replicas, configEntries }],
    waitForLeaders: true,
  });
  await Promise.all(servers.brokers.map((broker) => knownTo(broker, topic)));
  return topic;
}

/** Each broker hears of a new topic for itself, and kafkajs gives up at the first that has not. */
async function knownTo(broker: string, topic: string): Promise<void> {
  await withKafkaAdmin({ ...config.kafka, brokers: [broker] }, (only) =>
    vi.waitFor(async () => expect(await only.describeTopics([topic])).toHaveLength(1), { timeout: 20_000 }),
  );
}

function newGroup(): string {
  const group = uniqueTopic('lag-group');
  groups.push(group);
  return group;
}

interface Plan {
  readonly partition: number;
  /** One record for each, this long ago. */
  readonly agesMs: readonly number[];
  readonly gzip?: boolean;
}

/** Returns when the records were said to be written. */
async function produce(topic: string, { partition, agesMs, gzip = false }: Plan): Promise<readonly number[]> {
  const producer = kafka.producer();
  await producer.connect();
  const nowMs = Date.now();
  const times = agesMs.map((age) => nowMs - age);
  const messages = times.map((time) => ({ partition, value: 'v'.repeat(100), timestamp: String(time) }));
  await producer.send({ topic, messages, acks: -1, ...(gzip ? { compression: CompressionTypes.GZIP } : {}) });
  await producer.disconnect();
  return times;
}

function commit(groupId: string, topic: string, offsets: readonly number[]): Promise<unknown> {
  const partitions = offsets.map((offset, partition) => ({ partition, offset: String(offset) }));
  return admin.setOffsets({ groupId, topic, partitions });
}

async function lagOf(
  target: Partial<LagTarget> & { readonly group: string },
  on: Config = config,
  forMs = 0,
): Promise<GroupLag> {
  const whole: LagTarget = { role: null, topic: null, positionsIn: 'group', ...target };
  const report = await lookAtLag(on, [whole], { forMs, intervalMs: 500, conditions: [] }, new AbortController().signal);
  return report.roles[0]!;
}

/** `ages` seconds old, counted when it was measured: a little older than when it was written. */
function expectAge(lag: { readonly timeLagMs: number | null }, writtenAtMs: number): void {
  const age = Date.now() - writtenAtMs;
  expect(lag.timeLagMs).toBeLessThanOrEqual(age);
  expect(lag.timeLagMs).toBeGreaterThan(age - 15_000);
}

describe.concurrent('a group', () => {
  test('is behind by its unread records and the age of the first of them, also inside a compressed batch', async () => {
    const topic = await newTopic(3);
    const ages = Array.from({ length: 100 }, (_, index) => 3_600_000 - index * 30_000);
    const [plain, packed] = [
      await produce(topic, { partition: 0, agesMs: ages }),
      await produce(topic, { partition: 1, agesMs: ages, gzip: true }),
    ];
    const group = newGroup();
    await commit(group, topic, [90, 40]);

    const lag = await lagOf({ group });

    expect(lag).toMatchObject({
      role: null,
      group,
      protocol: 'classic',
      state: 'Empty',
      members: 0,
      lagRecords: 70,
      timeLagMethod: 'record',
      status: 'stop',
    });
    expectAge(lag, packed[40]!);
    expectAge(lag.partitions[0]!, plain[90]!);
    expect(lag.partitions.map(({ partition, lagRecords }) => [partition, lagRecords])).toEqual([
      [0, 10],
      [1, 60],
      [2, 0],
    ]);
    expect(lag.lossInMs).toBeGreaterThan(86_400_000 - (Date.now() - packed[40]!) - 15_000);
    expect(lag.lossInMs).toBeLessThanOrEqual(86_400_000 - (Date.now() - packed[40]!) + 15_000);
  });

  test('that reads is described with its members, rates and what each holds', async () => {
    const topic = await newTopic(2);
    const group = newGroup();
    const consumer = kafka.consumer({ groupId: group });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ autoCommitInterval: 200, eachMessage: () => Promise.resolve() });
    await produce(topic, { partition: 0, agesMs: [10, 10, 10] });
    try {
      await vi.waitFor(async () => expect(await lagOf({ group })).toMatchObject({ state: 'Stable', lagRecords: 0 }), {
        timeout: 30_000,
      });
      const lag = await lagOf({ group }, config, 600);
      expect(lag).toMatchObject({
        members: 1,
        timeLagMs: 0,
        drainMs: 0,
        inPerSec: 0,
        outPerSec: 0,
        status: 'ok',
        reason: null,
      });
      expect(lag.partitions.map(({ member }) => member)).toEqual([
        expect.stringMatching(/^test-lag@/),
        expect.stringMatching(/^test-lag@/),
      ]);
    } finally {
      await consumer.disconnect();
    }
  });

  test('that never committed has no lag and no alarm, not a huge one', async () => {
    const topic = await newTopic(1);
    await produce(topic, { partition: 0, agesMs: [60_000] });
    const lag = await lagOf({ role: 'events', group: newGroup(), topic });
    expect(lag).toMatchObject({ lagRecords: null, timeLagMs: null, lossInMs: null, status: 'unknown', protocol: null });
    expect(lag.unknown['lagRecords']).toBe('never started: no position yet');
  });

  test('that nobody knows is refused by name, with the nearest one', async () => {
    const topic = await newTopic(1);
    const group = newGroup();
    await commit(group, topic, [0]);
    await expect(lagOf({ group: `${group}x` })).rejects.toMatchObject({
      code: 'KPIPE_GROUP_MISSING',
      next: `did you mean ${group}?`,
    });
  });

  test('whose records expired unread is told how many were lost', async () => {
    const topic = await newTopic(1);
    await produce(topic, { partition: 0, agesMs: [50_000, 40_000, 30_000, 20_000] });
    const group = newGroup();
    await commit(group, topic, [1]);
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '3' }] });
    const lag = await lagOf({ group });
    expect(lag).toMatchObject({ lagRecords: 1, lostRecords: 2 });
    expect(lag.reason).toContain('2 records expired before they were read');
  });

  test('whose topic never was says so, and what makes it', async () => {
    const lag = await lagOf({ role: 'events', group: newGroup(), topic: uniqueTopic('absent') });
    expect(lag.reason).toMatch(/^topic absent-\w+ does not exist: run `kpipe topics apply`$/);
  });

  test('whose topic is deleted while it is watched says so; a group beside it is shown as ever', async () => {
    const [gone, kept] = [await newTopic(1), await newTopic(1)];
    await produce(gone, { partition: 0, agesMs: [2000, 1000] });
    await produce(kept, { partition: 0, agesMs: [2000, 1000] });
    const [left, right] = [newGroup(), newGroup()];
    await commit(left, gone, [0]);
    await commit(right, kept, [1]);
    const targets = [
      { role: null, group: left, topic: gone, positionsIn: 'group' },
      { role: null, group: right, topic: null, positionsIn: 'group' },
    ] as const;
    await withLagSources(config, async (sources) => {
      const watch = new LagWatch(targets, sources);
      expect((await watch.look()).roles.map(({ lagRecords }) => lagRecords)).toEqual([2, 1]);
      await admin.deleteTopics({ topics: [gone] });
      const { roles } = await vi.waitUntil(
        async () => {
          const report = await watch.look();
          return report.roles[0]?.reason === `topic ${gone} does not exist` && report;
        },
        { timeout: 30_000, interval: 200 },
      );
      expect(roles[0]).toMatchObject({ group: left, lagRecords: null, timeLagMs: null, status: 'unknown' });
      expect(roles[1]).toMatchObject({ group: right, lagRecords: 1, timeLagMethod: 'record' });
    });
  });
});

describe.concurrent('transactions', () => {
  async function transaction(topic: string, values: readonly string[], end: 'commit' | 'abort'): Promise<void> {
    const producer = kafka.producer({ transactionalId: uniqueTopic('tx'), maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    const open = await producer.transaction();
    await open.send({ topic, messages: values.map((value) => ({ partition: 0, value })) });
    await open[end]();
    await producer.disconnect();
  }

  /** A transaction's markers are written after its end was acked. */
  async function endOf(topic: string): Promise<number> {
    const [end] = await admin.fetchTopicOffsets(topic);
    return Number(end?.high ?? 0);
  }

  test('lag reaches 0 behind the markers and the aborted records', async () => {
    const topic = await newTopic(1);
    await transaction(topic, ['a', 'b'], 'commit');
    await transaction(topic, ['c', 'd'], 'abort');
    await vi.waitFor(async () => expect(await endOf(topic)).toBe(6), { timeout: 60_000 });
    const [readAll, readOne] = [newGroup(), newGroup()];
    await commit(readAll, topic, [2]);
    await commit(readOne, topic, [1]);

    expect(await lagOf({ group: readAll })).toMatchObject({ lagRecords: 0, timeLagMs: 0, status: 'ok' });
    expect(await lagOf({ group: readOne })).toMatchObject({ lagRecords: 5, timeLagMethod: 'record' });
  });

  test('records that an open one holds back are behind, without an age', async () => {
    const topic = await newTopic(1);
    const producer = kafka.producer({ transactionalId: uniqueTopic('tx'), maxInFlightRequests: 1, idempotent: true });
    await producer.connect();
    const open = await producer.transaction();
    await open.send({ topic, messages: [{ partition: 0, value: 'held' }] });
    const group = newGroup();
    await commit(group, topic, [0]);
    const lag = await lagOf({ group });
    await open.abort();
    await producer.disconnect();
    expect(lag).toMatchObject({ lagRecords: 1, timeLagMs: null });
    expect(lag.unknown['timeLagMs']).toBe('an open transaction holds records back from offset 0');
  });
});

describe.concurrent('a role that lives in PostgreSQL', () => {
  const roleOn = (topic: string, group: string): LagTarget => ({
    role: 'events',
    group,
    topic,
    positionsIn: 'postgres',
  });

  async function store(topic: string, partition: number, next: number, ago: string): Promise<void> {
    const client = new Client({ connectionString: database.url });
    await client.connect();
    try {
      await client.query(
        `insert into kpipe.consumer_offset (role, topic, topic_id, partition, next_offset, epoch, updated_at, first_offset)
         values ('events', $1, 'id', $2, $3, 1, now() - $4::interval, 0)`,
        [topic, partition, next, ago],
      );
    } finally {
      await client.end();
    }
  }

  beforeAll(async () => {
    const { postgres } = config;
    const pool = await openPool(postgres!, { applicationName: 'test' });
    await migrate(pool, { projections: [], logRetentionMs: 86_400_000, nowMs: Date.now(), planOnly: false });
    await pool.end();
  });

  test('is as far as PostgreSQL says, whatever the group has committed', async () => {
    const topic = await newTopic(2);
    const times = await produce(topic, { partition: 0, agesMs: [300_000, 200_000, 100_000] });
    await produce(topic, { partition: 1, agesMs: [300_000] });
    const group = newGroup();
    await commit(group, topic, [3, 1]);
    await store(topic, 0, 1, '5 minutes');

    const lag = await lagOf(roleOn(topic, group));

    expect(lag).toMatchObject({ positionSource: 'postgres', lagRecords: 2, status: 'stop' });
    expectAge(lag, times[1]!);
    expect(lag.partitions[0]).toMatchObject({ committedOffset: 3n, position: 1n });
    expect(lag.reason).toMatch(/partition lag-\w+-0: no commit for 5m/);
    expect(lag.partitions[1]).toMatchObject({ committedOffset: 1n, position: null, lagRecords: null });
    expect(lag.reason).toContain('PostgreSQL holds no position: the role will begin at its start');
  });

  test.each([
    ['is not there', `${database.superuserUrl}_absent`, /PostgreSQL/],
    [
      'has no schema',
      database.superuserUrl.replace(/\/[^/]+$/, '/postgres'),
      /kpipe\.consumer_offset is missing: run `kpipe migrate`/,
    ],
    ['is down', 'postgres://kpipe@127.0.0.1:1/kpipe', /ECONNREFUSED 127\.0\.0\.1:1/],
  ])("is shown by the group's commits, with a note, when PostgreSQL %s", async (_name, url, note) => {
    const topic = await newTopic(1);
    await produce(topic, { partition: 0, agesMs: [1000, 1000] });
    const group = newGroup();
    await commit(group, topic, [1]);
    const options = { forMs: 0, intervalMs: 500, conditions: [] };
    const report = await lookAtLag(configOn(url), [roleOn(topic, group)], options, new AbortController().signal);
    expect(report.roles[0]).toMatchObject({ positionSource: 'group', lagRecords: 1 });
    expect(report.notes).toEqual([expect.stringMatching(note)]);
  });
});

describe('the time of records', () => {
  test('of one partition at several positions, of a large batch, and behind the end', async () => {
    const topic = await newTopic(2);
    const times = await produce(topic, {
      partition: 0,
      agesMs: Array.from({ length: 2000 }, (_, index) => 100_000 - index),
    });
    await produce(topic, { partition: 1, agesMs: Array.from({ length: 2000 }, () => 5000) });
    const reader = await openRecordTimeReader(config.kafka);
    const ask = [0n, 1999n, 700n, 2000n].map((position) => ({ topic, partition: 0, position }));
    const answers = [await reader.firstUnread(ask), await reader.firstUnread(ask)];
    await reader.close();
    const record = (offset: number) => ({
      kind: 'record',
      offset: BigInt(offset),
      timestampMs: times[offset],
      exact: true,
    });
    expect(answers[0]).toEqual([record(0), record(1999), record(700), { kind: 'nothing' }]);
    expect(answers[1]).toEqual(answers[0]);
  });

  test('of a partition that does not exist is not known; the others are', async () => {
    const topic = await newTopic(1);
    const [time] = await produce(topic, { partition: 0, agesMs: [5000] });
    const reader = await openRecordTimeReader(config.kafka);
    const answers = await reader.firstUnread([
      { topic, partition: 9, position: 0n },
      { topic, partition: 0, position: 0n },
      { topic, partition: 0, position: 50n },
    ]);
    await reader.close();
    expect(answers).toEqual([
      { kind: 'unknown', reason: 'the partition has no leader' },
      { kind: 'record', offset: 0n, timestampMs: time, exact: true },
      { kind: 'unknown', reason: 'Kafka says OFFSET_OUT_OF_RANGE' },
    ]);
  });

  test('is given up in time when a broker says nothing', async () => {
    const silent: Server = createServer(() => undefined).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const reader = await openRecordTimeReader({ ...config.kafka, brokers: [`127.0.0.1:${port}`] }, 500);
    const [answer] = await reader.firstUnread([{ topic: 'events', partition: 0, position: 0n }]);
    expect(answer?.kind).toBe('unknown');
    await reader.close();
    silent.close();
  });
});

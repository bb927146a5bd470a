import { Admin as PlatformaticAdmin, Producer as PlatformaticProducer } from '@platformatic/kafka';
import kafkajs, { type Admin, type Producer } from 'kafkajs';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { loadConfig, parseConfig, type Config } from '../../src/lib/config/load.ts';
import type { RoleName } from '../../src/lib/config/schema.ts';
import { migrate } from '../../src/lib/postgres/migrate.ts';
import { openPool } from '../../src/lib/postgres/pool.ts';
import { openRedis, type Redis } from '../../src/lib/redis/client.ts';
import { entityKey } from '../../src/lib/redis/entity-cache.ts';
import { consumeRole, type ConsumeOptions } from '../../src/lib/roles/consume.ts';
import { drainingQuietly } from '../support/consume-options.ts';
import type { RunResult } from '../../src/lib/runtime/run-options.ts';
import { createDatabase, uniqueTopic } from '../support/servers.ts';
import { ownValuesEverywhere, topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const { kafka: kafkaConfig } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const database = await createDatabase();
const { Kafka, logLevel } = kafkajs;
// A topic that was just made is not known to every broker yet; under NODE_ENV=test kafkajs hardly tries again by itself.
const kafka = new Kafka({
  brokers: [...servers.brokers],
  clientId: 'test-roles',
  logLevel: logLevel.NOTHING,
  retry: { retries: 10 },
});
const replicationFactor = Math.min(3, servers.brokers.length);
const madeTopics = new Set<string>();
const madeGroups: string[] = [];
let admin: Admin;
let producer: Producer;
let client: Client;
let redis: Redis;

beforeAll(async () => {
  admin = kafka.admin();
  producer = kafka.producer();
  client = new Client({ connectionString: database.url });
  await Promise.all([admin.connect(), producer.connect(), client.connect()]);
  const { config } = await pipeline('events', { make: false });
  redis = await openRedis(config.redis!, () => undefined);
  const pool = await openPool(config.postgres!, { applicationName: 'test-roles' });
  await migrate(pool, {
    projections: config.roles.events!.projections,
    logRetentionMs: 30 * 86_400_000,
    nowMs: Date.now(),
    planOnly: false,
  });
  await pool.end();
});

afterAll(async () => {
  redis.disconnect();
  await admin.deleteGroups(madeGroups).catch(() => undefined);
  await admin.deleteTopics({ topics: [...madeTopics] }).catch(() => undefined);
  await Promise.all([admin.disconnect(), producer.disconnect(), client.end()]);
});

const table = uniqueTopic('orders').replace('-', '_');

/** A role with a topic, dead letters and a group of one test's own. */
async function pipeline(
  role: RoleName,
  more: { readonly make?: boolean; readonly partitions?: number; readonly databaseUrl?: string } = {},
) {
  const topic = uniqueTopic(role);
  const deadLetters = `${topic}.dlq`;
  const group = uniqueTopic('group');
  madeGroups.push(group);
  const common = { topic, group, deadLetters };
  const text = JSON.stringify({
    pipeline: 'test',
    kafka: { brokers: servers.brokers },
    postgres: { primary: more.databaseUrl ?? database.url },
    redis: { url: servers.redisUrl },
    roles: {
      events: {
        ...common,
        defaultSource: topic,
        batch: { maxRows: 50, maxWait: '50ms' },
        projections: [
          {
            match: { type: 'order.*' },
            table: `public.${table}`,
            deleteOn: ['order.deleted'],
            key: { order_id: { from: 'data.orderId', type: 'text' } },
            columns: { status: { from: 'data.status', type: 'text' } },
          },
        ],
        cache: { entities: [table], ttl: '1m' },
      },
      logs: { ...common, group: `${group}-logs`, batch: { maxWait: '50ms' } },
    },
  });
  const config = parseConfig(text, '/dev/null/kpipe.yaml', process.env);
  if (more.make !== false) {
    await makeTopics([topic, more.partitions ?? 1], [deadLetters, 1]);
  }
  return { topic, deadLetters, group, config, role };
}

async function makeTopics(...topics: (readonly [string, number])[]): Promise<void> {
  topics.forEach(([topic]) => madeTopics.add(topic));
  await admin.createTopics({
    topics: topics.map(([topic, numPartitions]) => ({ topic, numPartitions, replicationFactor })),
    waitForLeaders: true,
  });
  await topicsEverywhere(
    kafkaConfig,
    topics.map(([topic]) => topic),
  );
}

interface Made {
  readonly config: Config;
  readonly role: RoleName;
}

function consume({ config, role }: Made, options: Partial<ConsumeOptions> = {}): Promise<RunResult> {
  return consumeRole(config, role, {
    ...drainingQuietly,
    signal: new AbortController().signal,
    ...options,
  });
}

const send = async (topic: string, values: readonly unknown[], partition = 0): Promise<void> => {
  const messages = values.map((value) => ({
    partition,
    value: typeof value === 'string' ? value : JSON.stringify(value),
  }));
  await producer.send({ topic, messages, acks: -1 });
};
const event = (id: string, data: object = {}, type = 'page.viewed') => ({ id, type, data });
const events = (count: number, from = 0) => Array.from({ length: count }, (_, index) => event(`e${from + index}`));
const ids = async (topic: string): Promise<string[]> => {
  const { rows } = await client.query<{ id: string }>(
    'select id from kpipe.events where topic = $1 order by partition, kafka_offset',
    [topic],
  );
  return rows.map(({ id }) => id);
};
const position = async (topic: string): Promise<bigint[]> => {
  const { rows } = await client.query<{ next_offset: string }>(
    'select next_offset from kpipe.consumer_offset where topic = $1 order by partition',
    [topic],
  );
  return rows.map((row) => BigInt(row.next_offset));
};
const endOf = async (topic: string): Promise<bigint[]> => {
  const ends = await admin.fetchTopicOffsets(topic);
  return ends.toSorted((left, right) => left.partition - right.partition).map(({ offset }) => BigInt(offset));
};

/** What retention does to the first partition; kafkajs' own call does not find the leader. */
async function deleteBefore(topic: string, offset: bigint): Promise<void> {
  const other = new PlatformaticAdmin({ clientId: 'test-roles', bootstrapBrokers: [...servers.brokers] });
  await other.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset }] }] });
  await other.close();
}

/** Everything that is in a topic now. */
async function readAll(topic: string): Promise<{ value: string | null; headers: Record<string, string> }[]> {
  const wanted = (await endOf(topic)).reduce((sum, end) => sum + Number(end), 0);
  const group = uniqueTopic('read-all');
  madeGroups.push(group);
  const consumer = kafka.consumer({ groupId: group });
  const found: { value: string | null; headers: Record<string, string> }[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: ({ message }) => {
      const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]);
      found.push({
        value: message.value?.toString() ?? null,
        headers: Object.fromEntries(headers) as Record<string, string>,
      });
      return Promise.resolve();
    },
  });
  await vi.waitFor(() => expect(found).toHaveLength(wanted), 90_000);
  await consumer.disconnect();
  return found;
}

describe('role events, until it is drained', () => {
  test('stores events and projections, fills the cache, buries what is broken, and tells the group where it stands', async () => {
    const made = await pipeline('events', { partitions: 3 });
    await send(
      made.topic,
      [
        event('1', { orderId: 'o-1', status: 'new' }, 'order.created'),
        '{broken',
        event('2', { orderId: 'o-1', status: 'paid' }, 'order.paid'),
      ],
      0,
    );
    await send(made.topic, [event('3', { orderId: 7 }, 'order.created'), event('1'), event('4')], 2);
    const result = await consume(made);
    expect(result.totals).toEqual({ records: 6, stored: 3, duplicates: 1, deadLetters: 2, skipped: 0 });
    expect(
      result.partitions.map(({ partition, firstOffset, nextOffset }) => [partition, firstOffset, nextOffset]),
    ).toEqual([
      [0, 0n, 3n],
      [1, 0n, 0n],
      [2, 0n, 3n],
    ]);
    expect((await ids(made.topic)).toSorted()).toEqual(['1', '2', '4']);
    const { rows } = await client.query(
      `select order_id, status, kpipe_partition, kpipe_offset::int from public.${table}`,
    );
    expect(rows).toEqual([{ order_id: 'o-1', status: 'paid', kpipe_partition: 0, kpipe_offset: 2 }]);
    expect(JSON.parse((await redis.hget(entityKey(table, ['o-1']), 'row')) ?? 'null')).toEqual({
      order_id: 'o-1',
      status: 'paid',
    });
    await redis.unlink(entityKey(table, ['o-1']));

    const dead = await readAll(made.deadLetters);
    const origins = ['topic', 'partition', 'offset'].map((name) => `__connect.errors.${name}`);
    const shown = dead.map(({ value, headers }) =>
      [value, headers['kpipe.reason'], ...origins.map((name) => headers[name])].join(' '),
    );
    expect(shown.toSorted()).toEqual([
      `${JSON.stringify(event('3', { orderId: 7 }, 'order.created'))} projection_type ${made.topic} 2 0`,
      `{broken malformed_json ${made.topic} 0 1`,
    ]);
    const [committed] = await admin.fetchOffsets({ groupId: made.group, topics: [made.topic] });
    expect(
      committed?.partitions
        .filter(({ offset }) => offset !== '-1')
        .map(({ partition, offset }) => `${partition}:${offset}`)
        .toSorted(),
    ).toEqual(expect.arrayContaining(['0:3', '2:3']));

    const again = await consume(made);
    expect(again.totals).toMatchObject({ records: 0, stored: 0 });
  });

  test('reads committed transactions only, and comes to the end behind their control records', async () => {
    const made = await pipeline('events');
    const transactional = kafka.producer({
      transactionalId: uniqueTopic('tx'),
      idempotent: true,
      maxInFlightRequests: 1,
    });
    await transactional.connect();
    const transaction = async (values: readonly object[], end: 'commit' | 'abort'): Promise<void> => {
      const begun = await transactional.transaction();
      await begun.send({
        topic: made.topic,
        messages: values.map((value) => ({ partition: 0, value: JSON.stringify(value) })),
      });
      await begun[end]();
    };
    await send(made.topic, events(2));
    await transaction(events(3, 10), 'commit');
    await transaction(events(3, 20), 'abort');
    await send(made.topic, events(1, 30));
    await transaction(events(2, 40), 'abort');
    await transactional.disconnect();
    // An abort is answered before its marker is written.
    const end = 2n + 4n + 4n + 1n + 3n;
    await vi.waitFor(async () => expect(await endOf(made.topic)).toEqual([end]), 60_000);

    const result = await consume(made);
    expect(await ids(made.topic)).toEqual(['e0', 'e1', 'e10', 'e11', 'e12', 'e30']);
    expect(result.totals).toMatchObject({ records: 6, stored: 6, deadLetters: 0 });
    expect(await position(made.topic)).toEqual([end]);
    const { rows } = await client.query(
      'select next_offset - first_offset = stored + duplicates + dead_letters + skipped + gaps as adds_up, gaps::int from kpipe.consumer_offset where topic = $1',
      [made.topic],
    );
    expect(rows).toEqual([{ adds_up: true, gaps: Number(end) - 6 }]);
  });

  test.each(['gzip', 'snappy', 'lz4', 'zstd'] as const)('reads %s', async (compression) => {
    const made = await pipeline('events');
    const packing = new PlatformaticProducer({ clientId: 'test-roles', bootstrapBrokers: [...servers.brokers] });
    const messages = events(200).map((value) => ({
      topic: made.topic,
      partition: 0,
      value: Buffer.from(JSON.stringify({ ...value, data: 'x'.repeat(500) })),
    }));
    await packing.send({ messages, compression, acks: -1 });
    await packing.close();
    const result = await consume(made);
    expect(result.totals).toMatchObject({ records: 200, stored: 200 });
    expect(await ids(made.topic)).toEqual(events(200).map(({ id }) => id));
  });

  test('two members share the partitions, and nothing is stored twice', async () => {
    const made = await pipeline('events', { partitions: 4 });
    for (const partition of [0, 1, 2, 3]) {
      await send(made.topic, events(300, partition * 1000), partition);
    }
    const results = await Promise.all([consume(made), consume(made)]);
    expect(await ids(made.topic)).toHaveLength(1200);
    expect(await position(made.topic)).toEqual([300n, 300n, 300n, 300n]);
    expect(results.reduce((sum, { totals }) => sum + totals.stored, 0)).toBe(1200);
  });
});

describe('role logs, until it is drained', () => {
  test('stores every shape of line, and buries what is none', async () => {
    const made = await pipeline('logs');
    const time = new Date().toISOString();
    await send(made.topic, [
      { time, level: 'error', msg: 'pino', service: 'api' },
      'plain text',
      `level=warn msg="log fmt" time=${time}`,
      '{broken',
      { time: 'infinity', msg: 'x' },
      {
        resourceLogs: [
          { scopeLogs: [{ logRecords: [{ body: { stringValue: 'one' } }, { body: { stringValue: 'two' } }] }] },
        ],
      },
    ]);
    const result = await consume(made);
    expect(result.totals).toEqual({ records: 6, stored: 4, duplicates: 0, deadLetters: 2, skipped: 0 });
    const { rows } = await client.query<{ body: string; severity_number: number; held: string }>(
      'select body, severity_number, tableoid::regclass::text as held from kpipe.logs where topic = $1 order by kafka_offset, line',
      [made.topic],
    );
    expect(rows.map(({ body, severity_number: severity }) => [body, severity])).toEqual([
      ['pino', 17],
      ['plain text', 0],
      ['log fmt', 13],
      ['one', 0],
      ['two', 0],
    ]);
    expect(rows.map(({ held }) => held)).not.toContain('logs_default');
    expect((await readAll(made.deadLetters)).map(({ value, headers }) => [value, headers['kpipe.reason']])).toEqual([
      ['{broken', 'malformed_json'],
      ['{"time":"infinity","msg":"x"}', 'invalid_timestamp'],
    ]);
  });
});

describe('a role that cannot start says why', () => {
  test('a topic that is missing: by name, with the command that makes it', async () => {
    const made = await pipeline('events', { make: false });
    await expect(consume(made)).rejects.toMatchObject({
      code: 'KPIPE_TOPIC_MISSING',
      message: expect.stringContaining(`${made.topic} and ${made.deadLetters}`) as string,
      next: expect.stringContaining('kpipe topics apply') as string,
    });
    await makeTopics([made.topic, 1]);
    const error = await consume(made).catch((thrown: unknown) => thrown as Error);
    expect(error).toMatchObject({
      code: 'KPIPE_TOPIC_MISSING',
      message: expect.stringContaining(`the topic ${made.deadLetters},`) as string,
    });
  });

  test.each(['events', 'logs'] as const)('tables that are missing: %s', async (role) => {
    const empty = new URL(database.url);
    empty.pathname = '/postgres';
    const made = await pipeline(role, { databaseUrl: empty.href });
    await expect(consume(made)).rejects.toMatchObject({ code: 'KPIPE_SCHEMA_MISSING', next: 'run `kpipe migrate`' });
  });

  test('a flood of broken records ends it before they fill the dead letters', async () => {
    const made = await pipeline('events');
    await send(
      made.topic,
      Array.from({ length: 1500 }, () => '{broken'),
    );
    await expect(consume(made)).rejects.toMatchObject({ code: 'KPIPE_DEAD_LETTER_FLOOD', exitCode: 1 });
    const [buried] = await endOf(made.deadLetters);
    expect(buried).toBeLessThan(1000n);
    expect(await position(made.topic)).toEqual([buried]);
  });
});

describe('what the log has lost', () => {
  test('records that retention took unread stop the role with the exact range; --skip-lost goes on behind them', async () => {
    const made = await pipeline('events');
    await send(made.topic, events(5));
    await consume(made);
    await send(made.topic, events(10, 5));
    await deleteBefore(made.topic, 12n);
    await expect(consume(made)).rejects.toMatchObject({
      code: 'KPIPE_RECORDS_LOST',
      exitCode: 1,
      message: 'offsets 5 to 11 were deleted from the log before they were read',
      where: { topic: made.topic, partition: 0 },
      next: expect.stringContaining('--skip-lost') as string,
    });
    expect(await position(made.topic)).toEqual([5n]);
    const result = await consume(made, { skipLost: true });
    expect(result.totals).toMatchObject({ records: 3, stored: 3 });
    expect(await ids(made.topic)).toEqual(['e0', 'e1', 'e2', 'e3', 'e4', 'e12', 'e13', 'e14']);
    expect(await position(made.topic)).toEqual([15n]);
  });

  test('a topic that was deleted and made again stops the role; --accept-recreated begins the new one', async () => {
    const made = await pipeline('events');
    await send(made.topic, events(5));
    await consume(made);
    await admin.deleteTopics({ topics: [made.topic] });
    await ownValuesEverywhere(kafkaConfig, made.topic, null);
    await makeTopics([made.topic, 1]);
    await vi.waitFor(() => send(made.topic, events(3, 100)), 60_000);
    await expect(consume(made)).rejects.toMatchObject({ code: 'KPIPE_TOPIC_RECREATED', exitCode: 1 });
    expect(await ids(made.topic)).toHaveLength(5);
    const result = await consume(made, { acceptRecreated: true });
    expect(result.totals).toMatchObject({ records: 3, stored: 3 });
    expect((await ids(made.topic)).toSorted()).toEqual(['e0', 'e1', 'e100', 'e101', 'e102', 'e2', 'e3', 'e4']);
    expect(await position(made.topic)).toEqual([3n]);
  });
});

describe('while it runs', () => {
  test('it follows PostgreSQL back to an older position, without duplicates and without a hole', async () => {
    const made = await pipeline('events');
    const stop = new AbortController();
    const running = consume(made, { untilDrained: false, signal: stop.signal });
    running.catch(() => undefined);
    await send(made.topic, events(20));
    await vi.waitFor(async () => expect(await ids(made.topic)).toHaveLength(20), 90_000);
    // What a restore of an older backup does: rows, position and epoch go back together.
    await client.query('begin');
    await client.query('update kpipe.consumer_offset set next_offset = 7, stored = 7, epoch = 0 where topic = $1', [
      made.topic,
    ]);
    await client.query('delete from kpipe.events where topic = $1 and kafka_offset >= 7', [made.topic]);
    await client.query('commit');
    await send(made.topic, events(5, 20));
    await vi.waitFor(async () => expect(await position(made.topic)).toEqual([25n]), 60_000);
    stop.abort();
    await running;
    expect(await ids(made.topic)).toEqual(events(25).map(({ id }) => id));
    const { rows } = await client.query(
      'select next_offset - first_offset = stored + duplicates + dead_letters + skipped + gaps as adds_up, duplicates::int from kpipe.consumer_offset where topic = $1',
      [made.topic],
    );
    expect(rows).toEqual([{ adds_up: true, duplicates: 0 }]);
  });

  test('a signal drains it: what was read is written, the group is told, and the run ends well', async () => {
    const made = await pipeline('events');
    await send(made.topic, events(500));
    const stop = new AbortController();
    const running = consume(made, { untilDrained: false, signal: stop.signal });
    await vi.waitFor(async () => expect((await position(made.topic))[0]).toBeGreaterThan(0n), 90_000);
    stop.abort();
    const result = await running;
    const [stored] = await position(made.topic);
    expect(await ids(made.topic)).toHaveLength(Number(stored));
    expect(result.totals.stored).toBe(Number(stored));
    const [committed] = await admin.fetchOffsets({ groupId: made.group, topics: [made.topic] });
    expect(committed?.partitions).toMatchObject([{ partition: 0, offset: String(stored) }]);
    expect((await admin.describeGroups([made.group])).groups[0]?.members).toEqual([]);
  });
});

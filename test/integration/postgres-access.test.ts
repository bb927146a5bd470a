import { randomUUID } from 'node:crypto';

import { Client } from 'pg';
import { beforeAll, describe, expect, test, vi } from 'vitest';

import { parseConfig, type Config } from '../../src/lib/config/load.ts';
import { lookAtLag } from '../../src/lib/offsets/look.ts';
import { lagTargets } from '../../src/lib/offsets/targets.ts';
import { grants } from '../../src/lib/postgres/grants.ts';
import { searchLogs } from '../../src/lib/postgres/log-search.ts';
import { migrateDatabase } from '../../src/lib/postgres/migrate.ts';
import { probePostgres } from '../../src/lib/postgres/probe.ts';
import { lookAtReplicas } from '../../src/lib/replication/look.ts';
import { startPgBouncer, type PgBouncer } from '../support/pgbouncer.ts';
import { replicationCluster, type PostgresServer } from '../support/replication-cluster.ts';
import type { VerifyOptions } from '../../src/lib/verify/verify.ts';
import { verifyRole } from '../../src/lib/verify/verify-role.ts';
import { rolePipelines } from '../support/role-pipeline.ts';
import { consumeRole } from '../../src/lib/roles/consume.ts';
import { drainingQuietly } from '../support/consume-options.ts';

/** Everything that touches PostgreSQL, as exactly the users that the script of grants makes: directly, and pooled. */
const cluster = replicationCluster();
const pipelines = await rolePipelines();
const logins = ['owner', 'consumer', 'searcher', 'watcher', 'saver', 'nobody'] as const;
type Login = (typeof logins)[number];

let primary: PostgresServer;
let replica: PostgresServer;
let pooledPrimary: PgBouncer;
let pooledReplica: PgBouncer;

beforeAll(async () => {
  primary = await cluster.primary();
  for (const login of logins) {
    await primary.query(`create role ${login} login`);
  }
  replica = await cluster.standby(primary, 'replica');
  pooledPrimary = await startPgBouncer(cluster, primary, [...logins, 'postgres']);
  pooledReplica = await startPgBouncer(cluster, replica, [...logins, 'postgres']);
});

const ways = ['directly', 'through PgBouncer in transaction mode'] as const;

describe.each(ways)('%s', (way) => {
  const database = way === 'directly' ? 'direct' : 'pooled';
  const prefix = `${database}_kpipe`;
  const pooled = way !== 'directly';
  const projections = [
    {
      match: { type: 'order.*' },
      table: 'shop.orders',
      key: { order_id: { from: 'data.orderId', type: 'text' } },
      columns: { status: { from: 'data.status', type: 'text' } },
      deleteOn: ['order.deleted'],
    },
  ];
  const url = (login: Login): string => (pooled ? pooledPrimary.url(login, database) : primary.url(login, database));
  const replicaUrl = (login: Login): string =>
    pooled ? pooledReplica.url(login, database) : replica.url(login, database);

  /** A pipeline's configuration with the database of this way, as one of its users. */
  const as = (login: Login, config: Config): Config => {
    const postgres = {
      primary: url(login),
      replicas: [{ name: 'replica', url: replicaUrl(login) }],
      pool: { statementTimeout: '20s' },
    };
    const text = JSON.stringify({ pipeline: 'test', kafka: { brokers: config.kafka.brokers }, postgres });
    return { ...config, postgres: parseConfig(text, '/dev/null/kpipe.yaml', process.env).postgres };
  };
  const roleConfig = (role: 'events' | 'logs') =>
    pipelines.open({
      role,
      partitions: 2,
      settings: { batch: { maxWait: '50ms' }, ...(role === 'events' ? { projections: projections } : {}) },
    });
  const ownConfig = (text: object = {}): Config =>
    parseConfig(
      JSON.stringify({
        pipeline: 'test',
        kafka: { brokers: ['localhost:1'] },
        postgres: { primary: url('owner'), ...text },
      }),
      '/dev/null/kpipe.yaml',
      process.env,
    );
  const run = async (sql: string): Promise<readonly Record<string, unknown>[]> => {
    const client = new Client({ connectionString: primary.url('postgres', database) });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  };

  beforeAll(async () => {
    await primary.query(`create database ${database} owner owner`);
    const eventsConfig = parseConfig(
      JSON.stringify({
        pipeline: 'test',
        kafka: { brokers: ['localhost:1'] },
        postgres: { primary: url('owner') },
        roles: { events: { topic: 'e', group: 'g', deadLetters: 'd', defaultSource: 's', projections } },
      }),
      '/dev/null/kpipe.yaml',
      process.env,
    );
    const steps = await migrateDatabase(eventsConfig.postgres!, {
      projections: eventsConfig.roles.events!.projections,
      logRetentionMs: 2 * 86_400_000,
      nowMs: Date.now(),
      planOnly: false,
    });
    expect(steps).toContainEqual({ kind: 'schema', name: 'shop', applied: true });
    expect(steps).toContainEqual({ kind: 'projection', name: 'shop.orders', applied: true });
    const script = grants({ prefix, projections: ['shop.orders'] });
    await run(script.sql);
    // Again: it may be repeated.
    await run(script.sql);
    const member: Readonly<Record<string, Login>> = {
      writer: 'consumer',
      reader: 'searcher',
      monitor: 'watcher',
      backup: 'saver',
    };
    for (const [role, login] of Object.entries(member)) {
      await run(`grant ${prefix}_${role} to ${login}`);
    }
  });

  test('the writer consumes events: rows, repeats, projections, deletions and the position', async () => {
    const pipeline = await roleConfig('events');
    const event = (id: number, type: string, more: object = {}) => ({
      key: null,
      value: Buffer.from(
        JSON.stringify({ id: `${pipeline.topic}-${id}`, type, data: { orderId: `o${id}`, status: 'new', ...more } }),
      ),
      partition: id % 2,
    });
    const events = Array.from({ length: 40 }, (_, id) => event(id, 'order.placed'));
    await pipeline.send(events);
    await consumeRole(as('consumer', pipeline.config), 'events', {
      ...drainingQuietly,
      signal: AbortSignal.timeout(150_000),
    });
    // A producer's repeats take the way through a temporary table.
    await pipeline.send([
      ...events.slice(0, 10),
      event(100, 'order.placed'),
      {
        ...event(2, 'order.deleted'),
        value: Buffer.from(JSON.stringify({ id: randomUUID(), type: 'order.deleted', data: { orderId: 'o2' } })),
      },
    ]);
    const result = await consumeRole(as('consumer', pipeline.config), 'events', {
      ...drainingQuietly,
      signal: AbortSignal.timeout(150_000),
    });
    expect(result.totals).toMatchObject({ records: 12, stored: 2, duplicates: 10, deadLetters: 0 });
    const [counts] = await run(
      `select (select count(*)::int from kpipe.events where topic = '${pipeline.topic}') as events,
              (select count(*)::int from shop.orders) as orders,
              (select sum(next_offset)::int from kpipe.consumer_offset where topic = '${pipeline.topic}') as position`,
    );
    expect(counts).toEqual({ events: 42, orders: 40, position: 52 });
    const verified = await verifyRole(as('searcher', pipeline.config), 'events', verifying);
    expect(verified).toMatchObject({ balanced: true, findings: [] });
    expect(verified.stretches.reduce((sum, { rows }) => sum + rows, 0)).toBe(42);
  });

  test('the writer consumes logs, makes the days ahead and drops the expired ones; the reader finds the lines', async () => {
    await run(`select kpipe.make_log_partitions('2020-01-01', '2020-01-01')`);
    const pipeline = await roleConfig('logs');
    await pipeline.send(
      Array.from({ length: 30 }, (_, index) => ({
        key: null,
        value: Buffer.from(JSON.stringify({ level: 'error', service: 'checkout', msg: `payment ${index} declined` })),
        partition: index % 2,
      })),
    );
    const notices: string[] = [];
    const result = await consumeRole(as('consumer', pipeline.config), 'logs', {
      ...drainingQuietly,
      notice: (text) => notices.push(text),
      signal: AbortSignal.timeout(150_000),
    });
    expect(notices).toEqual([]);
    expect(result.totals).toMatchObject({ records: 30, stored: 30 });
    const partitions = await run(
      `select count(*) filter (where inhrelid::regclass::text = 'kpipe.logs_20200101')::int as expired,
              count(*) filter (where inhrelid::regclass::text > 'kpipe.logs_' || to_char(now() + interval '5 days', 'YYYYMMDD'))::int as ahead
         from pg_inherits where inhparent = 'kpipe.logs'::regclass`,
    );
    expect(partitions[0]).toMatchObject({ expired: 0 });
    expect(partitions[0]!['ahead']).toBeGreaterThanOrEqual(1);

    const reading = as('searcher', pipeline.config);
    const query = { text: 'declined', sinceMs: Date.now() - 3_600_000, limit: 100 };
    // Where replay takes longer than a moment, the primary answers.
    const found = await vi.waitUntil(
      async () => {
        const answer = await searchLogs(reading.postgres!, query, new AbortController().signal);
        expect(answer.lines).toHaveLength(30);
        return answer.server === 'replica' && answer;
      },
      { timeout: 60_000 },
    );
    expect(found.server).toBe('replica');
    expect(await verifyRole(reading, 'logs', verifying)).toMatchObject({ balanced: true, findings: [] });
    const lag = await lookAtLag(
      reading,
      lagTargets(reading, ['logs'], []),
      { forMs: 100, intervalMs: 100, conditions: [] },
      new AbortController().signal,
    );
    expect(lag.roles[0]).toMatchObject({ role: 'logs', lagRecords: 0 });
    expect(lag.roles[0]!.partitions.reduce((sum, { position }) => sum + (position ?? 0n), 0n)).toBe(30n);
  });

  test('the monitor sees both ends, and its probe moves the heartbeat', async () => {
    const config = as('watcher', ownConfig());
    const before = await run('select beat_at from kpipe.heartbeat');
    const report = await vi.waitUntil(
      async () => {
        const seen = await lookAtReplicas(config, config.postgres!, { probe: true, conditions: [] });
        return seen.ok && seen;
      },
      { timeout: 60_000 },
    );
    expect(report.notes).toEqual([]);
    expect(report.standbys[0]).toMatchObject({
      name: 'replica',
      state: 'streaming',
      receiver: { status: 'streaming' },
    });
    expect(report.standbys[0]!.probeMs).toBeGreaterThan(0);
    const after = await run('select beat_at from kpipe.heartbeat');
    expect(Number(after[0]!['beat_at'])).toBeGreaterThan(Number(before[0]!['beat_at']));
  });

  test('migrate refuses a table whose key cannot be named by an upsert, and says what would make it fit', async () => {
    await run(`create table shop.parts (order_id text, line int, status text, kpipe_partition int, kpipe_offset bigint);
      create unique index on shop.parts (order_id, line);
      create unique index on shop.parts (order_id) where status = 'new';
      alter table shop.parts owner to owner`);
    const [orders] = projections;
    const options = { logRetentionMs: 86_400_000, nowMs: Date.now(), planOnly: true };
    const parts = { ...orders!, table: 'shop.parts' } as never;
    const { postgres } = ownConfig();
    await expect(migrateDatabase(postgres!, { ...options, projections: [parts] })).rejects.toMatchObject({
      code: 'KPIPE_REFUSED',
      next: expect.stringContaining('create unique index on "shop"."parts" ("order_id");') as string,
    });
    await run('create unique index on shop.parts (order_id)');
    expect(await migrateDatabase(postgres!, { ...options, projections: [parts] })).toEqual([]);
    await run('drop table shop.parts');
  });

  test('a role writes the heartbeat', async () => {
    await run(`update kpipe.heartbeat set beat_at = '2020-01-01'`);
    const pipeline = await roleConfig('events');
    await consumeRole(as('consumer', pipeline.config), 'events', {
      ...drainingQuietly,
      signal: AbortSignal.timeout(150_000),
    });
    const [row] = await run(`select beat_at > now() - interval '1 minute' as fresh from kpipe.heartbeat`);
    expect(row).toEqual({ fresh: true });
  });

  test('doctor’s probe knows who may write', async () => {
    const may = async (login: Login) => {
      const { mayWrite, mayCreate } = await probePostgres(as(login, ownConfig()).postgres!.primary, 5000);
      return { mayWrite, mayCreate };
    };
    expect(await may('owner')).toEqual({ mayWrite: true, mayCreate: true });
    expect(await may('consumer')).toEqual({ mayWrite: true, mayCreate: false });
    expect(await may('searcher')).toEqual({ mayWrite: false, mayCreate: false });
  });

  test('the backup’s user reads every table, switches WAL, and holds replay on the standby', async () => {
    const text = (on: PostgresServer, sql: string) => oneAs(on.url('saver', database), sql);
    expect(await text(primary, 'select count(*)::int >= 0 as ok from kpipe.events')).toEqual({ ok: true });
    expect(await text(primary, 'select pg_switch_wal() is not null as ok')).toEqual({ ok: true });
    expect(await text(replica, 'select pg_wal_replay_pause() is not null as ok')).toEqual({ ok: true });
    expect(await text(replica, 'select pg_wal_replay_resume() is not null as ok')).toEqual({ ok: true });
  });

  test.each([
    ['consumer', 'delete from kpipe.events'],
    ['consumer', `update kpipe.events set type = ''`],
    ['consumer', 'drop table kpipe.logs'],
    ['consumer', 'create table kpipe.mine (n int)'],
    ['consumer', `insert into kpipe.migration (id, name) values (99, 'x')`],
    ['searcher', `insert into kpipe.heartbeat (beat_at) values (now())`],
    ['searcher', 'update shop.orders set status = null'],
    ['searcher', `select kpipe.drop_log_partitions('2999-01-01')`],
    ['watcher', 'select count(*) from kpipe.events'],
    ['saver', 'delete from kpipe.events'],
    ['nobody', 'select count(*) from kpipe.events'],
  ] as const)('%s may not: %s', async (login, sql) => {
    await expect(oneAs(url(login), sql)).rejects.toMatchObject({ code: '42501' });
  });
});

const verifying: VerifyOptions = {
  deep: true,
  signal: new AbortController().signal,
  now: Date.now,
  onProgress: () => undefined,
};

async function oneAs(connectionString: string, sql: string): Promise<unknown> {
  const client = new Client({ connectionString, connectionTimeoutMillis: 5000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows[0];
  } finally {
    await client.end();
  }
}

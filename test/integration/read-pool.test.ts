import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

import { Client } from 'pg';
import { beforeAll, describe, expect, test, vi } from 'vitest';

import { parseConfig, type PostgresConfig } from '../../src/lib/config/load.ts';
import { inTransaction, type Pool } from '../../src/lib/postgres/pool.ts';
import { ReadPool, type ReadPoolOptions } from '../../src/lib/postgres/read-pool.ts';
import { startPostgresProxy } from '../support/tcp-proxy.ts';
import { freePort } from '../support/free-port.ts';
import { replicationCluster, type PostgresServer } from '../support/replication-cluster.ts';

const cluster = replicationCluster();
let primary: PostgresServer;
let replica: PostgresServer;

beforeAll(async () => {
  primary = await cluster.primary();
  await primary.query('create table notes (text text)');
  await primary.query('create table filler (line text)');
  replica = await cluster.standby(primary, 'replica');
});

function configOf(replicas: readonly { name: string; url: string; maxLag?: string }[], on = primary): PostgresConfig {
  const text = JSON.stringify({
    pipeline: 'test',
    kafka: { brokers: ['localhost:1'] },
    postgres: { primary: on.url(), replicas, pool: { statementTimeout: '10s' } },
  });
  return parseConfig(text, '/dev/null/kpipe.yaml', process.env).postgres!;
}

/** A clock of the test's own: hours of a circuit pass in no time, and none while a busy machine makes the test wait. */
function clock() {
  let nowMs = Date.now();
  return { now: () => nowMs, pass: (ms: number) => void (nowMs += ms) };
}

async function withReads<Result>(
  config: PostgresConfig,
  work: (reads: ReadPool) => Promise<Result>,
  more: Partial<ReadPoolOptions> = {},
): Promise<Result> {
  const options = {
    applicationName: 'test-reads',
    max: 2,
    now: Date.now,
    random: Math.random,
    staleWithoutPrimary: false,
  };
  const reads = new ReadPool(config, { ...options, ...more });
  try {
    return await work(reads);
  } finally {
    await reads.close();
  }
}

const declared = (maxLag = '5s') => [{ name: 'replica', url: replica.url(), maxLag }];
const inRecovery = async (pool: Pool): Promise<boolean> =>
  (await pool.query<{ recovery: boolean }>('select pg_is_in_recovery() as recovery')).rows[0]!.recovery;
const write = () => primary.query(`insert into filler select repeat('x', 100) from generate_series(1, 2000)`);
const caughtUp = async (): Promise<void> => {
  const [end] = await primary.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn');
  await replica.waitFor('select pg_last_wal_replay_lsn() >= $1::pg_lsn', [end?.lsn]);
};

async function whilePaused<Result>(work: () => Promise<Result>): Promise<Result> {
  await replica.query('select pg_wal_replay_pause()');
  try {
    return await work();
  } finally {
    await replica.query('select pg_wal_replay_resume()');
    await caughtUp();
  }
}

describe('a replica within its bound', () => {
  test('answers, on an idle primary too, however old its last transaction is', async () => {
    await caughtUp();
    const latest = (reads: ReadPool) => reads.read(inRecovery, { after: 'latest' });
    // It is waited for a moment only, and a primary writes a little by itself now and then.
    const answer = await vi.waitUntil(
      async () => {
        const read = await withReads(configOf(declared('1ms')), latest);
        return read.server === 'replica' && read;
      },
      { timeout: 60_000 },
    );
    expect(answer).toEqual({ result: true, server: 'replica', note: null });
  });

  test('sees what was committed before it was asked', async () => {
    await withReads(configOf(declared()), async (reads) => {
      const servers: string[] = [];
      for (let index = 0; index < 20; index += 1) {
        await primary.query('insert into notes values ($1)', [`note ${index}`]);
        const { server, result } = await reads.read(
          async (pool) => (await pool.query<{ n: number }>('select count(*)::int as n from notes')).rows[0]!.n,
          { after: 'latest' },
        );
        expect(result).toBe(index + 1);
        servers.push(server);
      }
      // Where replay takes longer than a moment, the primary answers.
      expect(servers).toContain('replica');
    });
  });
});

test('a replica beyond its maxLag is passed over, and taken again when it is back', async () => {
  await withReads(configOf(declared('300ms')), async (reads) => {
    await vi.waitUntil(async () => (await reads.read(inRecovery)).server === 'replica', { timeout: 60_000 });
    await whilePaused(async () => {
      await write();
      const answer = await vi.waitUntil(
        async () => {
          const read = await reads.read(inRecovery);
          return read.server === 'primary' && read;
        },
        { timeout: 60_000 },
      );
      expect(answer).toMatchObject({ result: false, note: 'replica: it is further behind than its maxLag' });
    });
    await vi.waitUntil(async () => (await reads.read(inRecovery)).server === 'replica', { timeout: 60_000 });
  });
});

test('a reader of its own write gets the primary while the replica has not replayed it', async () => {
  await withReads(configOf(declared('1h')), async (reads) => {
    await whilePaused(async () => {
      await write();
      const [row] = await primary.query<{ lsn: string }>(`select (pg_current_wal_insert_lsn() - '0/0')::text as lsn`);
      const after = BigInt(row!.lsn);
      expect(await reads.read(inRecovery, { after })).toMatchObject({ server: 'primary' });
      // Another reader is content with the bound.
      expect(await reads.read(inRecovery)).toMatchObject({ server: 'replica' });
    });
    const [row] = await primary.query<{ lsn: string }>(`select (pg_current_wal_flush_lsn() - '0/0')::text as lsn`);
    expect(await reads.read(inRecovery, { after: BigInt(row!.lsn) })).toMatchObject({ server: 'replica' });
  });
});

/** What is between reader and replica: it takes connections and answers nothing, until it thaws. */
async function frozenWay() {
  const sockets = new Set<Socket>();
  let [thawed, connections] = [false, 0];
  const server = createServer((client) => {
    connections += 1;
    sockets.add(client.on('error', () => undefined));
    if (thawed) {
      const upstream = connect(replica.port, '127.0.0.1').on('error', () => undefined);
      sockets.add(upstream);
      client.pipe(upstream).pipe(client);
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    thaw: () => void (thawed = true),
    close: () => {
      sockets.forEach((socket) => socket.destroy());
      server.close();
    },
  };
}

test('a frozen replica is asked by the first call only; the next ones cost nothing; it is found again by itself', async () => {
  const time = clock();
  const way = await frozenWay();
  const config = configOf([{ name: 'replica', url: `postgres://postgres@127.0.0.1:${way.port}/postgres` }]);
  await withReads(
    config,
    async (reads) => {
      expect(await reads.read(inRecovery)).toMatchObject({ server: 'primary', note: 'replica: it does not answer' });
      expect(way.connections()).toBe(1);
      for (let call = 0; call < 50; call += 1) {
        expect((await reads.read(inRecovery)).server).toBe('primary');
      }
      expect(way.connections()).toBe(1);
      // A trial that is due runs beside the call that finds it due.
      time.pass(60_000);
      expect((await reads.read(inRecovery)).server).toBe('primary');
      await vi.waitUntil(() => way.connections() === 2, { timeout: 60_000 });
      way.thaw();
      await vi.waitUntil(
        async () => {
          time.pass(60_000);
          return (await reads.read(inRecovery)).server === 'replica';
        },
        { timeout: 60_000, interval: 20 },
      );
    },
    { now: time.now },
  );
  way.close();
});

test('a replica that dies in the middle of a read: the primary answers', async () => {
  const proxy = await startPostgresProxy({ host: '127.0.0.1', port: replica.port });
  const throughProxy = [{ name: 'replica', url: `postgres://postgres@127.0.0.1:${proxy.port}/postgres` }];
  let runs = 0;
  const answer = await withReads(configOf(throughProxy), (reads) =>
    reads.read(
      async (pool) => {
        runs += 1;
        if (await inRecovery(pool)) {
          const slept = pool.query('select pg_sleep(30)');
          await replica.waitFor(`select count(*) = 1 from pg_stat_activity where query = 'select pg_sleep(30)'`);
          await proxy.close();
          await slept;
        }
        return 'done';
      },
      { after: 'latest' },
    ),
  );
  expect(answer).toMatchObject({ result: 'done', server: 'primary' });
  expect(runs).toBe(2);
});

test('a query that fails by itself fails, and is not tried elsewhere', async () => {
  let runs = 0;
  await withReads(configOf(declared()), async (reads) => {
    await expect(
      reads.read(
        (pool) => {
          runs += 1;
          return pool.query('select 1 / 0');
        },
        { after: 'latest' },
      ),
    ).rejects.toMatchObject({ code: 'KPIPE_POSTGRES_FAILED' });
  });
  expect(runs).toBe(1);
});

test('a query that recovery cancels on the replica is answered by the primary', async () => {
  replica.configure({ max_standby_streaming_delay: 0, hot_standby_feedback: 'off' });
  await replica.reload();
  await replica.waitFor(`select current_setting('max_standby_streaming_delay') = '0'`);
  await primary.query('create table seen as select generate_series(1, 1000) as n');
  await caughtUp();
  const answer = await withReads(configOf(declared()), (reads) =>
    reads.read(
      (pool) =>
        inTransaction(pool, 30_000, async (client) => {
          await client.query('set transaction isolation level repeatable read');
          const sql = 'select pg_is_in_recovery() as recovery, count(*) from seen';
          const { rows } = await client.query<{ recovery: boolean }>(sql);
          if (rows[0]!.recovery) {
            const asleep = client.query('select pg_sleep(30) from seen limit 1');
            await Promise.all([asleep, primary.query('delete from seen').then(() => primary.query('vacuum seen'))]);
          }
          return rows[0]!.recovery;
        }),
      { after: 'latest' },
    ),
  );
  expect(answer).toMatchObject({ result: false, server: 'primary' });
});

test('a server that is no replica of this database is never read, whatever its name', async () => {
  const other = await cluster.primary('other');
  await primary.query('create database another');
  await caughtUp();
  const wrong = [
    { name: 'stranger', url: other.url() },
    { name: 'itself', url: primary.url() },
    { name: 'elsewhere', url: replica.url('postgres', 'another') },
  ];
  const answer = await withReads(configOf(wrong), (reads) => reads.read(inRecovery));
  expect(answer.server).toBe('primary');
  expect(answer.note).toContain('stranger: it belongs to another database cluster');
  expect(answer.note).toContain('itself: it is no standby');
  expect(answer.note).toContain('elsewhere: its database is another, not postgres');
});

describe('without the primary', () => {
  test('a read fails, or is answered by a replica that says how old it is, as was asked for', async () => {
    const gone = { ...primary, url: () => `postgres://postgres@127.0.0.1:${port}/postgres` };
    const config = configOf(declared(), gone);
    await expect(withReads(config, (reads) => reads.read(inRecovery))).rejects.toMatchObject({
      code: 'KPIPE_POSTGRES_UNREACHABLE',
    });
    const answer = await withReads(config, (reads) => reads.read(inRecovery), { staleWithoutPrimary: true });
    expect(answer).toMatchObject({ result: true, server: 'replica' });
    expect(answer.note).toContain('the primary does not answer');
  });
});
const port = await freePort();

test('nothing is left open', async () => {
  const client = new Client({ connectionString: primary.url() });
  await client.connect();
  const { rows } = await client.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity where application_name = 'test-reads'`,
  );
  await client.end();
  expect(rows[0]!.n).toBe(0);
});

import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import { parseConfig, type Config } from '../../src/lib/config/load.ts';
import { migrate } from '../../src/lib/postgres/migrate.ts';
import { openPool } from '../../src/lib/postgres/pool.ts';
import { Pace } from '../../src/lib/offsets/follow.ts';
import { lookAtReplicas, watchReplicas } from '../../src/lib/replication/look.ts';
import type { ReplicaReport } from '../../src/lib/replication/report.ts';
import { freePort } from '../support/free-port.ts';
import { replicationCluster, type PostgresServer } from '../support/replication-cluster.ts';
import { startPostgresProxy, type PostgresProxy } from '../support/tcp-proxy.ts';

const cluster = replicationCluster();
let primary: PostgresServer;
let replica1: PostgresServer;
let replica2: PostgresServer;
let proxy: PostgresProxy;

interface Declared {
  readonly name: string;
  readonly url: string;
  readonly maxLag?: string;
}

function configOf(of: PostgresServer | string, replicas: readonly Declared[], alerts: object = {}): Config {
  const primaryUrl = typeof of === 'string' ? of : of.url();
  const text = JSON.stringify({
    pipeline: 'test',
    kafka: { brokers: ['localhost:1'] },
    postgres: { primary: primaryUrl, replicas },
    alerts,
  });
  return parseConfig(text, '/dev/null/kpipe.yaml', process.env);
}

const declared = (...servers: readonly PostgresServer[]): readonly Declared[] =>
  servers.map((server) => ({ name: server.name, url: server.url() }));

function look(config: Config, probe = false): Promise<ReplicaReport> {
  return lookAtReplicas(config, config.postgres!, { probe, conditions: [] });
}

/** Looks until the report is as wanted; what was seen last is in the failure. */
async function lookUntil(config: Config, wanted: (report: ReplicaReport) => boolean): Promise<ReplicaReport> {
  let last: ReplicaReport | undefined;
  try {
    return await vi.waitUntil(
      async () => {
        last = await look(config);
        return wanted(last) && last;
      },
      { timeout: 90_000, interval: 50 },
    );
  } catch {
    throw new Error(`the last report was ${JSON.stringify(last, null, 1)}`);
  }
}

const problemsOf = (report: ReplicaReport): readonly (readonly [string | null, string])[] =>
  report.problems.map(({ standby, code }) => [standby, code]);
const has = (code: string) => (report: ReplicaReport) => report.problems.some((problem) => problem.code === code);
const standbyOf = (report: ReplicaReport, name: string) => {
  const found = report.standbys.find((standby) => standby.name === name);
  if (found === undefined) {
    throw new Error(`no standby ${name} in the report`);
  }
  return found;
};

/** Some WAL, in one transaction. */
const write = (rows = 2000, on: PostgresServer = primary): Promise<unknown> =>
  on.query(`insert into filler select repeat('x', 100) from generate_series(1, ${rows})`);

async function replayed(...standbys: readonly PostgresServer[]): Promise<void> {
  for (const standby of standbys) {
    const [end] = await primary.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn');
    await standby.waitFor('select pg_last_wal_replay_lsn() >= $1::pg_lsn', [end?.lsn]);
  }
}

/** A stopped process goes on whatever the test finds. */
async function whileStopped<Result>(pid: number, work: () => Promise<Result>): Promise<Result> {
  process.kill(pid, 'SIGSTOP');
  try {
    return await work();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

beforeAll(async () => {
  primary = await cluster.primary();
  await primary.query('create table filler (line text)');
  const config = configOf(primary, []);
  const pool = await openPool(config.postgres!, { applicationName: 'test' });
  await migrate(pool, { projections: [], logRetentionMs: 86_400_000, nowMs: Date.now(), planOnly: false });
  await pool.end();
  proxy = await startPostgresProxy({ host: '127.0.0.1', port: primary.port });
  replica1 = await cluster.standby(primary, 'replica1');
  replica2 = await cluster.standby(primary, 'replica2', { port: proxy.port });
});

afterAll(async () => {
  await proxy.close();
});

describe('two standbys of one primary', () => {
  test('idle: nothing is behind, however old the last transaction and the last answer are', async () => {
    await replayed(replica1, replica2);
    // A primary writes a little by itself now and then.
    const report = await lookUntil(
      configOf(primary, declared(replica1, replica2)),
      ({ ok, standbys }) => ok && standbys.every(({ replayBytes }) => replayBytes === 0),
    );
    expect(problemsOf(report)).toEqual([]);
    expect(report.notes).toEqual([]);
    expect(report.primary).toMatchObject({ reachable: true, timeline: 1, inRecovery: false });
    expect(report.standbys.map(({ name }) => name)).toEqual(['replica1', 'replica2']);
    for (const standby of report.standbys) {
      expect(standby).toMatchObject({
        state: 'streaming',
        syncState: 'async',
        upstream: 'primary',
        replayBytes: 0,
        lagMs: 0,
        lagMethod: 'none',
        heartbeatLagMs: 0,
        timeline: 1,
        systemIdentifier: report.primary.systemIdentifier,
        slot: { name: standby.name, active: true, walStatus: 'reserved' },
        receiver: { status: 'streaming' },
        conflicts: { total: 0 },
      });
    }
  });

  test('a probe is replayed by both, and moves the heartbeat', async () => {
    const before = await primary.query<{ beat: Date }>('select beat_at as beat from kpipe.heartbeat');
    const report = await look(configOf(primary, declared(replica1, replica2)), true);
    expect(problemsOf(report)).toEqual([]);
    for (const standby of report.standbys) {
      expect(standby.probeMs).toBeGreaterThan(0);
      expect(standby.lagMethod).toBe('probe');
      const after = await standbyServer(standby.name).query<{ beat: Date }>(
        'select beat_at as beat from kpipe.heartbeat',
      );
      expect(after[0]!.beat.getTime()).toBeGreaterThan(before[0]!.beat.getTime());
    }
  });

  test('paused: the one that is paused is named, the other is well', async () => {
    await replica1.query('select pg_wal_replay_pause()');
    try {
      await write();
      await replayed(replica2);
      const report = await look(configOf(primary, declared(replica1, replica2)), true);
      expect(problemsOf(report)).toEqual([['replica1', 'PAUSED']]);
      expect(standbyOf(report, 'replica1')).toMatchObject({ state: 'streaming', replayPaused: true, probeMs: null });
      expect(standbyOf(report, 'replica1').replayBytes).toBeGreaterThan(100_000);
      expect(standbyOf(report, 'replica2')).toMatchObject({ problems: [], replayBytes: 0 });
    } finally {
      await replica1.query('select pg_wal_replay_resume()');
    }
    await lookUntil(configOf(primary, declared(replica1, replica2)), ({ ok }) => ok);
  });

  test('receiver stopped: the sender still says "streaming" with a lag that froze; the age of its answer tells', async () => {
    await write();
    await replayed(replica1, replica2);
    const report = await whileStopped(await replica1.processOf('walreceiver'), async () => {
      await write(20_000);
      return lookUntil(configOf(primary, declared(replica1, replica2)), has('NETWORK_STALL'));
    });
    expect(problemsOf(report)).toEqual([['replica1', 'NETWORK_STALL']]);
    const standby = standbyOf(report, 'replica1');
    expect(standby.state).toBe('streaming');
    expect(standby.replayBytes).toBeGreaterThan(1_000_000);
    expect(standby.replyAgeMs).toBeGreaterThan(2000);
    expect(standby.replayLagMs ?? 0).toBeLessThan(standby.replyAgeMs!);
    expect(standby.lagMs).toBeGreaterThan(1000);
    await lookUntil(configOf(primary, declared(replica1, replica2)), ({ ok }) => ok);
  });

  test('receiver cut: its row is gone, and the slot keeps what it will need', async () => {
    await replayed(replica2);
    await proxy.close();
    await write(20_000);
    const report = await lookUntil(configOf(primary, declared(replica1, replica2)), has('RECEIVER_DOWN'));
    expect(problemsOf(report)).toEqual([['replica2', 'RECEIVER_DOWN']]);
    const standby = standbyOf(report, 'replica2');
    expect(standby).toMatchObject({ state: null, upstream: null, slot: { name: 'replica2', active: false } });
    expect(standby.slot!.retainedBytes).toBeGreaterThan(1_000_000);
    expect(standby.replayBytes).toBeGreaterThan(1_000_000);
    // It comes back by itself once there is a way.
    replica2.configure({
      primary_conninfo: `host=127.0.0.1 port=${primary.port} user=postgres application_name=replica2`,
    });
    await replica2.reload();
    await lookUntil(configOf(primary, declared(replica1, replica2)), ({ ok }) => ok);
  });

  test('replay slow: what is received is not replayed', async () => {
    await replayed(replica1);
    const config = configOf(primary, declared(replica1), { replica: { lag: '500ms' } });
    const report = await whileStopped(await replica1.processOf('startup'), async () => {
      await write();
      return lookUntil(config, has('REPLAY_SLOW'));
    });
    expect(standbyOf(report, 'replica1').problems).toEqual(['REPLAY_SLOW']);
    expect(standbyOf(report, 'replica1').flushBytes).toBe(0);
    expect(standbyOf(report, 'replica1').replayBytes).toBeGreaterThan(100_000);
  });

  test('lag: beyond the alarm, and nothing else is known to be wrong', async () => {
    // A standby that answers only when asked: its silence says nothing.
    replica1.configure({ wal_receiver_status_interval: 0 });
    await replica1.reload();
    await replica1.waitFor(`select current_setting('wal_receiver_status_interval') = '0'`);
    await write();
    await replayed(replica1);
    const config = configOf(primary, declared(replica1), { replica: { lag: '500ms' } });
    const report = await whileStopped(await replica1.processOf('walreceiver'), async () => {
      await write();
      return lookUntil(config, has('LAG'));
    });
    expect(standbyOf(report, 'replica1').problems).toEqual(['LAG']);
    replica1.configure({ wal_receiver_status_interval: '1s' });
    await replica1.reload();
  });

  test('conflict: replay waits for a query on the standby, which is named', async () => {
    replica1.configure({ max_standby_streaming_delay: -1, hot_standby_feedback: 'off' });
    await replica1.reload();
    await primary.query('create table seen (n int)');
    await primary.query('insert into seen select generate_series(1, 1000)');
    await replayed(replica1);
    const reader = new Client({ connectionString: replica1.url(), application_name: 'long-report' });
    await reader.connect();
    try {
      await reader.query('begin isolation level repeatable read');
      await reader.query('select count(*) from seen');
      await primary.query('delete from seen');
      await primary.query('vacuum seen');
      const report = await lookUntil(configOf(primary, declared(replica1)), has('CONFLICT'));
      const problem = report.problems.find(({ code }) => code === 'CONFLICT');
      expect(problem).toMatchObject({ standby: 'replica1' });
      expect(problem!.detail).toContain('long-report');
      expect(standbyOf(report, 'replica1').hotStandbyFeedback).toBe(false);
    } finally {
      await reader.end();
    }
    await lookUntil(configOf(primary, declared(replica1, replica2)), ({ ok }) => ok);
  });

  test('conflicts that were ended by cancelling queries are told by the look after them', async () => {
    replica1.configure({ max_standby_streaming_delay: 0 });
    await replica1.reload();
    await primary.query('insert into seen select generate_series(1, 1000)');
    await replayed(replica1);
    const reader = new Client({ connectionString: replica1.url() });
    reader.on('error', () => undefined);
    await reader.connect();
    await reader.query('begin isolation level repeatable read');
    await reader.query('select count(*) from seen');
    const config = configOf(primary, declared(replica1, replica2));
    const looks: ReplicaReport[] = [];
    const enough = new AbortController();
    const watching = watchReplicas(
      config,
      config.postgres!,
      { pace: new Pace(50), probe: false },
      (seen) => {
        if (seen.kind === 'report') {
          looks.push(seen.report);
          if (has('CONFLICT')(seen.report)) {
            enough.abort();
          }
        }
      },
      AbortSignal.any([enough.signal, AbortSignal.timeout(90_000)]),
    );
    await vi.waitUntil(() => looks.length > 0, { timeout: 60_000 });
    await primary.query('delete from seen');
    await primary.query('vacuum seen');
    await watching;
    await reader.end();
    const last = looks.at(-1)!;
    expect(problemsOf(looks[0]!)).toEqual([]);
    expect(problemsOf(last)).toEqual([['replica1', 'CONFLICT']]);
    expect(last.problems[0]!.detail).toContain('cancelled');
    expect(standbyOf(last, 'replica1').conflicts!.snapshot).toBeGreaterThan(0);
  });

  test('declared and not there is missing; there and not declared is named', async () => {
    const ghost = { name: 'ghost', url: `postgres://postgres@127.0.0.1:${await freePort()}/postgres` };
    const report = await look(configOf(primary, [...declared(replica1), ghost]));
    expect(problemsOf(report)).toEqual([
      ['ghost', 'MISSING'],
      ['replica2', 'UNDECLARED'],
    ]);
    expect(standbyOf(report, 'ghost')).toMatchObject({ reachable: false, state: null, lagMs: null, replayBytes: null });
    expect(standbyOf(report, 'replica2')).toMatchObject({ declared: false, state: 'streaming' });
  });

  test('a standby that streams and cannot be asked from here is not taken for missing', async () => {
    const wrong = { name: 'replica1', url: `postgres://postgres@127.0.0.1:${await freePort()}/postgres` };
    const report = await look(configOf(primary, [wrong, ...declared(replica2)]));
    expect(problemsOf(report)).toEqual([['replica1', 'UNREACHABLE']]);
    expect(standbyOf(report, 'replica1')).toMatchObject({ state: 'streaming', reachable: false, replayBytes: 0 });
  });

  test('a standby of a standby has that one as its upstream', async () => {
    const leaf = await cluster.standby(replica1, 'leaf');
    const report = await lookUntil(configOf(primary, declared(replica1, replica2, leaf)), ({ ok }) => ok);
    expect(standbyOf(report, 'leaf')).toMatchObject({ upstream: 'replica1', state: 'streaming', replayBytes: 0 });
    await leaf.stop();
  });

  test('who may not see statistics is told so, and nothing is made up', async () => {
    await primary.query('create role plain login');
    await replayed(replica1, replica2);
    const plain = [replica1, replica2].map((server) => ({ name: server.name, url: server.url('plain') }));
    const report = await look(configOf(primary.url('plain'), plain), true);
    expect(problemsOf(report)).toEqual([]);
    expect(report.notes.join()).toContain('pg_monitor');
    expect(report.standbys.map(({ state, replayBytes }) => [state, replayBytes])).toEqual([
      [null, 0],
      [null, 0],
    ]);
    expect(report.standbys.every(({ probeMs }) => probeMs !== null)).toBe(true);
    expect(report.primary.heartbeatAgeMs).toBeNull();
  });

  test('a primary that froze or is gone is an answer; the standbys are asked all the same', async () => {
    const config = configOf(primary, declared(replica1, replica2));
    const [postmaster] = await primary.query<{ pid: number }>(
      `select (regexp_match(pg_read_file('postmaster.pid'), '^[0-9]+'))[1]::int as pid`,
    );
    const frozen = await whileStopped(postmaster!.pid, () => look(config));
    expect(problemsOf(frozen)).toEqual([[null, 'PRIMARY_UNREACHABLE']]);
    expect(frozen.standbys.map(({ reachable, inRecovery }) => [reachable, inRecovery])).toEqual([
      [true, true],
      [true, true],
    ]);
    await primary.stop('SIGINT');
    const gone = await look(config);
    expect(problemsOf(gone)).toEqual([[null, 'PRIMARY_UNREACHABLE']]);
    await primary.start();
    await lookUntil(config, ({ ok }) => ok);
  });

  test('no server at all is a failure', async () => {
    const nobody = { name: 'replica1', url: `postgres://postgres@127.0.0.1:${await freePort()}/postgres` };
    await expect(look(configOf(nobody.url, [nobody]))).rejects.toMatchObject({ code: 'KPIPE_POSTGRES_UNREACHABLE' });
  });

  function standbyServer(name: string): PostgresServer {
    return name === 'replica1' ? replica1 : replica2;
  }
});

test('a slot is at risk before it is lost, and lost is said of the standby and of the slot that nobody declares', async () => {
  const own = await cluster.primary('slots', { max_slot_wal_keep_size: '8MB', max_wal_size: '4MB' });
  await own.query('create table filler (line text)');
  const lagging = await cluster.standby(own, 'lagging');
  const config = configOf(own, declared(lagging));
  await lookUntil(config, ({ ok }) => ok);
  await lagging.stop();
  const written = await lookUntilWritten(config, own, has('SLOT_AT_RISK'));
  expect(problemsOf(written)).toEqual([
    ['lagging', 'MISSING'],
    ['lagging', 'SLOT_AT_RISK'],
  ]);
  expect(standbyOf(written, 'lagging').slot!.retainedBytes).toBeGreaterThan(1_000_000);
  await lookUntilWritten(config, own, has('SLOT_LOST'));
  await lagging.start();
  const lost = await lookUntil(config, ({ standbys }) => standbys[0]?.reachable === true);
  expect(problemsOf(lost)).toEqual([['lagging', 'SLOT_LOST']]);
  expect(standbyOf(lost, 'lagging').slot).toMatchObject({ walStatus: 'lost', retainedBytes: null, active: false });
  const undeclared = await look(configOf(own, []));
  expect(problemsOf(undeclared)).toEqual([[null, 'SLOT_LOST']]);
});

/** Writes a segment's worth, checkpoints, and looks; again until the report is as wanted. */
async function lookUntilWritten(
  config: Config,
  on: PostgresServer,
  wanted: (report: ReplicaReport) => boolean,
): Promise<ReplicaReport> {
  for (let round = 0; round < 40; round += 1) {
    await write(5000, on);
    await on.query('checkpoint');
    const report = await look(config);
    if (wanted(report)) {
      return report;
    }
  }
  throw new Error('the report never was as wanted');
}

test('a standby that was promoted is a second primary; another that went on with the first is on another timeline', async () => {
  const own = await cluster.primary('old');
  await own.query('create table filler (line text)');
  const promoted = await cluster.standby(own, 'promoted');
  const faithful = await cluster.standby(own, 'faithful');
  await lookUntil(configOf(own, declared(promoted, faithful)), ({ ok }) => ok);

  await promoted.query('select pg_promote(true, 30)');
  await write(2000, own);
  const [end] = await own.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn');
  await faithful.waitFor('select pg_last_wal_replay_lsn() >= $1::pg_lsn', [end?.lsn]);

  const twoPrimaries = await look(configOf(own, declared(promoted, faithful)));
  expect(problemsOf(twoPrimaries)).toEqual([['promoted', 'NOT_READ_ONLY']]);
  expect(twoPrimaries.problems[0]!.detail).toContain('two primaries (timeline 2 there, 1 on the primary)');
  expect(standbyOf(twoPrimaries, 'promoted')).toMatchObject({ inRecovery: false, timeline: 2, replayBytes: null });

  // The failover is accepted: the promoted one is the primary now, and the other is told to follow it.
  await promoted.query(`select pg_create_physical_replication_slot('faithful', true)`);
  faithful.configure({
    primary_conninfo: `host=127.0.0.1 port=${promoted.port} user=postgres application_name=faithful`,
  });
  await faithful.reload();
  const differs = await lookUntil(configOf(promoted, declared(faithful)), has('TIMELINE_MISMATCH'));
  expect(problemsOf(differs)).toEqual([['faithful', 'TIMELINE_MISMATCH']]);
  expect(differs.primary.timeline).toBe(2);
  expect(standbyOf(differs, 'faithful')).toMatchObject({ timeline: 1, replayBytes: null, lagMs: null });

  const reversed = await look(configOf(faithful, declared(promoted)));
  expect(problemsOf(reversed).map(([, code]) => code)).toContain('PRIMARY_IN_RECOVERY');

  const stranger = await look(configOf(promoted, declared(primary)));
  expect(problemsOf(stranger)).toEqual([
    ['primary', 'SYSTEM_MISMATCH'],
    ['faithful', 'UNDECLARED'],
  ]);
});

import { Client } from 'pg';
import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';

import type { ReplayHistoryResult } from '../../src/commands/replay/history.ts';
import { openSource } from '../../src/lib/kafka/open-source.ts';
import { replayPipeline } from '../support/replay-pipeline.ts';
import type { Ended, Running } from '../support/run-kpipe.ts';

const pipeline = await replayPipeline('events');
const { admin, database, group, run, start, topic } = pipeline;

const json = ({ stdout }: Ended): unknown => JSON.parse(stdout);
const historyOf = (ended: Ended): ReplayHistoryResult => json(ended) as ReplayHistoryResult;

/** Triggers ask for advisory locks that the test has or has not; kpipe knows nothing of it. */
const beforeTruth = 101;
const insideCommit = 102;
const triggers = `
  create function public.hold() returns trigger language plpgsql as $$
  begin
    perform pg_advisory_xact_lock_shared(tg_argv[0]::bigint);
    return new;
  end $$;
  create trigger hold_before_truth before update on kpipe.consumer_offset for each row
    when (old.replay_id is distinct from new.replay_id) execute function public.hold(${beforeTruth});
  create constraint trigger hold_inside_commit after update on kpipe.consumer_offset
    deferrable initially deferred for each row
    when (old.replay_id is distinct from new.replay_id) execute function public.hold(${insideCommit});`;

const hold = (client: Client, key: number) => client.query('select pg_advisory_lock($1)', [key]);
const release = (client: Client, key: number) => client.query('select pg_advisory_unlock($1)', [key]);

/** The backends that wait for an advisory lock, as soon as there is one. */
async function held(key: number): Promise<readonly number[]> {
  return vi.waitUntil(
    async () => {
      const { rows } = await database.query<{ pid: number }>(
        `select pid from pg_locks where locktype = 'advisory' and objid = $1 and not granted
            and database = (select oid from pg_database where datname = current_database())`,
        [key],
      );
      return rows.length > 0 && rows.map(({ pid }) => pid);
    },
    { timeout: 90_000, interval: 20 },
  );
}

async function backendsGone(): Promise<void> {
  await vi.waitUntil(
    async () => {
      const { rows } = await database.query<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity
          where datname = current_database() and application_name like 'kpipe:replay%'`,
      );
      return rows[0]?.count === 0;
    },
    { timeout: 90_000, interval: 20 },
  );
}

const positions = async (): Promise<readonly string[]> => {
  const { rows } = await database.query<{ next_offset: string }>(
    `select next_offset from kpipe.consumer_offset where role = 'events' and topic = $1 order by partition`,
    [topic],
  );
  return rows.map((row) => row.next_offset);
};
const committed = async (): Promise<readonly string[]> =>
  (await admin.committedOffsets(group))
    .toSorted((left, right) => left.partition - right.partition)
    .map(({ offset }) => offset.toString());

async function drain(): Promise<void> {
  const { code, stderr } = await run('consume', 'events', '--until-drained', '--json');
  expect(code, `stderr: ${stderr}`).toBe(0);
}

async function newest(): Promise<ReplayHistoryResult['replays'][number]> {
  const ended = await run('replay', 'history', '--json');
  expect(ended.code, `stderr: ${ended.stderr}`).toBe(0);
  const [first] = historyOf(ended).replays;
  if (first === undefined) {
    throw new Error('no replay in the history');
  }
  return first;
}

async function kill({ child, ended }: Running): Promise<void> {
  child.kill('SIGKILL');
  await ended;
}

const drained = ['60', '30', '0'];
const replayed = ['0', '0', '0'];
const apply = (...flags: readonly string[]): Running =>
  start('replay', 'apply', 'events', '--to', 'earliest', '--yes', '--json', ...flags);

beforeAll(async () => {
  await drain();
  await database.query(triggers);
});

afterEach(() => database.query('select pg_advisory_unlock_all()'));

/** Kills `replay apply` at the step and answers when the database has settled. */
const kills = {
  'between journal and truth': async () => {
    await hold(database, beforeTruth);
    const operator = apply();
    const backends = await held(beforeTruth);
    await kill(operator);
    await database.query('select pg_terminate_backend(pid) from unnest($1::int[]) as pid', [backends]);
    await release(database, beforeTruth);
    await backendsGone();
  },
  'between truth and mirror': async () => {
    await hold(database, insideCommit);
    const operator = apply();
    await held(insideCommit);
    await kill(operator);
    // The server goes on with the COMMIT that it has.
    await release(database, insideCommit);
    await backendsGone();
  },
  'between mirror and the last look': async () => {
    const locker = new Client({ connectionString: pipeline.databaseUrl });
    locker.on('error', () => undefined);
    await locker.connect();
    await hold(database, insideCommit);
    const operator = apply();
    await held(insideCommit);
    await locker.query('begin');
    // Granted as soon as the replay's transaction has ended; what it reads back then waits for us.
    const locked = locker.query('lock table kpipe.consumer_offset in access exclusive mode');
    await release(database, insideCommit);
    await locked;
    await vi.waitUntil(async () => (await committed()).join() === replayed.join(), { timeout: 90_000, interval: 50 });
    await kill(operator);
    await locker.query('rollback');
    await locker.end();
    await backendsGone();
  },
} as const;
type Step = keyof typeof kills;

describe.each<[Step, { truth: string; mirror: string }]>([
  ['between journal and truth', { truth: 'not set', mirror: 'not set' }],
  ['between truth and mirror', { truth: 'set', mirror: 'not set' }],
  ['between mirror and the last look', { truth: 'set', mirror: 'set' }],
])('replay apply, killed %s', (step, expected) => {
  test('is told by history, stands in the way of others, and can be finished', async () => {
    await kills[step]();
    const left = await newest();
    expect(left).toMatchObject({ state: 'half-done', halfDone: expected });
    expect(await positions()).toEqual(expected.truth === 'set' ? replayed : drained);

    const other = await run('replay', 'apply', 'events', '--to', '7', '--partition', '0', '--yes');
    expect(other.code, `stderr: ${other.stderr}`).toBe(4);
    expect(other.stderr).toContain(`kpipe replay apply --resume ${left.id}`);

    const resumed = await run('replay', 'apply', '--resume', left.id, '--yes', '--json');
    expect(resumed.code, `stderr: ${resumed.stderr}`).toBe(0);
    expect(await positions()).toEqual(replayed);
    expect(await committed()).toEqual(replayed);
    const { replays } = historyOf(await run('replay', 'history', '--json'));
    expect(replays.find(({ id }) => id === left.id)?.state).toBe('done');
    expect((await run('replay', 'apply', '--resume', left.id, '--yes')).code).toBe(2);
    await drain();
  });

  test('or undone', async () => {
    expect(await positions()).toEqual(drained);
    await kills[step]();
    const left = await newest();
    const undone = await run('replay', 'undo', '--yes', '--json');
    expect(undone.code, `stderr: ${undone.stderr}`).toBe(0);
    expect(json(undone)).toMatchObject({ undoes: left.id, state: expected.truth === 'set' ? 'done' : 'withdrawn' });
    expect(await positions()).toEqual(drained);
    expect(await committed()).toEqual(drained);
    const { replays } = historyOf(await run('replay', 'history', '--json'));
    expect(replays.find(({ id }) => id === left.id)?.state).toBe(expected.truth === 'set' ? 'undone' : 'withdrawn');
  });
});

describe('two operators at once', () => {
  test('the one that is at it goes on, the other is refused and names it', async () => {
    await hold(database, beforeTruth);
    const first = apply();
    await held(beforeTruth);
    const second = await run('replay', 'apply', 'events', '--to', '7', '--partition', '0', '--yes', '--json');
    expect(second.code, `stderr: ${second.stderr}`).toBe(4);
    expect(json(second)).toMatchObject({ error: { code: 'KPIPE_REFUSED' } });
    await release(database, beforeTruth);
    const won = await first.ended;
    expect(won.code, `stderr: ${won.stderr}`).toBe(0);
    expect(second.stderr).toContain((json(won) as { readonly id: string }).id);
    expect(await positions()).toEqual(replayed);
    await drain();
  });

  test('from the same instant on, positions are those of one of them, and nothing is half done', async () => {
    const targets = ['10', '20', '15'];
    const ended = await Promise.all(
      targets.map((target) => run('replay', 'apply', 'events', '--to', target, '--partition', '0', '--yes', '--json')),
    );
    const codes = ended.map(({ code }) => code);
    expect(codes).toContain(0);
    expect(codes.filter((code) => code !== 0 && code !== 4)).toEqual([]);
    const { replays } = historyOf(await run('replay', 'history', '--json'));
    expect(replays.slice(0, 3).map(({ state }) => state)).not.toContain('half-done');
    const winner = replays.find(({ state }) => state === 'done');
    expect((await positions())[0]).toBe(winner?.partitions[0]?.to);
    expect((await committed())[0]).toBe((await positions())[0]);
    await drain();
  });
});

describe('the operator dies while the consumers stand aside', () => {
  test('and they come back by themselves; nothing was changed', async () => {
    const consumer = start('consume', 'events', '--json');
    const clients = async (): Promise<readonly string[]> =>
      (await admin.describeGroup(group)).members.map(({ clientId }) => clientId);
    await vi.waitUntil(async () => (await clients()).includes('kpipe-events'), { timeout: 120_000, interval: 100 });
    // Some other program in the group, which steps aside for nobody: the operator goes on waiting.
    const stranger = await openSource(pipeline.config.kafka, {
      topic,
      group,
      clientId: 'stranger',
      maxBytesPerPartition: 1024 * 1024,
      maxWaitMs: 500,
      instanceId: null,
      notice: () => undefined,
    });
    onTestFinished(() => stranger.stop());
    const reading = stranger.run({
      joined: () => undefined,
      assigned: () => Promise.resolve(0n),
      fetched: () => Promise.resolve(),
      revoked: () => Promise.resolve(),
    });
    await vi.waitUntil(async () => (await clients()).length === 2, { timeout: 120_000, interval: 100 });

    const operator = apply('--pause-role', '--pause-within', '5m');
    await consumer.shows(/standing aside/);
    await vi.waitUntil(async () => (await clients()).join() === 'stranger', { timeout: 120_000, interval: 100 });
    await kill(operator);
    await consumer.shows(/coming back/);
    await vi.waitUntil(async () => (await clients()).includes('kpipe-events'), { timeout: 120_000, interval: 100 });
    await stranger.stop();
    await reading;
    consumer.child.kill('SIGTERM');
    expect((await consumer.ended).code).toBe(0);
    expect(await positions()).toEqual(drained);
  });
});

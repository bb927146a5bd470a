import { KpipeError, messageOf } from '../errors.ts';
import { postgresError, sqlstateOf } from './failures.ts';
import { inTransaction, type Pool, type PoolClient } from './pool.ts';

/**
 * Counts and hashes of whole tables. The hash is a sum over the rows' text, so it does not depend on their order; the
 * settings that a row's text depends on are fixed.
 */
export interface HashedTable {
  readonly table: string;
  readonly rows: string;
  readonly hash: string;
}

const fixedText = `
  set local timezone = 'UTC';
  set local datestyle = 'ISO, YMD';
  set local intervalstyle = 'postgres';
  set local extra_float_digits = 1;
  set local bytea_output = 'hex';
  set local lc_monetary = 'C';
  set local search_path = '';
  set local row_security = off;
  set local jit = off`;

const selectTables = `
  select format('%I.%I', n.nspname, c.relname) as name, has_table_privilege(c.oid, 'SELECT') as readable
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'm')
    and c.relpersistence = 'p'
    and c.relispopulated
    and n.nspname <> 'information_schema'
    and n.nspname !~ '^pg_'
  order by 1`;

/** Every permanent table of the pool's database; those that cannot be read are named. */
export function hashAllTables(
  pool: Pool,
  signal: AbortSignal,
): Promise<{ readonly tables: readonly HashedTable[]; readonly unreadable: readonly string[] }> {
  return inTransaction(pool, 0, async (client) => {
    await client.query(fixedText);
    const { rows } = await client.query<{ name: string; readable: boolean }>(selectTables);
    const tables: HashedTable[] = [];
    const unreadable = rows.filter(({ readable }) => !readable).map(({ name }) => name);
    for (const { name } of rows.filter(({ readable }) => readable)) {
      signal.throwIfAborted();
      const hashed = await hashTable(client, name);
      if (hashed.kind === 'hashed') {
        tables.push(hashed);
      } else {
        unreadable.push(name);
      }
    }
    return { tables, unreadable };
  });
}

export type TableAnswer =
  | ({ readonly kind: 'hashed' } & HashedTable)
  | { readonly kind: 'failed'; readonly table: string; readonly reason: string };

/** Named tables; one that cannot be read is an answer. */
export function hashTables(pool: Pool, names: readonly string[], signal: AbortSignal): Promise<readonly TableAnswer[]> {
  return inTransaction(pool, 0, async (client) => {
    await client.query(fixedText);
    const answers: TableAnswer[] = [];
    for (const name of names) {
      signal.throwIfAborted();
      answers.push(await hashTable(client, name));
    }
    return answers;
  });
}

/** `name` is quoted by the server (format %I). */
async function hashTable(client: PoolClient, name: string): Promise<TableAnswer> {
  await client.query('savepoint kpipe_table');
  try {
    const { rows } = await client.query<{ rows: string; hash: string }>(
      `select count(*)::text as rows, coalesce(sum(pg_catalog.hashtextextended(_kpipe_row::text, 0)), 0)::text as hash
       from only ${name} as _kpipe_row`,
    );
    await client.query('release savepoint kpipe_table');
    return { kind: 'hashed', table: name, rows: rows[0]?.rows ?? '0', hash: rows[0]?.hash ?? '0' };
  } catch (error) {
    const failure = postgresError(error);
    if (failure.code === 'KPIPE_POSTGRES_UNREACHABLE') {
      throw failure;
    }
    await client.query('rollback to savepoint kpipe_table');
    return { kind: 'failed', table: name, reason: failure.message };
  }
}

export function listDatabases(pool: Pool): Promise<readonly string[]> {
  return inTransaction(pool, 10_000, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      `select datname from pg_database
       where datallowconn and not datistemplate and has_database_privilege(oid, 'CONNECT')
       order by datname`,
    );
    return rows.map(({ datname }) => datname);
  });
}

export interface Watermark {
  readonly table: string;
  readonly topic: string;
  readonly partition: number;
  readonly nextOffset: string;
}

export interface HashedWatermark extends Watermark {
  readonly rows: string;
  readonly hash: string;
}

/** The pipeline's rows below each partition's position, in one snapshot; undefined where its tables are missing. */
export function hashBelowPositions(
  pool: Pool,
  signal: AbortSignal,
): Promise<{ readonly lsn: string; readonly partitions: readonly HashedWatermark[] } | undefined> {
  return inTransaction(pool, 0, async (client) => {
    await client.query(`set transaction isolation level repeatable read; ${fixedText}`);
    const present = await client.query<{ present: boolean }>(
      `select to_regclass('kpipe.consumer_offset') is not null as present`,
    );
    if (present.rows[0]?.present !== true) {
      return undefined;
    }
    const positions = await client.query<{ role: string; topic: string; partition: number; next_offset: string }>(
      `select role, topic, partition, next_offset::text
       from kpipe.consumer_offset
       where role in ('events', 'logs')
       order by role, topic, partition`,
    );
    const watermarks = positions.rows.map(({ role, topic, partition, next_offset }) => {
      return { table: `kpipe.${role}`, topic, partition, nextOffset: next_offset };
    });
    const partitions = await hashEach(client, watermarks, signal);
    // Behind everything that this snapshot has seen: each commit that it saw is in the log before now.
    const lsn = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
    return { lsn: lsn.rows[0]?.lsn ?? '0/0', partitions };
  });
}

export function hashWatermarks(
  pool: Pool,
  watermarks: readonly Watermark[],
  signal: AbortSignal,
): Promise<readonly HashedWatermark[]> {
  return inTransaction(pool, 0, async (client) => {
    await client.query(fixedText);
    return hashEach(client, watermarks, signal);
  });
}

async function hashEach(
  client: PoolClient,
  watermarks: readonly Watermark[],
  signal: AbortSignal,
): Promise<readonly HashedWatermark[]> {
  const hashed: HashedWatermark[] = [];
  for (const watermark of watermarks) {
    signal.throwIfAborted();
    const table = watermark.table === 'kpipe.logs' ? 'kpipe.logs' : 'kpipe.events';
    const { rows } = await client.query<{ rows: string; hash: string }>(
      `select count(*)::text as rows, coalesce(sum(pg_catalog.hashtextextended(_kpipe_row::text, 0)), 0)::text as hash
       from ${table} as _kpipe_row
       where topic = $1 and partition = $2 and kafka_offset < $3`,
      [watermark.topic, watermark.partition, watermark.nextOffset],
    );
    hashed.push({ ...watermark, rows: rows[0]?.rows ?? '0', hash: rows[0]?.hash ?? '0' });
  }
  return hashed;
}

/** Any number; all kpipes on one database agree on it. */
const pauseLock = 7_160_212_001;
const pollMs = 20;

export interface PauseRequest {
  readonly afterLsn: string;
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
  /** Told right before the pause, so that it can be undone after a kill. */
  readonly beforePause: () => void;
  readonly afterResume: () => void;
}

/**
 * Holds a standby's replay at one LSN, at or after `afterLsn`, while `work` looks. A second kpipe is turned away, by a lock
 * of this transaction (a session's lock would not hold through PgBouncer) and by the pause itself. A standby that lags
 * cancels statements and ends idle transactions to catch up: until it is paused that is tried again.
 * @throws KPIPE_LOCKED, KPIPE_BACKUP_FAILED when the standby does not come so far within `deadlineMs`
 */
export async function withReplayPaused<Result>(
  pool: Pool,
  request: PauseRequest,
  work: (lsn: string) => Promise<Result>,
): Promise<Result> {
  const deadline = performance.now() + request.deadlineMs;
  let looking = false;
  for (;;) {
    await until(request, 'the standby has not replayed the backup', () => hasReplayed(pool, request.afterLsn));
    try {
      return await pausedOnce(pool, request, (lsn) => {
        looking = true;
        return work(lsn);
      });
    } catch (error) {
      if (looking || request.signal.aborted || !isRecoveryConflict(error) || performance.now() > deadline) {
        throw error;
      }
    }
  }
}

function pausedOnce<Result>(
  pool: Pool,
  request: PauseRequest,
  work: (lsn: string) => Promise<Result>,
): Promise<Result> {
  return inTransaction(pool, 0, async (client) => {
    await takePauseLock(client);
    request.beforePause();
    try {
      await client.query('select pg_wal_replay_pause()');
      await until(request, 'the standby does not pause its replay', async () => {
        const { rows } = await client.query<{ state: string }>('select pg_get_wal_replay_pause_state() as state');
        return rows[0]?.state === 'paused';
      });
      const { rows } = await client.query<{ lsn: string }>('select pg_last_wal_replay_lsn()::text as lsn');
      request.signal.throwIfAborted();
      return await work(rows[0]?.lsn ?? '0/0');
    } finally {
      await resumeReplay(pool);
      request.afterResume();
    }
  });
}

async function hasReplayed(pool: Pool, lsn: string): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ reached: boolean | null; paused: boolean }>(
      `select pg_last_wal_replay_lsn() >= $1::pg_lsn as reached,
              case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end as paused`,
      [lsn],
    );
    if (rows[0]?.paused === true) {
      // It would not come any further while we wait.
      throw pausedAlready();
    }
    return rows[0]?.reached === true;
  } catch (error) {
    if (isRecoveryConflict(error)) {
      return false;
    }
    throw error;
  }
}

/** The statement was cancelled (40001), or its idle transaction's connection ended (FATAL, seen as a broken connection). */
function isRecoveryConflict(error: unknown): boolean {
  return (
    sqlstateOf(error) === '40001' ||
    /conflict with recovery|connection error|Connection terminated/i.test(messageOf(error))
  );
}

/**
 * Ends a pause. What was held back is replayed at once, and may cancel the very statement that let it (SQLSTATE 40001, a
 * recovery conflict): only the standby's own state tells. @throws KPIPE_BACKUP_FAILED
 */
export async function resumeReplay(pool: Pool): Promise<void> {
  let failure: unknown;
  for (let tries = 0; tries < 10; tries += 1) {
    try {
      await pool.query('select pg_wal_replay_resume() where pg_is_in_recovery()');
      return;
    } catch (error) {
      failure = error;
      if (await isRunning(pool)) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs * 5));
    }
  }
  throw new KpipeError(
    'KPIPE_BACKUP_FAILED',
    `the standby's replay is still paused: ${postgresError(failure).message}`,
    {
      next: 'on the standby: select pg_wal_replay_resume(); the next kpipe backup does it too',
      cause: failure,
    },
  );
}

async function isRunning(pool: Pool): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ running: boolean }>(
      'select not pg_is_in_recovery() or not pg_is_wal_replay_paused() as running',
    );
    return rows[0]?.running === true;
  } catch {
    return false;
  }
}

async function takePauseLock(client: PoolClient): Promise<void> {
  const { rows } = await client.query<{ locked: boolean; recovery: boolean; paused: boolean }>(
    `select pg_try_advisory_xact_lock($1) as locked,
            pg_is_in_recovery() as recovery,
            pg_is_in_recovery() and pg_is_wal_replay_paused() as paused`,
    [pauseLock],
  );
  const row = rows[0];
  if (row?.recovery !== true) {
    throw new KpipeError('KPIPE_BACKUP_FAILED', 'the replica that is declared as a standby is not in recovery', {
      next: 'kpipe replica status',
    });
  }
  if (!row.locked || row.paused) {
    throw pausedAlready();
  }
}

function pausedAlready(): KpipeError {
  return new KpipeError('KPIPE_LOCKED', "the standby's replay is paused already, by another backup or by hand", {
    next: 'wait for it; a pause that was left behind ends with: select pg_wal_replay_resume()',
  });
}

async function until(
  { deadlineMs, signal }: { readonly deadlineMs: number; readonly signal: AbortSignal },
  what: string,
  reached: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!(await reached())) {
    signal.throwIfAborted();
    if (performance.now() > deadline) {
      throw new KpipeError('KPIPE_BACKUP_FAILED', `${what} within ${Math.round(deadlineMs / 1000)} s`, {
        next: 'kpipe replica status says why',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

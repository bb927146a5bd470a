import { Secret } from '../config/secrets.ts';
import { KpipeError } from '../errors.ts';
import { sqlstateOf } from './failures.ts';
import { openPoolOn, poolEnd, type Pool } from './pool.ts';

/** Questions to a server that kpipe itself has started on restored files, through its socket. */

/** `role` is who initdb made; the socket's directory lets in only the server's own user (and root). */
export function openRestored(socketDirectory: string, role: string, database: string): Promise<Pool> {
  const host = encodeURIComponent(socketDirectory);
  const url = `postgres://${encodeURIComponent(role)}@${host}:5432/${encodeURIComponent(database)}`;
  return openPoolOn(new Secret(url, { directory: '/', env: {} }), { applicationName: 'kpipe:backup', max: 2 });
}

/** Runs `work` on one database of a restored server. */
export async function withRestored<Result>(
  socketDirectory: string,
  role: string,
  database: string,
  work: (pool: Pool) => Promise<Result>,
): Promise<Result> {
  const pool = await openRestored(socketDirectory, role, database);
  const end = poolEnd(pool);
  try {
    return await work(pool);
  } finally {
    await end();
  }
}

export type RecoveryState = 'starting' | 'replaying' | 'paused' | 'promoted';

export async function recoveryState(pool: Pool): Promise<RecoveryState> {
  try {
    const { rows } = await pool.query<{ recovery: boolean; state: string | null }>(
      `select pg_is_in_recovery() as recovery,
              case when pg_is_in_recovery() then pg_get_wal_replay_pause_state() end as state`,
    );
    return rows[0]?.recovery === true ? (rows[0].state === 'paused' ? 'paused' : 'replaying') : 'promoted';
  } catch (error) {
    const state = sqlstateOf(error);
    // No socket yet, or "the database system is starting up".
    if (state === undefined || state === '57P03') {
      return 'starting';
    }
    throw error;
  }
}

/** Makes the restored server writable, and waits for that. */
export async function promote(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ promoted: boolean }>('select pg_promote(true, 600) as promoted');
  if (rows[0]?.promoted !== true) {
    throw new KpipeError('KPIPE_BACKUP_FAILED', 'the restored server did not become writable within 10 minutes');
  }
}

/** Whether a query's one row begins with `true`; read-only. */
export async function holds(pool: Pool, query: string): Promise<boolean> {
  const client = await pool.connect();
  try {
    await client.query('begin transaction read only');
    const { rows } = await client.query<unknown[]>({ text: query, rowMode: 'array' });
    await client.query('rollback');
    return rows.length === 1 && rows[0]?.[0] === true;
  } finally {
    client.release(true);
  }
}

export interface RestoredPosition {
  readonly role: string;
  readonly topic: string;
  readonly partition: number;
  readonly nextOffset: string;
}

/** Where the roles stand in the restored database; none where the pipeline's tables are not in it. */
export async function restoredPositions(pool: Pool): Promise<readonly RestoredPosition[]> {
  const present = await pool.query<{ present: boolean }>(
    `select to_regclass('kpipe.consumer_offset') is not null as present`,
  );
  if (present.rows[0]?.present !== true) {
    return [];
  }
  const { rows } = await pool.query<{ role: string; topic: string; partition: number; next_offset: string }>(
    `select role, topic, partition, next_offset::text
     from kpipe.consumer_offset
     order by role, topic, partition`,
  );
  return rows.map(({ role, topic, partition, next_offset }) => ({ role, topic, partition, nextOffset: next_offset }));
}

/** The time of the last transaction that was replayed. */
export async function lastReplayedAt(pool: Pool): Promise<Date | null> {
  const { rows } = await pool.query<{ at: Date | null }>('select pg_last_xact_replay_timestamp() as at');
  return rows[0]?.at ?? null;
}

import { KpipeError } from '../errors.ts';
import { withBackupPool } from '../postgres/backup-source.ts';
import { hashAllTables, hashBelowPositions, listDatabases, withReplayPaused } from '../postgres/fingerprint.ts';
import type { Pool } from '../postgres/pool.ts';
import type { Fingerprint, TableFingerprint } from './entry.ts';
import { forgetPause, recordPause, type BackupPlace } from './place.ts';

const standbyDeadlineMs = 120_000;

export interface FingerprintOptions {
  readonly signal: AbortSignal;
  /** Told when the LSN is settled: replay is held, the tables are hashed from then on. Not told without a standby. */
  readonly onHeld: () => void;
}

/**
 * What the database holds at one LSN: on a standby whose replay is held there; without one, what the pipeline's tables hold
 * below their positions. Null when there is neither. @throws KPIPE_LOCKED, KPIPE_BACKUP_FAILED
 */
export async function takeFingerprint(
  place: BackupPlace,
  afterLsn: string,
  options: FingerprintOptions,
): Promise<Fingerprint | null> {
  const { replicas } = place.postgres;
  const wanted = place.backups.standby;
  const standby = wanted === undefined ? replicas[0] : replicas.find(({ name }) => name === wanted);
  if (standby === undefined && wanted !== undefined) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `postgres.backups.standby names ${wanted}, which is no replica`, {
      next: `replicas are: ${replicas.map(({ name }) => name).join(', ')}`,
    });
  }
  return standby === undefined
    ? fingerprintByWatermark(place, options.signal)
    : fingerprintOnStandby(place, standby, afterLsn, options);
}

async function fingerprintOnStandby(
  place: BackupPlace,
  standby: BackupPlace['postgres']['replicas'][number],
  afterLsn: string,
  { signal, onHeld }: FingerprintOptions,
): Promise<Fingerprint> {
  const request = {
    afterLsn,
    deadlineMs: standbyDeadlineMs,
    signal,
    beforePause: () => recordPause(place.local, standby.name),
    afterResume: () => forgetPause(place.local),
  };
  const look = (pool: Pool): Promise<Fingerprint> =>
    withReplayPaused(pool, request, async (lsn) => {
      onHeld();
      const began = performance.now();
      const databases = await listDatabases(pool);
      const { tables, notCompared } = await unlessAborted(hashDatabases(standby.url, databases, signal), signal);
      return { method: 'standby', lsn, standby: standby.name, tables, notCompared, ms: since(began) };
    });
  try {
    return await withBackupPool(standby.url, look);
  } catch (error) {
    throw permissionHint(error);
  }
}

async function hashDatabases(
  url: BackupPlace['postgres']['primary'],
  databases: readonly string[],
  signal: AbortSignal,
): Promise<{ tables: TableFingerprint[]; notCompared: string[] }> {
  const tables: TableFingerprint[] = [];
  const notCompared: string[] = [];
  for (const database of databases) {
    const hashed = await withBackupPool(url, (pool) => unlessAborted(hashAllTables(pool, signal), signal), database);
    tables.push(...hashed.tables.map(({ table, rows, hash }) => ({ database, table, rows, hash })));
    notCompared.push(...hashed.unreadable.map((table) => `${database}: ${table}`));
  }
  return { tables, notCompared };
}

function fingerprintByWatermark({ postgres }: BackupPlace, signal: AbortSignal): Promise<Fingerprint | null> {
  const began = performance.now();
  return withBackupPool(postgres.primary, async (pool) => {
    const found = await unlessAborted(hashBelowPositions(pool, signal), signal);
    if (found === undefined || found.partitions.length === 0) {
      return null;
    }
    const { rows } = await pool.query<{ name: string }>('select current_database() as name');
    const partitions = [...found.partitions];
    return { method: 'watermark', lsn: found.lsn, database: rows[0]?.name ?? '', partitions, ms: since(began) };
  });
}

/** A statement that runs long does not hold up a Ctrl-C: its connection is cut when the pool ends. */
async function unlessAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  // It has begun: its own end is nobody's any more when the signal was first.
  work.catch(() => undefined);
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function permissionHint(error: unknown): unknown {
  const denied = error instanceof Error && /permission denied for function (\w+)/.exec(error.message)?.[1];
  return typeof denied === 'string'
    ? new KpipeError('KPIPE_BACKUP_FAILED', `the role may not call ${denied}() on the standby`, {
        next: 'as a superuser on the primary: grant execute on function pg_wal_replay_pause(), pg_wal_replay_resume() to ROLE',
        cause: error,
      })
    : error;
}

function since(began: number): number {
  return Math.round(performance.now() - began);
}

import type { Secret } from '../config/secrets.ts';
import { Secret as SealedText } from '../config/secrets.ts';
import { KpipeError } from '../errors.ts';
import { asking, openPoolOn, poolEnd, type Pool } from './pool.ts';

/** What a backup needs to know of the server that it is taken from, and what it asks it to do. */
export interface SourceFacts {
  readonly version: string;
  readonly major: number;
  readonly inRecovery: boolean;
  readonly systemIdentifier: string;
  readonly dataChecksums: boolean;
  /** Whether it keeps what incremental backups need; null: it cannot (before 17). */
  readonly summarizesWal: boolean | null;
  readonly segmentBytes: number;
  readonly timeline: number;
  readonly mayReplicate: boolean;
  readonly maySwitchWal: boolean;
  /** Of all databases; null where the role may not ask. */
  readonly clusterBytes: number | null;
  readonly bootstrapRole: string;
  readonly database: string;
  readonly slot: SlotFacts | null;
}

export interface SlotFacts {
  readonly active: boolean;
  readonly physical: boolean;
  readonly restartLsn: string | null;
  /** reserved, extended, unreserved or lost. */
  readonly walStatus: string | null;
}

/** Runs `work` with a small pool on any server of ours, in the URL's database or in another one. */
export async function withBackupPool<Result>(
  url: Secret,
  work: (pool: Pool) => Promise<Result>,
  database?: string,
): Promise<Result> {
  const target = database === undefined ? url : onDatabase(url, database);
  const pool = await openPoolOn(target, { applicationName: 'kpipe:backup', max: 2 });
  const end = poolEnd(pool);
  try {
    return await work(pool);
  } finally {
    await end();
  }
}

function onDatabase(url: Secret, database: string): Secret {
  const parsed = new URL(url.reveal());
  parsed.pathname = `/${encodeURIComponent(database)}`;
  return new SealedText(parsed.href, { directory: '/', env: {} });
}

interface FactsRow {
  readonly version: string;
  readonly number: number;
  readonly recovery: boolean;
  readonly system_identifier: string;
  readonly checksums: boolean;
  readonly summarizes: boolean | null;
  readonly segment_bytes: string;
  readonly timeline: number;
  readonly may_replicate: boolean;
  readonly may_switch: boolean;
  readonly bootstrap_role: string;
  readonly database: string;
}

const selectFacts = `
  select
    split_part(current_setting('server_version'), ' ', 1) as version,
    current_setting('server_version_num')::int as number,
    pg_is_in_recovery() as recovery,
    (select system_identifier::text from pg_control_system()) as system_identifier,
    current_setting('data_checksums')::bool as checksums,
    current_setting('summarize_wal', true)::bool as summarizes,
    (select setting from pg_settings where name = 'wal_segment_size') as segment_bytes,
    (select timeline_id from pg_control_checkpoint()) as timeline,
    (select rolreplication or rolsuper from pg_roles where rolname = current_user) as may_replicate,
    has_function_privilege('pg_switch_wal()', 'execute') as may_switch,
    (select rolname from pg_roles where oid = 10) as bootstrap_role,
    current_database() as database`;

const selectSlot = `
  select active, slot_type = 'physical' as physical, restart_lsn::text, wal_status
  from pg_replication_slots
  where slot_name = $1`;

const selectSize = `
  select sum(pg_database_size(oid))::text as bytes
  from pg_database
  where has_database_privilege(oid, 'CONNECT') or pg_has_role('pg_read_all_stats', 'MEMBER')`;

/** @throws KPIPE_POSTGRES_… */
export function readSourceFacts(pool: Pool, slot: string): Promise<SourceFacts> {
  return asking(pool, async () => {
    const facts = (await pool.query<FactsRow>(selectFacts)).rows[0];
    if (facts === undefined) {
      throw new KpipeError('KPIPE_POSTGRES_FAILED', 'the server answered nothing');
    }
    const size = await pool.query<{ bytes: string | null }>(selectSize).catch(() => undefined);
    const bytes = size?.rows[0]?.bytes ?? null;
    return {
      version: facts.version,
      major: Math.trunc(facts.number / 10_000),
      inRecovery: facts.recovery,
      systemIdentifier: facts.system_identifier,
      dataChecksums: facts.checksums,
      summarizesWal: facts.summarizes,
      segmentBytes: Number(facts.segment_bytes),
      timeline: facts.timeline,
      mayReplicate: facts.may_replicate,
      maySwitchWal: facts.may_switch,
      clusterBytes: bytes === null ? null : Number(bytes),
      bootstrapRole: facts.bootstrap_role,
      database: facts.database,
      slot: await readSlot(pool, slot),
    };
  });
}

interface SlotRow {
  readonly active: boolean;
  readonly physical: boolean;
  readonly restart_lsn: string | null;
  readonly wal_status: string | null;
}

/** Null where there is none of that name. @throws KPIPE_POSTGRES_… */
export function readSlot(pool: Pool, name: string): Promise<SlotFacts | null> {
  return asking(pool, async () => {
    const { rows } = await pool.query<SlotRow>(selectSlot, [name]);
    const row = rows[0];
    return row === undefined
      ? null
      : { active: row.active, physical: row.physical, restartLsn: row.restart_lsn, walStatus: row.wal_status };
  });
}

/** Holds the write-ahead log from now on. */
export function createSlot(pool: Pool, name: string): Promise<void> {
  return asking(pool, async () => {
    await pool.query('select pg_create_physical_replication_slot($1, true)', [name]);
  });
}

/**
 * Writes a record of no effect, so that there is one behind everything that was before, and closes its segment, so that it
 * is archived. Answers the LSN after the record.
 */
export function closeSegment(pool: Pool, note: string): Promise<string> {
  return asking(pool, async () => {
    await pool.query(`select pg_logical_emit_message(true, 'kpipe', $1)`, [note]);
    const { rows } = await pool.query<{ lsn: string }>('select pg_switch_wal()::text as lsn');
    return rows[0]?.lsn ?? '';
  });
}

/** What the primary has made durable, and its clock. */
export function readPrimaryPosition(pool: Pool): Promise<{ readonly lsn: string; readonly nowMs: number }> {
  return asking(pool, async () => {
    const { rows } = await pool.query<{ lsn: string; now_ms: number }>(
      `select
         (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end)::text as lsn,
         extract(epoch from clock_timestamp())::float8 * 1000 as now_ms`,
    );
    return { lsn: rows[0]?.lsn ?? '0/0', nowMs: rows[0]?.now_ms ?? Date.now() };
  });
}

import type { PrimaryFacts, Sender, Slot } from '../replication/observation.ts';
import type { PoolClient } from './pool.ts';

/** LSNs as bytes from 0/0: as text, since a bigint has no room in JavaScript's numbers. */
interface SenderRow {
  readonly pid: number;
  readonly application_name: string | null;
  readonly client_address: string | null;
  readonly state: string | null;
  readonly sync_state: string | null;
  readonly sent: string | null;
  readonly write: string | null;
  readonly flush: string | null;
  readonly replay: string | null;
  readonly write_lag_ms: number | null;
  readonly flush_lag_ms: number | null;
  readonly replay_lag_ms: number | null;
  readonly reply_age_ms: number | null;
  readonly xmin_age: number | null;
}

const selectSenders = `
  select pid, application_name, host(client_addr) as client_address, state, sync_state,
    (sent_lsn - '0/0')::text as sent, (write_lsn - '0/0')::text as write,
    (flush_lsn - '0/0')::text as flush, (replay_lsn - '0/0')::text as replay,
    extract(epoch from write_lag)::float8 * 1000 as write_lag_ms,
    extract(epoch from flush_lag)::float8 * 1000 as flush_lag_ms,
    extract(epoch from replay_lag)::float8 * 1000 as replay_lag_ms,
    extract(epoch from clock_timestamp() - reply_time)::float8 * 1000 as reply_age_ms,
    age(backend_xmin) as xmin_age
  from pg_stat_replication
  order by application_name, pid`;

/** Who streams from this server. */
export async function selectServerSenders(client: PoolClient): Promise<readonly Sender[]> {
  const { rows } = await client.query<SenderRow>(selectSenders);
  return rows.map((row) => ({
    pid: row.pid,
    // Without pg_monitor everything but the pid is hidden; the name alone comes from pg_stat_activity.
    applicationName: row.application_name,
    clientAddress: row.client_address,
    state: row.state,
    syncState: row.sync_state,
    sentLsn: lsnOf(row.sent),
    writeLsn: lsnOf(row.write),
    flushLsn: lsnOf(row.flush),
    replayLsn: lsnOf(row.replay),
    writeLagMs: row.write_lag_ms,
    flushLagMs: row.flush_lag_ms,
    replayLagMs: row.replay_lag_ms,
    replyAgeMs: row.reply_age_ms,
    xminAge: row.xmin_age,
  }));
}

export function lsnOf(text: string | null): bigint | null {
  return text === null ? null : BigInt(text);
}

interface SlotRow {
  readonly name: string;
  readonly type: 'physical' | 'logical';
  readonly active: boolean;
  readonly active_pid: number | null;
  readonly wal_status: string | null;
  readonly restart: string | null;
  readonly safe_wal_bytes: string | null;
  readonly xmin_age: number | null;
  readonly invalidation_reason: string | null;
}

// to_jsonb: a column that only newer versions have.
const selectSlots = `
  select slot_name as name, slot_type as type, active, active_pid, wal_status, (restart_lsn - '0/0')::text as restart,
    safe_wal_size::text as safe_wal_bytes, age(xmin) as xmin_age,
    to_jsonb(s) ->> 'invalidation_reason' as invalidation_reason
  from pg_replication_slots s
  order by slot_name`;

async function selectServerSlots(client: PoolClient): Promise<readonly Slot[]> {
  const { rows } = await client.query<SlotRow>(selectSlots);
  return rows.map((row) => ({
    name: row.name,
    type: row.type,
    active: row.active,
    activePid: row.active_pid,
    walStatus: row.wal_status,
    restartLsn: lsnOf(row.restart),
    safeWalBytes: row.safe_wal_bytes === null ? null : Math.max(0, Number(row.safe_wal_bytes)),
    xminAge: row.xmin_age,
    invalidationReason: row.invalidation_reason,
  }));
}

interface PrimaryRow {
  readonly lsn: string | null;
  readonly keep_bytes: string;
  readonly synchronous_standby_names: string;
}

// The flushed end: what is only written is sent to no standby yet.
const selectPrimaryFacts = `
  select
    ((case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end) - '0/0')::text as lsn,
    (select setting::bigint * 1024 * 1024 from pg_settings where name = 'max_slot_wal_keep_size')::text as keep_bytes,
    current_setting('synchronous_standby_names') as synchronous_standby_names`;

/** What the primary says of itself, its senders and its slots. */
export async function selectPrimary(client: PoolClient): Promise<PrimaryFacts> {
  const server = await selectServer(client);
  const senders = await selectServerSenders(client);
  const slots = await selectServerSlots(client);
  const { rows } = await client.query<PrimaryRow>(selectPrimaryFacts);
  const keepBytes = Number(rows[0]?.keep_bytes ?? -1);
  return {
    ...server,
    senders,
    slots,
    lsn: lsnOf(rows[0]?.lsn ?? null) ?? 0n,
    slotKeepBytes: keepBytes < 0 ? null : keepBytes,
    synchronousStandbyNames: rows[0]?.synchronous_standby_names ?? '',
  };
}

interface ServerRow {
  readonly version: string;
  readonly system_identifier: string;
  readonly timeline: number;
  readonly in_recovery: boolean;
  readonly statistics_visible: boolean;
  readonly heartbeat_visible: boolean | null;
  readonly now_ms: number;
}

// In recovery the control file's timeline is the last restart point's: the receiver, and the recovery target, may be further.
const selectServerFacts = `
  select
    current_setting('server_version') as version,
    (select system_identifier::text from pg_control_system()) as system_identifier,
    case when pg_is_in_recovery()
      then greatest(
        (select timeline_id from pg_control_checkpoint()),
        (select min_recovery_end_timeline from pg_control_recovery()),
        (select received_tli from pg_stat_wal_receiver)
      )
      else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
    end as timeline,
    pg_is_in_recovery() as in_recovery,
    pg_has_role('pg_read_all_stats', 'USAGE') as statistics_visible,
    (
      select has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'kpipe' and c.relname = 'heartbeat'
    ) as heartbeat_visible,
    extract(epoch from clock_timestamp())::float8 * 1000 as now_ms`;

/** What every server says of itself. */
export async function selectServer(client: PoolClient): Promise<Omit<PrimaryFacts, PrimaryOnly>> {
  const { rows } = await client.query<ServerRow>(selectServerFacts);
  const row = rows[0];
  if (row === undefined) {
    throw new Error('the server answered nothing');
  }
  return {
    address: `${client.host}:${client.port}`,
    version: row.version.split(' ')[0] ?? row.version,
    systemIdentifier: row.system_identifier,
    timeline: row.timeline,
    inRecovery: row.in_recovery,
    statisticsVisible: row.statistics_visible,
    beatAtMs: row.heartbeat_visible === true ? await selectBeat(client) : null,
    nowMs: row.now_ms,
  };
}

type PrimaryOnly = 'senders' | 'slots' | 'lsn' | 'slotKeepBytes' | 'synchronousStandbyNames';

async function selectBeat(client: PoolClient): Promise<number | null> {
  const { rows } = await client.query<{ readonly ms: number }>(
    'select extract(epoch from beat_at)::float8 * 1000 as ms from kpipe.heartbeat',
  );
  return rows[0]?.ms ?? null;
}

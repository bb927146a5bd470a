import type { Conflicts, Receiver, ReplayBlock, StandbyFacts } from '../replication/observation.ts';
import type { PoolClient } from './pool.ts';
import { lsnOf, selectServer, selectServerSenders } from './replica-primary.ts';

/** What a standby says of itself; a server that turns out to be none says the same with nulls. */
export async function selectStandby(client: PoolClient): Promise<StandbyFacts> {
  const server = await selectServer(client);
  const recovery = await selectRecovery(client);
  return {
    ...server,
    ...recovery,
    senders: await selectServerSenders(client),
    receiver: await selectReceiver(client),
    conflicts: await selectConflicts(client),
    blocked: server.inRecovery ? await selectBlock(client) : null,
  };
}

interface RecoveryRow {
  readonly received: string | null;
  readonly replayed: string | null;
  readonly paused: boolean;
  readonly replay_age_ms: number | null;
  readonly status_interval_ms: string;
  readonly slot_name: string;
  readonly feedback: boolean;
  readonly apply_delay_ms: string;
  readonly archive_only: boolean | null;
}

// Of primary_conninfo, which may hold a password, only whether there is any; NULL where the user may not know.
const selectRecoveryFacts = `
  select
    (pg_last_wal_receive_lsn() - '0/0')::text as received,
    (pg_last_wal_replay_lsn() - '0/0')::text as replayed,
    case when pg_is_in_recovery() then pg_is_wal_replay_paused() else false end as paused,
    extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 * 1000 as replay_age_ms,
    (select setting::bigint * 1000 from pg_settings where name = 'wal_receiver_status_interval')::text as status_interval_ms,
    current_setting('primary_slot_name') as slot_name,
    current_setting('hot_standby_feedback')::boolean as feedback,
    (select setting from pg_settings where name = 'recovery_min_apply_delay') as apply_delay_ms,
    (select setting = '' from pg_settings where name = 'primary_conninfo') as archive_only`;

type Recovery = Omit<
  StandbyFacts,
  keyof Awaited<ReturnType<typeof selectServer>> | 'senders' | 'receiver' | 'conflicts' | 'blocked'
>;

async function selectRecovery(client: PoolClient): Promise<Recovery> {
  const { rows } = await client.query<RecoveryRow>(selectRecoveryFacts);
  const row = rows[0];
  if (row === undefined) {
    throw new Error('the server answered nothing');
  }
  return {
    receivedLsn: lsnOf(row.received),
    replayedLsn: lsnOf(row.replayed),
    replayPaused: row.paused,
    replayAgeMs: row.replay_age_ms,
    statusIntervalMs: Number(row.status_interval_ms),
    slotName: row.slot_name === '' ? null : row.slot_name,
    hotStandbyFeedback: row.feedback,
    applyDelayMs: Number(row.apply_delay_ms),
    archiveOnly: row.archive_only,
  };
}

interface ReceiverRow {
  readonly pid: number;
  readonly status: string | null;
  readonly sender_host: string | null;
  readonly sender_port: number | null;
  readonly message_age_ms: number | null;
}

async function selectReceiver(client: PoolClient): Promise<Receiver | null> {
  const { rows } = await client.query<ReceiverRow>(`
    select pid, status, sender_host, sender_port,
      extract(epoch from clock_timestamp() - last_msg_receipt_time)::float8 * 1000 as message_age_ms
    from pg_stat_wal_receiver`);
  const row = rows[0];
  return row === undefined
    ? null
    : {
        pid: row.pid,
        status: row.status,
        senderHost: row.sender_host,
        senderPort: row.sender_port,
        messageAgeMs: row.message_age_ms,
      };
}

async function selectConflicts(client: PoolClient): Promise<Conflicts> {
  const { rows } = await client.query<Record<keyof Conflicts, number>>(`
    select
      coalesce(sum(confl_tablespace), 0)::float8 as tablespace,
      coalesce(sum(confl_lock), 0)::float8 as lock,
      coalesce(sum(confl_snapshot), 0)::float8 as snapshot,
      coalesce(sum(confl_bufferpin), 0)::float8 as bufferpin,
      coalesce(sum(confl_deadlock), 0)::float8 as deadlock,
      coalesce(sum((to_jsonb(c) ->> 'confl_active_logicalslot')::bigint), 0)::float8 as "logicalSlot"
    from pg_stat_database_conflicts c`);
  return rows[0] ?? { tablespace: 0, lock: 0, snapshot: 0, bufferpin: 0, deadlock: 0, logicalSlot: 0 };
}

interface BlockRow {
  readonly wait_event: string;
  readonly pid: number | null;
  readonly application_name: string | null;
  readonly for_ms: number | null;
}

/** Replay waits for a query: the startup process says for what; the oldest transaction is the likeliest to hold it up. */
async function selectBlock(client: PoolClient): Promise<ReplayBlock | null> {
  const { rows } = await client.query<BlockRow>(`
    select startup.wait_event, holder.pid, holder.application_name,
      extract(epoch from clock_timestamp() - holder.xact_start)::float8 * 1000 as for_ms
    from pg_stat_activity startup
    left join lateral (
      select pid, application_name, xact_start
      from pg_stat_activity
      where backend_type = 'client backend' and xact_start is not null and pid <> pg_backend_pid()
      order by xact_start
      limit 1
    ) holder on true
    where startup.backend_type = 'startup'
      and (startup.wait_event like 'RecoveryConflict%' or startup.wait_event_type in ('Lock', 'BufferPin'))`);
  const row = rows[0];
  if (row === undefined) {
    return null;
  }
  const { pid, application_name: applicationName, for_ms: forMs } = row;
  const holder = pid === null || forMs === null ? null : { pid, applicationName: applicationName ?? '', forMs };
  return { waitEvent: row.wait_event, holder };
}

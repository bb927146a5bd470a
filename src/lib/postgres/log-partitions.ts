import type { PoolClient } from './pool.ts';

/** Daily partitions of kpipe.logs, UTC: as far back as logs are kept, seven days ahead. */
const dayMs = 86_400_000;
const daysAhead = 7;

export interface LogPartitionOptions {
  readonly retentionMs: number;
  readonly nowMs: number;
}

/** Makes the partitions that are missing; answers their names. Rows that wait in logs_default move into them. */
export async function ensureLogPartitions(
  client: PoolClient,
  options: LogPartitionOptions,
): Promise<readonly string[]> {
  await lockPartitions(client);
  const today = Math.floor(options.nowMs / dayMs);
  const first = today - Math.ceil(options.retentionMs / dayMs);
  const wanted = Array.from({ length: today + daysAhead - first + 1 }, (_, index) => first + index);
  const existing = await partitionNames(client);
  const missing = wanted.filter((day) => !existing.has(partitionName(day)));
  for (const day of missing) {
    await makePartition(client, day);
  }
  return missing.map(partitionName);
}

/** One at a time: consumers and `kpipe migrate` do this beside each other. */
async function lockPartitions(client: PoolClient): Promise<void> {
  await client.query(`select pg_advisory_xact_lock(hashtextextended('kpipe.logs', 0))`);
}

/** `logs_20261123`. */
export function partitionName(day: number): string {
  return `logs_${isoDay(day).replaceAll('-', '')}`;
}

function isoDay(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}

async function partitionNames(client: PoolClient): Promise<ReadonlySet<string>> {
  const found = await client.query<{ name: string }>(
    `select c.relname as name
       from pg_inherits i
       join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'kpipe.logs'::regclass`,
  );
  return new Set(found.rows.map((row) => row.name));
}

async function makePartition(client: PoolClient, day: number): Promise<void> {
  const name = partitionName(day);
  const [from, to] = [`'${isoDay(day)} 00:00:00+00'`, `'${isoDay(day + 1)} 00:00:00+00'`];
  await client.query(`create table kpipe.${name} (like kpipe.logs including defaults including generated)`);
  await client.query(
    `with moved as (
       delete from kpipe.logs_default where ts >= ${from} and ts < ${to}
       returning ${logColumns.join(', ')}
     )
     insert into kpipe.${name} (${logColumns.join(', ')}) select ${logColumns.join(', ')} from moved`,
  );
  await client.query(`alter table kpipe.logs attach partition kpipe.${name} for values from (${from}) to (${to})`);
}

/** The columns of kpipe.logs that the role fills, in the order of its COPY; `search` is generated. */
export const copiedColumns = [
  'ts',
  'observed_ts',
  'kafka_offset',
  'partition',
  'line',
  'severity_number',
  'unstructured',
  'sanitised',
  'topic',
  'severity_text',
  'service_name',
  'trace_id',
  'span_id',
  'body',
  'attributes',
  'resource',
] as const;

const logColumns = [...copiedColumns, 'received_at'] as const;

/**
 * Drops the partitions that hold only days beyond the retention and one day more; answers their names. Not CONCURRENTLY:
 * PostgreSQL refuses that beside a default partition, so a short lock is asked for and the next call tries again.
 */
export async function dropExpiredPartitions(
  client: PoolClient,
  options: LogPartitionOptions,
): Promise<readonly string[]> {
  await lockPartitions(client);
  const oldest = Math.floor((options.nowMs - options.retentionMs) / dayMs) - 1;
  const expired = [...(await partitionNames(client))]
    .filter((name) => /^logs_\d{8}$/.test(name) && name < partitionName(oldest))
    .toSorted();
  await client.query(`set local lock_timeout = '2s'`);
  for (const name of expired) {
    await client.query(`drop table kpipe.${name}`);
  }
  return expired;
}

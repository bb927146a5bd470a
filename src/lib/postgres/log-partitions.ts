import type { PoolClient } from './pool.ts';

/** Daily partitions of kpipe.logs, UTC: as far back as logs are kept, seven days ahead. */
const dayMs = 86_400_000;
const daysAhead = 7;

export interface LogPartitionOptions {
  readonly retentionMs: number;
  readonly nowMs: number;
}

/**
 * Makes the partitions that are missing; answers their names. Rows that wait in logs_default move into them. One at a
 * time: consumers and `kpipe migrate` do this beside each other. Needs EXECUTE on the function, no ownership.
 */
export async function ensureLogPartitions(
  client: PoolClient,
  options: LogPartitionOptions,
): Promise<readonly string[]> {
  const today = Math.floor(options.nowMs / dayMs);
  const first = today - Math.ceil(options.retentionMs / dayMs);
  const made = await client.query<{ name: string }>(
    'select name from kpipe.make_log_partitions($1::date, $2::date) as name',
    [isoDay(first), isoDay(today + daysAhead)],
  );
  return made.rows.map(({ name }) => name);
}

function isoDay(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
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

/**
 * Drops the partitions that hold only days beyond the retention and one day more; answers their names. It waits 2 s for
 * its lock; the next call tries again.
 */
export async function dropExpiredPartitions(
  client: PoolClient,
  options: LogPartitionOptions,
): Promise<readonly string[]> {
  const oldest = Math.floor((options.nowMs - options.retentionMs) / dayMs) - 1;
  const dropped = await client.query<{ name: string }>('select name from kpipe.drop_log_partitions($1::date) as name', [
    isoDay(oldest),
  ]);
  return dropped.rows.map(({ name }) => name);
}

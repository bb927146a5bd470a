import type { PoolClient } from './pool.ts';

export interface SentProbe {
  /** A standby that has replayed up to here has replayed the probe. */
  readonly lsn: bigint;
  /** By performance.now(). */
  readonly committedAtMs: number;
}

/**
 * Writes a probe: a transactional WAL message, which needs no table and no right, and the heartbeat where this user may
 * write it. Nothing waits for synchronous standbys: they may be what is
 * wrong. The commit is this function's own, so that the LSN lies behind it.
 */
export async function sendProbe(client: PoolClient): Promise<SentProbe> {
  await client.query('set local synchronous_commit = local');
  await client.query(`select pg_logical_emit_message(true, 'kpipe.probe', '')`);
  const { rows: rights } = await client.query<{ readonly may_beat: boolean | null }>(`
    select has_schema_privilege(n.oid, 'USAGE') and has_column_privilege(c.oid, 'beat_at', 'UPDATE') as may_beat
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'kpipe' and c.relname = 'heartbeat'`);
  if (rights[0]?.may_beat === true) {
    await client.query('update kpipe.heartbeat set beat_at = clock_timestamp()');
  }
  await client.query('commit and chain');
  const committedAtMs = performance.now();
  const { rows } = await client.query<{ readonly lsn: string }>(
    `select (pg_current_wal_flush_lsn() - '0/0')::text as lsn`,
  );
  return { lsn: BigInt(rows[0]?.lsn ?? '0'), committedAtMs };
}

import type { Config } from '../config/load.ts';
import type { BigQueryConfig } from '../config/schema.ts';
import { openPool } from '../postgres/pool.ts';
import { storedRecords } from '../postgres/stored-records.ts';
import type { ShopTopic } from '../shop/types.ts';
import type { CommitTrail } from './commit-trail.ts';
import type { FoundRow } from './findings.ts';
import type { SentRecord } from './shop-run.ts';

/** What the role's store has of these records. @throws KPIPE_POSTGRES_…, KPIPE_BIGQUERY_… */
export async function rowsOf(
  config: Config,
  topic: ShopTopic,
  acked: readonly SentRecord[],
  trail: CommitTrail | null,
): Promise<readonly FoundRow[]> {
  const name = config.roles[topic]?.topic ?? topic;
  if (acked.length === 0) {
    return [];
  }
  if (topic === 'analytics') {
    return config.bigquery === undefined ? [] : warehouseRows(config.bigquery, name, acked, trail);
  }
  if (config.postgres === undefined) {
    return [];
  }
  const pool = await openPool(config.postgres, { applicationName: 'kpipe:demo', max: 1 });
  try {
    return await storedRecords(pool, topic, name, extent(acked).from);
  } finally {
    await pool.end();
  }
}

async function warehouseRows(
  config: BigQueryConfig,
  topic: string,
  acked: readonly SentRecord[],
  trail: CommitTrail | null,
): Promise<readonly FoundRow[]> {
  const { readRows } = await import('../bigquery/warehouse.ts');
  const found: FoundRow[] = [];
  for (const [partition, records] of Map.groupBy(acked, (record) => record.partition)) {
    const ackedAt = new Map(records.map(({ offset, ackedAtMs }) => [offset, ackedAtMs]));
    // Twice as many as there may be: what is doubled shows.
    const rows = await readRows(config, { topic, partition, offsets: extent(records) }, records.length * 2 + 1);
    for (const { offset, id } of rows) {
      const from = ackedAt.get(offset);
      const until = trail?.passedAt(partition, offset) ?? null;
      found.push({
        partition,
        offset,
        id,
        rows: 1,
        latencyMs: from === undefined || until === null ? null : Math.max(0, until - from),
      });
    }
  }
  return found;
}

/** [from, to) of offsets. */
function extent(records: readonly SentRecord[]): { readonly from: bigint; readonly to: bigint } {
  const offsets = records.map(({ offset }) => offset);
  const from = offsets.reduce((least, offset) => (offset < least ? offset : least));
  const last = offsets.reduce((most, offset) => (offset > most ? offset : most));
  return { from, to: last + 1n };
}

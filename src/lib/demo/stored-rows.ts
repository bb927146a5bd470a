import type { Config } from '../config/load.ts';
import type { BigQueryConfig } from '../config/schema.ts';
import { openPool } from '../postgres/pool.ts';
import { storedRecords } from '../postgres/stored-records.ts';
import type { ShopTopic } from '../shop/types.ts';
import type { FoundRow } from './findings.ts';
import type { SentRecord } from './shop-run.ts';

/** What the role's store has of these records. @throws KPIPE_POSTGRES_…, KPIPE_BIGQUERY_… */
export async function rowsOf(config: Config, topic: ShopTopic, acked: readonly SentRecord[]): Promise<readonly FoundRow[]> {
  const name = config.roles[topic]?.topic ?? topic;
  if (acked.length === 0) {
    return [];
  }
  if (topic === 'analytics') {
    return config.bigquery === undefined ? [] : warehouseRows(config.bigquery, name, acked);
  }
  if (config.postgres === undefined) {
    return [];
  }
  const pool = await openPool(config.postgres, { applicationName: 'kpipe:demo', max: 1 });
  try {
    const from = acked.reduce((least, { offset }) => (offset < least ? offset : least), acked[0]?.offset ?? 0n);
    return await storedRecords(pool, topic, name, from);
  } finally {
    await pool.end();
  }
}

/** BigQuery keeps no Kafka timestamp: the latency there counts from the ack. */
async function warehouseRows(config: BigQueryConfig, topic: string, acked: readonly SentRecord[]): Promise<readonly FoundRow[]> {
  const { readRows } = await import('../bigquery/warehouse.ts');
  const found: FoundRow[] = [];
  for (const [partition, records] of Map.groupBy(acked, (record) => record.partition)) {
    const ackedAt = new Map(records.map(({ offset, ackedAtMs }) => [offset, ackedAtMs]));
    const from = records.reduce((least, { offset }) => (offset < least ? offset : least), records[0]?.offset ?? 0n);
    const to = records.reduce((most, { offset }) => (offset > most ? offset : most), from) + 1n;
    // Twice as many as there may be: what is doubled shows.
    const rows = await readRows(config, { topic, partition, offsets: { from, to } }, records.length * 2 + 1);
    for (const { offset, id, ingestedAtMicros } of rows) {
      const at = ackedAt.get(offset);
      const latencyMs = at === undefined ? null : Math.max(0, Number(ingestedAtMicros / 1000n) - at);
      found.push({ partition, offset, id, rows: 1, latencyMs });
    }
  }
  return found;
}

import type { BigQueryConfig } from '../config/schema.ts';
import { storedDollarsPerDay, writeDollars } from './cost.ts';
import { endpointOf, tablePath } from './failures.ts';
import { countSelected } from './warehouse.ts';
import { planWarehouse, viewName, type WarehouseChange, type WarehouseObstacle } from './warehouse-plan.ts';
import { observeWarehouse, tableMetadata, tableOf, withWarehouse } from './warehouse-tables.ts';

export interface WarehouseStatus {
  readonly table: string;
  /** `Google`, or the stand-in's addresses. */
  readonly endpoint: string;
  readonly write: 'storage' | 'load';
  readonly view: string;
  readonly exists: boolean;
  /** Rows and logical bytes as BigQuery tells them, which may lag by minutes; null: not told. */
  readonly rows: number | null;
  readonly bytes: number | null;
  /** What came in the last 24 hours, by `ingested_at`. */
  readonly lastDay: WarehouseDay | null;
  /** Load jobs a day at most, by `loadInterval`; 1,500 are allowed. Null by the Storage Write API. */
  readonly loadJobsPerDay: number | null;
  readonly changes: readonly WarehouseChange[];
  readonly obstacles: readonly WarehouseObstacle[];
}

export interface WarehouseDay {
  readonly rows: number;
  /** (source, id) of them: fewer than rows when producers repeat themselves. */
  readonly events: number;
  /** An estimate by the table's mean row; null when the table does not tell its size. */
  readonly bytes: number | null;
  /** By list prices, without free tiers. */
  readonly writeDollars: number | null;
  readonly storedDollarsPerDay: number | null;
}

const dayMs = 86_400_000;

/** What is in the warehouse, what a day of it costs, and how it differs from kpipe.yaml. @throws KPIPE_BIGQUERY_… */
export async function warehouseStatus(config: BigQueryConfig, nowMs: number): Promise<WarehouseStatus> {
  return withWarehouse(config, async (connection) => {
    const observed = await observeWarehouse(connection);
    const { changes, obstacles } = planWarehouse(config, observed);
    const metadata = observed.table === null ? null : await tableMetadata(tableOf(connection));
    const rows = told(metadata?.numRows);
    const bytes = told(metadata?.numBytes);
    const now = BigInt(nowMs) * 1000n;
    const recent =
      metadata === null || obstacles.length > 0
        ? null
        : await countSelected(connection, { ingestedAtMicros: { min: now - BigInt(dayMs) * 1000n, max: now } });
    return {
      table: tablePath(config),
      endpoint: endpointOf(config),
      write: config.write,
      view: viewName(config),
      exists: metadata !== null,
      rows,
      bytes,
      lastDay: recent === null ? null : dayOf(recent, { rows, bytes }, config.write),
      loadJobsPerDay: config.write === 'load' ? Math.floor(dayMs / Math.max(1, config.loadInterval)) : null,
      changes,
      obstacles,
    };
  });
}

function dayOf(
  recent: { readonly rows: number; readonly events: number },
  table: { readonly rows: number | null; readonly bytes: number | null },
  write: 'storage' | 'load',
): WarehouseDay {
  const isSized = table.rows !== null && table.bytes !== null && table.rows > 0 && table.bytes > 0;
  const bytes = isSized ? Math.round((recent.rows * (table.bytes ?? 0)) / (table.rows ?? 1)) : null;
  return {
    rows: recent.rows,
    events: recent.events,
    bytes,
    writeDollars: bytes === null ? null : writeDollars(bytes, write),
    storedDollarsPerDay: table.bytes === null ? null : storedDollarsPerDay(table.bytes),
  };
}

/** BigQuery tells 64-bit numbers as texts. */
function told(value: unknown): number | null {
  return typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : null;
}

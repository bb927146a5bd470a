import type { Table, TableMetadata } from '@google-cloud/bigquery';

import type { BigQueryConfig } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import { withDeadline } from '../deadline.ts';
import { clusterColumns, partitionColumn, standardType } from './columns.ts';
import { connectBigQuery, requestDeadlineMs, type BigQueryConnection } from './connection.ts';
import { bigQueryFailure, isNotFound, tablePath } from './failures.ts';
import { createDataset, createTable, fieldsOf } from './table.ts';
import {
  planWarehouse,
  viewName,
  viewQuery,
  type ObservedTable,
  type ObservedWarehouse,
  type WarehouseChange,
  type WarehouseObstacle,
  type WarehousePlan,
} from './warehouse-plan.ts';

export interface WarehouseApplied {
  readonly table: string;
  readonly done: readonly WarehouseChange[];
  /** The first change that failed, and why; those after it were not tried. */
  readonly failed: { readonly change: WarehouseChange; readonly reason: string } | null;
  readonly notDone: readonly WarehouseChange[];
  readonly obstacles: readonly WarehouseObstacle[];
}

/** What would change so that the warehouse is as kpipe.yaml declares it. @throws KPIPE_BIGQUERY_… */
export async function drawUpWarehousePlan(config: BigQueryConfig): Promise<WarehousePlan> {
  return withWarehouse(config, async (connection) => planWarehouse(config, await observeWarehouse(connection)));
}

/** Makes the changes in their order, and stops at the first that fails. @throws KPIPE_BIGQUERY_… while looking */
export async function applyWarehousePlan(config: BigQueryConfig, plan: WarehousePlan): Promise<WarehouseApplied> {
  const { table, obstacles } = plan;
  return withWarehouse(config, async (connection) => {
    const done: WarehouseChange[] = [];
    for (const [index, change] of plan.changes.entries()) {
      try {
        await withDeadline(makeChange(connection, change), requestDeadlineMs, `no answer to ${change.kind}`);
        done.push(change);
      } catch (error) {
        const reason = messageOf(bigQueryFailure(change.kind, error, config));
        return { table, obstacles, done, failed: { change, reason }, notDone: plan.changes.slice(index + 1) };
      }
    }
    return { table, obstacles, done, failed: null, notDone: [] };
  });
}

export async function withWarehouse<Result>(
  config: BigQueryConfig,
  work: (connection: BigQueryConnection) => Promise<Result>,
): Promise<Result> {
  const connection = await connectBigQuery(config);
  try {
    return await work(connection);
  } catch (error) {
    throw bigQueryFailure(`looking at ${tablePath(config)}`, error, config);
  } finally {
    await connection.close();
  }
}

export async function observeWarehouse(connection: BigQueryConnection): Promise<ObservedWarehouse> {
  const { config, rest } = connection;
  const dataset = await metadataOf(rest.dataset(config.dataset).getMetadata());
  if (dataset === null) {
    return { location: null, table: null, view: null };
  }
  const [table, view] = await Promise.all([
    tableMetadata(tableOf(connection)),
    tableMetadata(rest.dataset(config.dataset).table(viewName(config))),
  ]);
  const { location } = dataset as { readonly location?: unknown };
  return {
    location: typeof location === 'string' ? location : '',
    table: table === null ? null : observedTable(table, config),
    view: view === null ? null : { query: view.view?.query ?? null, columns: namesOf(view) },
  };
}

/** Null: there is none. */
export function tableMetadata(table: Table): Promise<TableMetadata | null> {
  return metadataOf(table.getMetadata()) as Promise<TableMetadata | null>;
}

export function tableOf({ config, rest }: BigQueryConnection): Table {
  return rest.dataset(config.dataset).table(config.table);
}

async function metadataOf(asked: Promise<readonly unknown[]>): Promise<unknown> {
  try {
    const [metadata] = await withDeadline(asked, requestDeadlineMs, 'no answer');
    return metadata ?? null;
  } catch (error) {
    if (isNotFound(error)) {
      return null;
    }
    throw error;
  }
}

/** Null: not told. */
function namesOf(metadata: TableMetadata): readonly string[] | null {
  const fields = fieldsOf(metadata);
  return fields.length === 0 ? null : fields.map(({ name = '' }) => name);
}

function observedTable(metadata: TableMetadata, config: BigQueryConfig): ObservedTable {
  const { timePartitioning, clustering, requirePartitionFilter } = metadata;
  const filter = requirePartitionFilter ?? timePartitioning?.requirePartitionFilter;
  const expiry = timePartitioning?.expirationMs;
  return {
    columns: fieldsOf(metadata).map(({ name = '', type = '', mode = 'NULLABLE' }) => ({
      name,
      type: standardType(type),
      mode,
    })),
    partitioning:
      timePartitioning === undefined
        ? null
        : {
            type: timePartitioning.type ?? '',
            field: timePartitioning.field ?? null,
            expiryMs: expiry === undefined ? null : Number(expiry),
          },
    clustering: clustering?.fields ?? [],
    // Google leaves out what is not set; a stand-in may leave out what it does not know.
    requirePartitionFilter: filter ?? (config.endpoint === undefined ? false : null),
  };
}

async function makeChange(connection: BigQueryConnection, change: WarehouseChange): Promise<void> {
  const { config, rest } = connection;
  const table = tableOf(connection);
  switch (change.kind) {
    case 'create-dataset':
      await createDataset(connection);
      return;
    case 'create-table':
      await createTable(connection);
      return;
    case 'add-column':
      await addColumn(connection, change);
      return;
    case 'set-expiry':
      await table.setMetadata({
        timePartitioning: { type: 'DAY', field: partitionColumn, ...expirationOf(change.toMs) },
      });
      return;
    case 'set-clustering':
      await table.setMetadata({ clustering: { fields: [...clusterColumns] } });
      return;
    case 'require-partition-filter':
      await table.setMetadata({ requirePartitionFilter: true });
      return;
    case 'create-view':
      await rest
        .dataset(config.dataset)
        .createTable(change.view, { view: { query: viewQuery(config), useLegacySql: false } });
      return;
    case 'replace-view':
      await rest
        .dataset(config.dataset)
        .table(change.view)
        .setMetadata({ view: { query: viewQuery(config), useLegacySql: false } });
  }
}

/** Null takes an expiry away, where a missing name leaves it: the client's type knows only the latter. */
function expirationOf(ms: number | null): { readonly expirationMs?: string } {
  const expirationMs: unknown = ms === null ? null : String(ms);
  return { expirationMs } as { readonly expirationMs?: string };
}

/**
 * BigQuery adds columns to rows that are there as NULL, so that none can be REQUIRED. A stand-in may take the new schema
 * and leave its rows as they are: it is asked in SQL as well.
 */
async function addColumn(
  connection: BigQueryConnection,
  { column, type }: { readonly column: string; readonly type: string },
): Promise<void> {
  const table = tableOf(connection);
  const metadata = await tableMetadata(table);
  const fields = metadata === null ? [] : fieldsOf(metadata);
  const element = /^ARRAY<(\w+)>$/.exec(type)?.[1];
  const added = { name: column, type: element ?? type, mode: element === undefined ? 'NULLABLE' : 'REPEATED' };
  await table.setMetadata({ schema: { fields: [...fields, added] } });
  if (connection.config.endpoint !== undefined) {
    // Where BigQuery's NUMERIC has nine decimals, a stand-in's own database may have fewer unless it is told.
    const precise = type.replace(/\bNUMERIC\b/, 'NUMERIC(38, 9)');
    const query = `ALTER TABLE \`${tablePath(connection.config)}\` ADD COLUMN IF NOT EXISTS ${column} ${precise}`;
    await connection.rest.query({ query });
  }
}

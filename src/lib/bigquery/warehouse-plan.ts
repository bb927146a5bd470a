import type { BigQueryConfig } from '../config/schema.ts';
import { clusterColumns, columns as ownColumns, partitionColumn, sqlType, type Column } from './columns.ts';
import { declaredColumns } from './typed-columns.ts';

/** What BigQuery holds of the configured names; null: it is not there. */
export interface ObservedWarehouse {
  readonly location: string | null;
  readonly table: ObservedTable | null;
  /** The de-duplicating view, whose query and columns a stand-in may not tell. */
  readonly view: { readonly query: string | null; readonly columns?: readonly string[] | null } | null;
}

export interface ObservedTable {
  readonly columns: readonly { readonly name: string; readonly type: string; readonly mode: string }[];
  /** `DAY time`, or null without partitions. */
  readonly partitioning: {
    readonly type: string;
    readonly field: string | null;
    readonly expiryMs: number | null;
  } | null;
  readonly clustering: readonly string[];
  /** null: the server does not tell. */
  readonly requirePartitionFilter: boolean | null;
}

/** Additive, each of them: nothing here drops, rewrites or forgets a row. */
export type WarehouseChange =
  | { readonly kind: 'create-dataset'; readonly dataset: string; readonly location: string | null }
  | { readonly kind: 'create-table'; readonly table: string; readonly expiryMs: number | null }
  /** `type` as SQL has it, such as INT64 or ARRAY<STRING>. */
  | { readonly kind: 'add-column'; readonly column: string; readonly type: string }
  | { readonly kind: 'set-expiry'; readonly fromMs: number | null; readonly toMs: number | null }
  | { readonly kind: 'set-clustering'; readonly from: readonly string[]; readonly to: readonly string[] }
  | { readonly kind: 'require-partition-filter' }
  | { readonly kind: 'create-view'; readonly view: string }
  | { readonly kind: 'replace-view'; readonly view: string };

/** A difference that no additive change removes. */
export interface WarehouseObstacle {
  readonly what: string;
  readonly next: string;
}

export interface WarehousePlan {
  /** `project.dataset.table` */
  readonly table: string;
  readonly changes: readonly WarehouseChange[];
  readonly obstacles: readonly WarehouseObstacle[];
}

/** The view's name: rows of it are unique by (source, id). */
export function viewName({ table }: Pick<BigQueryConfig, 'table'>): string {
  return `${table}_unique`;
}

/**
 * One row for each (source, id), the one that came first. The bound on the partition column asks for everything: which of
 * two repeats is the first, only all days together tell.
 */
export function viewQuery({ project, dataset, table }: Pick<BigQueryConfig, 'project' | 'dataset' | 'table'>): string {
  return [
    'SELECT *',
    `FROM \`${project}.${dataset}.${table}\``,
    `WHERE ${partitionColumn} >= TIMESTAMP '0001-01-01 00:00:00+00'`,
    'QUALIFY ROW_NUMBER() OVER (PARTITION BY source, id ORDER BY ingested_at, kafka_topic, kafka_partition, kafka_offset) = 1',
  ].join('\n');
}

/** What makes the warehouse as kpipe.yaml declares it. */
export function planWarehouse(config: BigQueryConfig, observed: ObservedWarehouse): WarehousePlan {
  const table = `${config.project}.${config.dataset}.${config.table}`;
  const dataset: readonly WarehouseChange[] =
    observed.location === null
      ? [{ kind: 'create-dataset', dataset: config.dataset, location: config.location ?? null }]
      : [];
  const made: readonly WarehouseChange[] =
    observed.table === null ? [{ kind: 'create-table', table, expiryMs: config.expiry ?? null }] : [];
  const { changes, obstacles } = observed.table === null ? nothing : planTable(config, observed.table);
  return {
    table,
    changes: [...dataset, ...made, ...changes, ...planView(config, observed.view, changes)],
    obstacles: [...planLocation(config, observed.location), ...obstacles],
  };
}

type Differences = Pick<WarehousePlan, 'changes' | 'obstacles'>;
const nothing: Differences = { changes: [], obstacles: [] };

function planTable(config: BigQueryConfig, table: ObservedTable): Differences {
  const wanted = [...ownColumns, ...declaredColumns(config.columns)];
  const parts = [
    ...wanted.map((column) => planColumn(column, table)),
    ...table.columns.map((column) => planForeignColumn(column, wanted)),
    planPartitioning(config, table),
    planClustering(table),
  ];
  return {
    changes: parts.flatMap(({ changes }) => changes),
    obstacles: parts.flatMap(({ obstacles }) => obstacles),
  };
}

/** BigQuery's names of columns differ by more than case. */
function planColumn(wanted: Column, table: ObservedTable): Differences {
  const { name, type, mode } = wanted;
  const found = table.columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
  if (found === undefined) {
    return { changes: [{ kind: 'add-column', column: name, type: sqlType(wanted) }], obstacles: [] };
  }
  if (found.name === name && found.type === type && (found.mode === 'REPEATED') === (mode === 'REPEATED')) {
    return nothing;
  }
  const what = `column ${found.name} is ${found.mode} ${found.type}, not ${name} ${sqlType(wanted)}`;
  const isOwn = ownColumns.some((column) => column.name === name);
  return obstacle(
    what,
    isOwn
      ? 'name another bigquery.table: a column cannot change its type where it is'
      : 'declare it as it is, or under another name in bigquery.columns: a column cannot change its type where it is',
  );
}

function planForeignColumn({ name, mode }: ObservedTable['columns'][number], wanted: readonly Column[]): Differences {
  const isOurs = wanted.some((column) => column.name.toLowerCase() === name.toLowerCase());
  return isOurs || mode !== 'REQUIRED'
    ? nothing
    : obstacle(
        `column ${name} is REQUIRED and kpipe has no value for it`,
        `ALTER TABLE … ALTER COLUMN ${name} DROP NOT NULL`,
      );
}

function planPartitioning(config: BigQueryConfig, table: ObservedTable): Differences {
  const { partitioning } = table;
  if (partitioning === null || partitioning.type !== 'DAY' || partitioning.field !== partitionColumn) {
    const how =
      partitioning === null
        ? 'not partitioned'
        : `partitioned by ${partitioning.type} on ${partitioning.field ?? 'ingestion'}`;
    return obstacle(
      `the table is ${how}, not by day on ${partitionColumn}`,
      'name another bigquery.table and copy the rows over',
    );
  }
  const filter: readonly WarehouseChange[] =
    table.requirePartitionFilter !== false ? [] : [{ kind: 'require-partition-filter' }];
  const expiry = planExpiry(partitioning.expiryMs, config.expiry ?? null);
  return { changes: [...filter, ...expiry.changes], obstacles: expiry.obstacles };
}

/** A shorter life deletes days at once: that is not for a plan to do. */
function planExpiry(fromMs: number | null, toMs: number | null): Differences {
  if (fromMs === toMs) {
    return nothing;
  }
  const isLonger = toMs === null || (fromMs !== null && toMs > fromMs);
  return isLonger
    ? { changes: [{ kind: 'set-expiry', fromMs, toMs }], obstacles: [] }
    : obstacle(
        `partitions expire after ${days(fromMs)}, kpipe.yaml says ${days(toMs)}: that deletes older days`,
        'set it yourself if that is meant: ALTER TABLE … SET OPTIONS (partition_expiration_days = …)',
      );
}

function planClustering({ clustering }: ObservedTable): Differences {
  return clustering.join() === clusterColumns.join()
    ? nothing
    : { changes: [{ kind: 'set-clustering', from: clustering, to: clusterColumns }], obstacles: [] };
}

/** A view keeps the columns that its table had when it was made, in what it tells of itself: new ones make it anew. */
function planView(
  config: BigQueryConfig,
  found: ObservedWarehouse['view'],
  changes: readonly WarehouseChange[],
): readonly WarehouseChange[] {
  const view = viewName(config);
  if (found === null) {
    return [{ kind: 'create-view', view }];
  }
  const isOther = found.query !== null && squeezed(found.query) !== squeezed(viewQuery(config));
  const isBehind =
    changes.some(({ kind }) => kind === 'add-column') ||
    declaredColumns(config.columns).some(({ name }) => found.columns?.includes(name) === false);
  return isOther || isBehind ? [{ kind: 'replace-view', view }] : [];
}

function planLocation(config: BigQueryConfig, location: string | null): readonly WarehouseObstacle[] {
  return location === null ||
    location === '' ||
    config.location === undefined ||
    location.toLowerCase() === config.location.toLowerCase()
    ? []
    : obstacle(
        `the dataset is in ${location}, not in ${config.location}`,
        'name another bigquery.dataset: one cannot move',
      ).obstacles;
}

function obstacle(what: string, next: string): Differences {
  return { changes: [], obstacles: [{ what, next }] };
}

function squeezed(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}

export function days(ms: number | null): string {
  return ms === null ? 'never' : `${ms / 86_400_000} days`;
}

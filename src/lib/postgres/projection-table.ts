import type { ProjectionConfig } from '../config/schema.ts';
import type { PoolClient } from './pool.ts';

/**
 * The operational tables that events are projected into. Beside the declared columns each has the position of the event
 * that wrote the row last: last write wins by (kpipe_partition, kpipe_offset).
 */
export const positionColumns: readonly TableColumn[] = [
  { name: 'kpipe_partition', type: 'integer' },
  { name: 'kpipe_offset', type: 'bigint' },
];

/** `"public"."orders"`. The configuration admits plain names only; quoting keeps reserved words and case usable. */
export function quotedTable(table: string): string {
  return table.split('.').map(quoted).join('.');
}

export function quoted(name: string): string {
  return `"${name}"`;
}

/** A table as its projections declare it together: several may write one table, each its own columns. */
export interface ProjectionTable {
  readonly table: string;
  readonly key: readonly TableColumn[];
  readonly columns: readonly TableColumn[];
}

export interface TableColumn {
  readonly name: string;
  readonly type: string;
}

export function projectionTables(projections: readonly ProjectionConfig[]): readonly ProjectionTable[] {
  const columnsOf = (columns: ProjectionConfig['columns']): TableColumn[] =>
    Object.entries(columns).map(([name, { type }]) => ({ name, type }));
  const tables = new Map<string, ProjectionTable>();
  for (const { table, key, columns } of projections) {
    const before = tables.get(table) ?? { table, key: columnsOf(key), columns: [] };
    const more = columnsOf(columns).filter(({ name }) => !before.columns.some((column) => column.name === name));
    tables.set(table, { ...before, columns: [...before.columns, ...more] });
  }
  return [...tables.values()];
}

export function createTableStatement({ table, key, columns }: ProjectionTable): string {
  const lines = [
    ...key.map(({ name, type }) => `${quoted(name)} ${type} not null`),
    ...columns.map(({ name, type }) => `${quoted(name)} ${type}`),
    ...positionColumns.map(({ name, type }) => `${name} ${type} not null`),
    `primary key (${key.map(({ name }) => quoted(name)).join(', ')})`,
  ];
  return `create table ${quotedTable(table)} (\n  ${lines.join(',\n  ')}\n)`;
}

/** What the owner of an existing table runs to make it fit. */
export function addColumnsStatement(table: string, columns: readonly TableColumn[]): string {
  const isPosition = (name: string): boolean => positionColumns.some((column) => column.name === name);
  const added = columns.map(
    ({ name, type }) => `add column ${quoted(name)} ${type}${isPosition(name) ? ' not null default -1' : ''}`,
  );
  return `alter table ${quotedTable(table)} ${added.join(', ')};`;
}

export function schemaOf({ table }: ProjectionTable): string {
  return table.split('.')[0] ?? 'public';
}

export async function hasSchema(client: PoolClient, schema: string): Promise<boolean> {
  const found = await client.query('select from pg_namespace where nspname = $1', [schema]);
  return found.rowCount === 1;
}

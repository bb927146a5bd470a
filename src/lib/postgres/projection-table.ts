import type { ProjectionConfig } from '../config/schema.ts';
import type { PoolClient } from './pool.ts';

/**
 * The operational tables that events are projected into. Beside the declared columns each has the position of the event
 * that wrote the row last: last write wins by (kpipe_partition, kpipe_offset).
 */
const positionColumns: readonly TableColumn[] = [
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

/** The columns that an existing table lacks; 'table' when there is none. */
export async function missingColumns(
  client: PoolClient,
  { table, key, columns }: ProjectionTable,
): Promise<readonly TableColumn[] | 'table'> {
  const found = await client.query<{ attname: string | null }>(
    `select a.attname
       from (select to_regclass($1) as oid) t
       left join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      where t.oid is not null`,
    [quotedTable(table)],
  );
  if (found.rows.length === 0) {
    return 'table';
  }
  const present = new Set(found.rows.map((row) => row.attname));
  return [...key, ...columns, ...positionColumns].filter(({ name }) => !present.has(name));
}

export function schemaOf({ table }: ProjectionTable): string {
  return table.split('.')[0] ?? 'public';
}

export async function hasSchema(client: PoolClient, schema: string): Promise<boolean> {
  const found = await client.query('select from pg_namespace where nspname = $1', [schema]);
  return found.rowCount === 1;
}

/** Whether an upsert by the key can name it: a whole, valid unique index on exactly its columns. */
export async function hasUniqueKey(client: PoolClient, { table, key }: ProjectionTable): Promise<boolean> {
  const found = await client.query<{ fits: boolean }>(
    `select exists (
       select from pg_index i
        where i.indrelid = to_regclass($1) and i.indisunique and i.indisvalid
          and i.indpred is null and i.indexprs is null and i.indimmediate
          and i.indnkeyatts = cardinality($2::text[])
          and (
            select array_agg(a.attname::text order by a.attname::text collate "C")
              from unnest(i.indkey[0:i.indnkeyatts - 1]) as part (attnum)
              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = part.attnum
          ) = (select array_agg(name order by name collate "C") from unnest($2::text[]) as given (name))
     ) as fits`,
    [quotedTable(table), key.map(({ name }) => name)],
  );
  return found.rows[0]?.fits === true;
}

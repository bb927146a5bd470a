import type { ProjectionConfig } from '../config/schema.ts';
import type { PoolClient } from './pool.ts';

/**
 * The operational tables that events are projected into. Beside the declared columns each has the position of the event
 * that wrote the row last: last write wins by (kpipe_partition, kpipe_offset).
 */
const positionColumns: readonly (readonly [string, string])[] = [
  ['kpipe_partition', 'integer'],
  ['kpipe_offset', 'bigint'],
];

/** `"public"."orders"`. The configuration admits plain names only; quoting keeps reserved words and case usable. */
export function quotedTable(table: string): string {
  return table.split('.').map(quoted).join('.');
}

export function quoted(name: string): string {
  return `"${name}"`;
}

export function createTableStatement(projection: ProjectionConfig): string {
  const keys = Object.entries(projection.key).map(([name, { type }]) => `${quoted(name)} ${type} not null`);
  const columns = Object.entries(projection.columns).map(([name, { type }]) => `${quoted(name)} ${type}`);
  const position = positionColumns.map(([name, type]) => `${name} ${type} not null`);
  const primaryKey = `primary key (${Object.keys(projection.key).map(quoted).join(', ')})`;
  return `create table ${quotedTable(projection.table)} (\n  ${[...keys, ...columns, ...position, primaryKey].join(',\n  ')}\n)`;
}

/** `name type` of the columns that an existing table lacks; 'table' when there is none. */
export async function missingColumns(
  client: PoolClient,
  projection: ProjectionConfig,
): Promise<readonly string[] | 'table'> {
  const found = await client.query<{ attname: string | null }>(
    `select a.attname
       from (select to_regclass($1) as oid) t
       left join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
      where t.oid is not null`,
    [quotedTable(projection.table)],
  );
  if (found.rows.length === 0) {
    return 'table';
  }
  const present = new Set(found.rows.map((row) => row.attname));
  const needed: readonly (readonly [string, string])[] = [
    ...[...Object.entries(projection.key), ...Object.entries(projection.columns)].map(
      ([name, { type }]) => [name, type] as const,
    ),
    ...positionColumns,
  ];
  return needed.filter(([name]) => !present.has(name)).map(([name, type]) => `${name} ${type}`);
}

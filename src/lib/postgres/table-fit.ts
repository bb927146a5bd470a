import type { PoolClient } from './pool.ts';
import { addColumnsStatement, positionColumns, quoted, quotedTable, type ProjectionTable } from './projection-table.ts';

export type TableRight = 'select' | 'insert' | 'update' | 'delete';

/** Why a table that is there cannot be written as declared, and the statement that its owner runs to mend it. */
export interface Misfit {
  readonly problem: string;
  readonly next: string;
}

/** A column as PostgreSQL's catalogue has it. */
interface FoundColumn {
  readonly name: string;
  /** Without its modifiers; of a domain, the type below it. */
  readonly type: string;
  readonly shown: string;
  /** Every row must have a value, and neither a default nor a trigger before the insert may give one. */
  readonly wantsValue: boolean;
  /** Nobody may give one. */
  readonly isGenerated: boolean;
}

/**
 * Column types that hold a value of a declared type as it is or refuse it, which buries that record alone. Others would
 * round it or cut it in silence, or refuse every one.
 */
const holders: Readonly<Record<string, readonly string[]>> = {
  text: ['text', 'character varying', 'citext'],
  bigint: ['bigint', 'integer', 'smallint', 'numeric'],
  integer: ['integer', 'bigint', 'smallint', 'numeric', 'double precision'],
  numeric: ['numeric'],
  'double precision': ['double precision'],
  boolean: ['boolean'],
  'timestamp with time zone': ['timestamp with time zone'],
  date: ['date'],
  uuid: ['uuid'],
  jsonb: ['jsonb', 'json'],
};

/** The name that PostgreSQL's catalogue has for a type of kpipe.yaml. */
const catalogueNames: Readonly<Record<string, string>> = { timestamptz: 'timestamp with time zone' };

/**
 * What keeps a declared table from being written as declared, first things first; null: nothing. 'missing': there is no
 * such table.
 */
export async function misfitOf(client: PoolClient, declared: ProjectionTable): Promise<Misfit | 'missing' | null> {
  const found = await columnsOf(client, declared.table);
  if (found === null) {
    return 'missing';
  }
  const table = { ...declared, columns: [...declared.columns, ...positionColumns] };
  return (
    missingColumns(table, found) ??
    wrongTypes(table, found) ??
    columnsWithoutValue(table, found) ??
    (await missingKey(client, table.table, names(table.key)))
  );
}

function names(columns: ProjectionTable['key']): readonly string[] {
  return columns.map(({ name }) => name);
}

/** A table by its schema ($1) and name ($2): to_regclass would want a right on the schema. */
const named = `(select c.oid
         from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = $1 and c.relname = $2)`;

function nameOf(table: string): readonly [string, string] {
  const [schema = '', name = ''] = table.split('.');
  return [schema, name];
}

/** Null: there is no such table. */
async function columnsOf(client: PoolClient, table: string): Promise<readonly FoundColumn[] | null> {
  const { rows } = await client.query<FoundColumn | { readonly name: null }>(
    `select a.attname as name,
            format_type(case t.typtype when 'd' then t.typbasetype else t.oid end, null) as type,
            format_type(a.atttypid, a.atttypmod) as shown,
            a.attnotnull and not a.atthasdef and a.attidentity = '' and not exists (
              select from pg_trigger g where g.tgrelid = found.oid and not g.tgisinternal and g.tgtype & 7 = 7
            ) as "wantsValue",
            a.attgenerated <> '' or a.attidentity = 'a' as "isGenerated"
       from ${named} found
       left join pg_attribute a on a.attrelid = found.oid and a.attnum > 0 and not a.attisdropped
       left join pg_type t on t.oid = a.atttypid
      order by a.attnum`,
    [...nameOf(table)],
  );
  return rows.length === 0 ? null : rows.flatMap((row) => (row.name === null ? [] : [row]));
}

function missingColumns({ table, key, columns }: ProjectionTable, found: readonly FoundColumn[]): Misfit | null {
  const missing = [...key, ...columns].filter(({ name }) => !found.some((column) => column.name === name));
  return missing.length === 0
    ? null
    : {
        problem: `${table} exists without ${missing.map(({ name }) => name).join(', ')}`,
        next: `add them (${addColumnsStatement(table, missing)}), or name another table`,
      };
}

function wrongTypes({ table, key, columns }: ProjectionTable, found: readonly FoundColumn[]): Misfit | null {
  const wrong = [...key, ...columns].flatMap(({ name, type }) => {
    const column = found.find((each) => each.name === name);
    const declared = catalogueNames[type] ?? type;
    const fits = column !== undefined && !column.isGenerated && (holders[declared] ?? [declared]).includes(column.type);
    return column === undefined || fits ? [] : [{ ...column, declared: type }];
  });
  if (wrong.length === 0) {
    return null;
  }
  const alters = wrong.map(({ name, declared, isGenerated }) =>
    isGenerated
      ? `drop column ${quoted(name)}, add column ${quoted(name)} ${declared}`
      : `alter column ${quoted(name)} type ${declared} using ${quoted(name)}::${declared}`,
  );
  const told = wrong.map(({ name, shown, declared, isGenerated }) =>
    isGenerated ? `${name} is generated` : `${name} is ${shown}, not ${declared}`,
  );
  return {
    problem: `${table} has columns that do not hold what is declared: ${told.join('; ')}`,
    next: `change them (alter table ${quotedTable(table)} ${alters.join(', ')};), or correct the types in kpipe.yaml`,
  };
}

/** Columns that are not declared and must have a value: each new row would be refused. */
function columnsWithoutValue({ table, key, columns }: ProjectionTable, found: readonly FoundColumn[]): Misfit | null {
  const declared = new Set([...key, ...columns].map(({ name }) => name));
  const open = found.filter(({ name, wantsValue }) => wantsValue && !declared.has(name));
  if (open.length === 0) {
    return null;
  }
  const drops = open.map(({ name }) => `alter column ${quoted(name)} drop not null`);
  return {
    problem: `${table} has columns that want a value and are not declared: ${open.map(({ name }) => name).join(', ')}`,
    next: `declare them, give them a default, or let them be null (alter table ${quotedTable(table)} ${drops.join(', ')};)`,
  };
}

/** Rows are replaced, and repeats are told, by a unique key on exactly these columns. */
export async function missingKey(client: PoolClient, table: string, key: readonly string[]): Promise<Misfit | null> {
  return (await hasUniqueKey(client, table, key))
    ? null
    : {
        problem: `${table} exists without a unique key on exactly ${key.join(', ')}: rows could not be replaced`,
        next: `make it (create unique index on ${quotedTable(table)} (${key.map(quoted).join(', ')});), or correct the projection's key`,
      };
}

/** Of these columns, those that the table lacks; null: there is no such table. */
export async function lackedColumns(
  client: PoolClient,
  table: string,
  columns: readonly string[],
): Promise<readonly string[] | null> {
  const found = await columnsOf(client, table);
  return found === null ? null : columns.filter((name) => !found.some((column) => column.name === name));
}

/** Whether an upsert by the key can name it: a whole, valid unique index on exactly its columns. */
async function hasUniqueKey(client: PoolClient, table: string, key: readonly string[]): Promise<boolean> {
  const found = await client.query<{ fits: boolean }>(
    `select exists (
       select from ${named} found, pg_index i
        where i.indrelid = found.oid and i.indisunique and i.indisvalid
          and i.indpred is null and i.indexprs is null and i.indimmediate
          and i.indnkeyatts = cardinality($3::text[])
          and (
            select array_agg(a.attname::text order by a.attname::text collate "C")
              from unnest(i.indkey[0:i.indnkeyatts - 1]) as part (attnum)
              join pg_attribute a on a.attrelid = i.indrelid and a.attnum = part.attnum
          ) = (select array_agg(name order by name collate "C") from unnest($3::text[]) as given (name))
     ) as fits`,
    [...nameOf(table), key],
  );
  return found.rows[0]?.fits === true;
}

/** The rights that the connection's user lacks, and the grants that give them; null: none. A right on columns counts. */
export async function missingRights(
  client: PoolClient,
  table: string,
  rights: readonly TableRight[],
): Promise<Misfit | null> {
  const [schema, name] = nameOf(table);
  const { rows } = await client.query<{ login: string; lacked: string | null; schema: boolean }>(
    `select current_user as login,
            has_schema_privilege($1, 'usage') as schema,
            (select string_agg(wanted, ', ' order by at)
               from unnest($3::text[]) with ordinality as w (wanted, at)
              where not has_table_privilege(found.oid, wanted)
                and not (wanted <> 'delete' and has_any_column_privilege(found.oid, case wanted when 'delete' then 'select' else wanted end))
            ) as lacked
       from ${named} found`,
    [schema, name, rights],
  );
  const [row] = rows;
  if (row === undefined || (row.schema && row.lacked === null)) {
    return null;
  }
  const login = quoted(row.login.replaceAll('"', '""'));
  const grants = [
    ...(row.schema ? [] : [`grant usage on schema ${quoted(schema)} to ${login};`]),
    ...(row.lacked === null ? [] : [`grant ${row.lacked} on ${quotedTable(table)} to ${login};`]),
  ];
  const lacked = [...(row.schema ? [] : [`usage of schema ${schema}`]), ...(row.lacked === null ? [] : [row.lacked])];
  return {
    problem: `the user ${row.login} may not write ${table}: it lacks ${lacked.join(', ')}`,
    next: `let the table's owner run: ${grants.join(' ')}`,
  };
}

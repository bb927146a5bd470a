import type { ProjectionConfig } from '../config/schema.ts';
import type { ProjectionChange } from '../records/projection.ts';
import { int8Array, textArray } from './array-binary.ts';
import { changeOf, lastChanges, type EncodedChange, type RowChanges } from './encoded-changes.ts';
import { projectionTables, quoted, quotedTable, type ProjectionTable, type TableColumn } from './projection-table.ts';
import type { PoolClient } from './pool.ts';

/**
 * Applies one batch's changes to the operational tables, a statement a table, inside the data's transaction. Answers those
 * that took effect, where that was asked for; else none.
 */
export type ApplyProjections = (
  client: PoolClient,
  partition: number,
  rows: readonly RowChanges[],
) => Promise<readonly ProjectionChange[]>;

export interface ApplyOptions {
  /** Whether somebody wants to know what took effect: rows that nobody reads are not asked back. */
  readonly tellsEffective: boolean;
}

interface Statements {
  readonly upsert: string;
  readonly delete: string;
}

/** A table that several projections write: a change of one leaves the others' columns as they are. */
type SharedTable = ProjectionTable | null;

interface Returned {
  readonly kpipe_offset: string;
  /** The row after an upsert, in the order of its table's columns, where several projections write it. */
  readonly row?: readonly (string | null)[];
}

/**
 * Prepares the statements of the role's projections. The function answers the changes that took effect: of those to one
 * key the last one, so that delete-then-insert in one batch leaves the row and insert-then-delete leaves none; and not
 * those whose row has a later position (kpipe_partition, kpipe_offset), which stays as it is.
 */
export function prepareProjections(
  projections: readonly ProjectionConfig[],
  { tellsEffective }: ApplyOptions,
): ApplyProjections {
  const shared = projections.map((projection) => sharedTable(projections, projection.table));
  const statements = projections.map((projection, index) =>
    statementsOf(projection, shared[index] ?? null, tellsEffective),
  );
  const keyLengths = projections.map(({ key }) => Object.keys(key).length);
  const tables = projections.map(({ table }) => table);
  return async (client, partition, rows) => {
    const effective: ProjectionChange[] = [];
    for (const round of roundsOf(lastChanges(rows, keyLengths), tables)) {
      for (const [index, { upsert, delete: remove }] of statements.entries()) {
        const ours = round.filter((change) => change.projection === index);
        const deletes = ours.filter((change) => change.kind === 'delete');
        const upserts = ours.filter((change) => change.kind === 'upsert');
        for (const [statement, changes] of [
          [remove, deletes],
          [upsert, upserts],
        ] as const) {
          const returned = await run(client, statement, partition, changes);
          if (tellsEffective) {
            effective.push(...effectiveOf(changes, returned, shared[index] ?? null));
          }
        }
      }
    }
    return effective;
  };
}

function sharedTable(projections: readonly ProjectionConfig[], table: string): SharedTable {
  const ours = projections.filter((projection) => projection.table === table);
  return ours.length < 2 ? null : (projectionTables(ours)[0] ?? null);
}

function effectiveOf(
  changes: readonly EncodedChange[],
  returned: readonly Returned[],
  shared: SharedTable,
): readonly ProjectionChange[] {
  const byOffset = new Map(returned.map((row) => [BigInt(row.kpipe_offset), row]));
  return changes.flatMap((change): ProjectionChange[] => {
    const found = byOffset.get(change.offset);
    if (found === undefined) {
      return [];
    }
    const values = found.row;
    return shared === null || values === undefined
      ? [changeOf(change)]
      : [
          {
            ...changeOf(change),
            row: Object.fromEntries(columnsOf(shared).map(({ name }, index) => [name, values[index] ?? null])),
          },
        ];
  });
}

function columnsOf({ key, columns }: ProjectionTable): readonly TableColumn[] {
  return [...key, ...columns];
}

/** Several projections may write one table: changes of one row go in offset order, one a round. */
function roundsOf(changes: readonly EncodedChange[], tables: readonly string[]): readonly (readonly EncodedChange[])[] {
  if (new Set(tables).size === tables.length) {
    return [changes];
  }
  const rounds: EncodedChange[][] = [];
  const roundOf = new Map<string, number>();
  for (const change of changes.toSorted((left, right) => (left.offset < right.offset ? -1 : 1))) {
    const row = `${tables[change.projection]}\u0000${change.key}`;
    const round = roundOf.get(row) ?? 0;
    roundOf.set(row, round + 1);
    (rounds[round] ??= []).push(change);
  }
  return rounds;
}

/** Answers what the statement returned. */
async function run(
  client: PoolClient,
  statement: string,
  partition: number,
  changes: readonly EncodedChange[],
): Promise<readonly Returned[]> {
  if (changes.length === 0) {
    return [];
  }
  const fields = Array.from({ length: changes[0]?.fields ?? 0 }, (_, field) => textArray(changes, field));
  const offsets = int8Array(changes.map((change) => change.offset));
  const done = await client.query<Returned>(statement, [partition, offsets, ...fields]);
  return done.rows;
}

/** Values come as arrays of text, checked before, one parameter a column: 65,535 parameters are no limit. */
function statementsOf(projection: ProjectionConfig, shared: SharedTable, tellsEffective: boolean): Statements {
  const table = quotedTable(projection.table);
  const key = Object.entries(projection.key);
  const all = [...key, ...Object.entries(projection.columns)];
  const names = all.map(([name]) => quoted(name));
  const keyNames = key.map(([name]) => quoted(name));
  const arrays = (count: number): string =>
    Array.from({ length: count }, (_, index) => `$${index + 3}::text[]`).join(', ');
  const casts = all.map(([name, { type }]) => `v.${quoted(name)}::${type}`);
  const updates = Object.keys(projection.columns).map((name) => `${quoted(name)} = excluded.${quoted(name)}`);
  const sameKey = key.map(([name, { type }]) => `t.${quoted(name)} = v.${quoted(name)}::${type}`).join(' and ');
  // One event may change a shared row by several projections: the second finds the first one's position.
  const older = shared === null ? '<' : '<=';
  const row = shared === null ? [] : [`array[${columnsOf(shared).map(shown).join(', ')}] as row`];
  const returned = ['t.kpipe_offset', ...row].join(', ');
  return {
    upsert: `
      insert into ${table} as t (${names.join(', ')}, kpipe_partition, kpipe_offset)
      select ${casts.join(', ')}, $1::integer, v.kpipe_offset
        from unnest($2::bigint[], ${arrays(all.length)}) as v (kpipe_offset, ${names.join(', ')})
      on conflict (${keyNames.join(', ')}) do update
         set ${[...updates, 'kpipe_partition = excluded.kpipe_partition', 'kpipe_offset = excluded.kpipe_offset'].join(', ')}
       where (t.kpipe_partition, t.kpipe_offset) ${older} (excluded.kpipe_partition, excluded.kpipe_offset)
      ${tellsEffective ? `returning ${returned}` : ''}`,
    // A row that is not there is deleted too; only a later one keeps its delete from taking effect.
    delete: `
      with v as (select * from unnest($2::bigint[], ${arrays(key.length)}) as v (kpipe_offset, ${keyNames.join(', ')})),
      removed as (
        delete from ${table} t
         using v
         where ${sameKey}
           and (t.kpipe_partition, t.kpipe_offset) <= ($1::integer, v.kpipe_offset)
      )
      select v.kpipe_offset
        from v
       where not exists (
         select from ${table} t
          where ${sameKey}
            and (t.kpipe_partition, t.kpipe_offset) > ($1::integer, v.kpipe_offset)
       )`,
  };
}

/** A column's text as a projection writes it, whatever the session's time zone and date style. */
function shown({ name, type }: TableColumn): string {
  const column = `t.${quoted(name)}`;
  return type === 'timestamptz'
    ? `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') ||
         case when ${column} < '0001-01-01T00:00:00Z' then ' BC' else '' end`
    : `${column}::text`;
}

import type { ProjectionConfig } from '../config/schema.ts';
import { lastChanges, type ProjectionChange } from '../records/projection.ts';
import { quoted, quotedTable } from './projection-table.ts';
import type { PoolClient } from './pool.ts';

/** Applies one batch's changes to the operational tables, a statement a table, inside the data's transaction. */
export type ApplyProjections = (
  client: PoolClient,
  partition: number,
  changes: readonly ProjectionChange[],
) => Promise<readonly ProjectionChange[]>;

interface Statements {
  readonly upsert: string;
  readonly delete: string;
}

/**
 * Prepares the statements of the role's projections. The function answers the changes that took effect: of those to one
 * key the last one, so that delete-then-insert in one batch leaves the row and insert-then-delete leaves none; and not
 * those whose row has a later position (kpipe_partition, kpipe_offset), which stays as it is.
 */
export function prepareProjections(projections: readonly ProjectionConfig[]): ApplyProjections {
  const statements = projections.map(statementsOf);
  const tables = projections.map(({ table }) => table);
  return async (client, partition, changes) => {
    const effective: ProjectionChange[] = [];
    for (const round of roundsOf(lastChanges(changes), tables)) {
      for (const [index, { upsert, delete: remove }] of statements.entries()) {
        const ours = round.filter((change) => change.projection === index);
        const deletes = ours.filter((change) => change.kind === 'delete');
        const upserts = ours.filter((change) => change.kind === 'upsert');
        effective.push(...(await run(client, remove, partition, deletes, false)));
        effective.push(...(await run(client, upsert, partition, upserts, true)));
      }
    }
    return effective;
  };
}

/** Several projections may write one table: changes of one row go in offset order, one a round. */
function roundsOf(
  changes: readonly ProjectionChange[],
  tables: readonly string[],
): readonly (readonly ProjectionChange[])[] {
  if (new Set(tables).size === tables.length) {
    return [changes];
  }
  const rounds: ProjectionChange[][] = [];
  const roundOf = new Map<string, number>();
  for (const change of changes.toSorted((left, right) => (left.offset < right.offset ? -1 : 1))) {
    const row = JSON.stringify([tables[change.projection], ...change.key]);
    const round = roundOf.get(row) ?? 0;
    roundOf.set(row, round + 1);
    (rounds[round] ??= []).push(change);
  }
  return rounds;
}

/** Answers the changes that took effect. */
async function run(
  client: PoolClient,
  statement: string,
  partition: number,
  changes: readonly ProjectionChange[],
  withColumns: boolean,
): Promise<readonly ProjectionChange[]> {
  const [first] = changes;
  if (first === undefined) {
    return [];
  }
  const keys = first.key.map((_, column) => changes.map((change) => change.key[column]));
  const columns = withColumns ? first.columns.map((_, column) => changes.map((change) => change.columns[column])) : [];
  const offsets = changes.map((change) => change.offset);
  const done = await client.query<{ kpipe_offset: string }>(statement, [partition, offsets, ...keys, ...columns]);
  const effective = new Set(done.rows.map((row) => BigInt(row.kpipe_offset)));
  return changes.filter((change) => effective.has(change.offset));
}

/** Values come as arrays of text, checked before, one parameter a column: 65,535 parameters are no limit. */
function statementsOf(projection: ProjectionConfig): Statements {
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
  return {
    upsert: `
      insert into ${table} as t (${names.join(', ')}, kpipe_partition, kpipe_offset)
      select ${casts.join(', ')}, $1::integer, v.kpipe_offset
        from unnest($2::bigint[], ${arrays(all.length)}) as v (kpipe_offset, ${names.join(', ')})
      on conflict (${keyNames.join(', ')}) do update
         set ${[...updates, 'kpipe_partition = excluded.kpipe_partition', 'kpipe_offset = excluded.kpipe_offset'].join(', ')}
       where (t.kpipe_partition, t.kpipe_offset) < (excluded.kpipe_partition, excluded.kpipe_offset)
      returning t.kpipe_offset`,
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

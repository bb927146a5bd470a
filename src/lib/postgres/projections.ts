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
 * Prepares the statements of the role's projections. The function answers the changes that count: the last one a key,
 * so that delete-then-insert in one batch leaves the row and insert-then-delete leaves none. A row whose position
 * (kpipe_partition, kpipe_offset) is later than the change's stays as it is.
 */
export function prepareProjections(projections: readonly ProjectionConfig[]): ApplyProjections {
  const statements = projections.map(statementsOf);
  return async (client, partition, changes) => {
    const last = lastChanges(changes);
    for (const [index, { upsert, delete: remove }] of statements.entries()) {
      const ours = last.filter((change) => change.projection === index);
      await run(
        client,
        remove,
        partition,
        ours.filter((change) => change.kind === 'delete'),
        false,
      );
      await run(
        client,
        upsert,
        partition,
        ours.filter((change) => change.kind === 'upsert'),
        true,
      );
    }
    return last;
  };
}

async function run(
  client: PoolClient,
  statement: string,
  partition: number,
  changes: readonly ProjectionChange[],
  withColumns: boolean,
): Promise<void> {
  const [first] = changes;
  if (first === undefined) {
    return;
  }
  const keys = first.key.map((_, column) => changes.map((change) => change.key[column]));
  const columns = withColumns ? first.columns.map((_, column) => changes.map((change) => change.columns[column])) : [];
  await client.query(statement, [partition, changes.map((change) => change.offset), ...keys, ...columns]);
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
  return {
    upsert: `
      insert into ${table} as t (${names.join(', ')}, kpipe_partition, kpipe_offset)
      select ${casts.join(', ')}, $1::integer, v.kpipe_offset
        from unnest($2::bigint[], ${arrays(all.length)}) as v (kpipe_offset, ${names.join(', ')})
      on conflict (${keyNames.join(', ')}) do update
         set ${[...updates, 'kpipe_partition = excluded.kpipe_partition', 'kpipe_offset = excluded.kpipe_offset'].join(', ')}
       where (t.kpipe_partition, t.kpipe_offset) < (excluded.kpipe_partition, excluded.kpipe_offset)`,
    delete: `
      delete from ${table} t
       using unnest($2::bigint[], ${arrays(key.length)}) as v (kpipe_offset, ${keyNames.join(', ')})
       where ${key.map(([name, { type }]) => `t.${quoted(name)} = v.${quoted(name)}::${type}`).join(' and ')}
         and (t.kpipe_partition, t.kpipe_offset) <= ($1::integer, v.kpipe_offset)`,
  };
}

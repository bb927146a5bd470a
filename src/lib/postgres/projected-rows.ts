import { asking, inTransaction, type Pool } from './pool.ts';
import { quoted, quotedTable } from './projection-table.ts';

export interface ProjectedRows {
  /** `schema.table`, as kpipe.yaml has it. */
  readonly table: string;
  readonly key: string;
  readonly columns: readonly string[];
}

/** The rows of a projection with these keys: by key, the columns as text. @throws KPIPE_POSTGRES_… */
export function projectedRows(
  pool: Pool,
  { table, key, columns }: ProjectedRows,
  keys: readonly string[],
): Promise<ReadonlyMap<string, readonly (string | null)[]>> {
  const text = `
    select ${[key, ...columns].map((column) => `${quoted(column)}::text`).join(', ')}
    from ${quotedTable(table)}
    where ${quoted(key)}::text = any($1)`;
  return asking(pool, () =>
    inTransaction(pool, 120_000, async (client) => {
      const { rows } = await client.query<[string, ...(string | null)[]]>({ text, values: [keys], rowMode: 'array' });
      return new Map(rows.map(([id, ...values]) => [id, values]));
    }),
  );
}

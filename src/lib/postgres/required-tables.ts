import type { ProjectionConfig } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { asking, inTransaction, type Pool, type PoolClient } from './pool.ts';
import { projectionTables, quoted } from './projection-table.ts';
import { lackedColumns, missingKey, missingRights, misfitOf, type Misfit, type TableRight } from './table-fit.ts';

/**
 * What a role looks at before it reads a record: that the tables it writes are there, fit, and may be written. Found out
 * at run time, the same would bury every record, or end the role after its first batch.
 */
const askingTimeoutMs = 5000;

/** A table of kpipe's own as a role writes it. */
export interface OwnTable {
  readonly table: string;
  readonly columns: readonly string[];
  /** Of the unique key. */
  readonly key: readonly string[];
  readonly rights: readonly TableRight[];
}

const consumerOffset: OwnTable = {
  table: 'kpipe.consumer_offset',
  columns: ['role', 'topic', 'topic_id', 'partition', 'next_offset', 'epoch', 'rereads', 'busy_ms', 'replay_id'],
  key: ['role', 'topic', 'partition'],
  rights: ['select', 'insert', 'update'],
};

/** @throws KPIPE_SCHEMA_MISSING, KPIPE_REFUSED with the statement that mends it, KPIPE_POSTGRES_UNREACHABLE */
export async function requireOwnTables(pool: Pool, role: string, table: OwnTable): Promise<void> {
  await looking(pool, async (client) => {
    for (const own of [consumerOffset, table]) {
      const lacked = await lackedColumns(client, own.table, own.columns);
      if (lacked === null || lacked.length > 0) {
        const what =
          lacked === null ? `the table ${own.table}` : lacked.map((name) => `${own.table}.${name}`).join(', ');
        throw new KpipeError('KPIPE_SCHEMA_MISSING', `role ${role} needs ${what}, which is not there`, {
          next: 'run `kpipe migrate`',
        });
      }
      refuse(role, await missingKey(client, own.table, own.key));
      refuse(role, await missingRights(client, own.table, own.rights));
    }
    refuse(role, await missingTemporary(client));
  });
}

/** @throws KPIPE_SCHEMA_MISSING, KPIPE_REFUSED with the statement that mends it, KPIPE_POSTGRES_UNREACHABLE */
export async function requireProjectionTables(
  pool: Pool,
  role: string,
  projections: readonly ProjectionConfig[],
): Promise<void> {
  await looking(pool, async (client) => {
    for (const table of projectionTables(projections)) {
      const misfit = await misfitOf(client, table);
      if (misfit === 'missing') {
        throw new KpipeError(
          'KPIPE_SCHEMA_MISSING',
          `role ${role} needs the table ${table.table}, which is not there`,
          {
            next: 'run `kpipe migrate`',
          },
        );
      }
      refuse(role, misfit);
      const deletes = projections.some((each) => each.table === table.table && each.deleteOn.length > 0);
      const rights: readonly TableRight[] = ['select', 'insert', 'update', ...(deletes ? (['delete'] as const) : [])];
      refuse(role, await missingRights(client, table.table, rights));
    }
  });
}

function looking(pool: Pool, look: (client: PoolClient) => Promise<void>): Promise<void> {
  return asking(pool, () => inTransaction(pool, askingTimeoutMs, look));
}

function refuse(role: string, misfit: Misfit | null): void {
  if (misfit !== null) {
    throw new KpipeError('KPIPE_REFUSED', `role ${role} cannot write: ${misfit.problem}`, { next: misfit.next });
  }
}

/** Repeats go through a temporary table. */
async function missingTemporary(client: PoolClient): Promise<Misfit | null> {
  const { rows } = await client.query<{ login: string; database: string; may: boolean }>(
    `select current_user as login, current_database() as database,
            has_database_privilege(current_database(), 'temporary') as may`,
  );
  const [row] = rows;
  return row === undefined || row.may
    ? null
    : {
        problem: `the user ${row.login} may make no temporary table in ${row.database}`,
        next: `let the database's owner run: grant temporary on database ${quoted(row.database)} to ${quoted(row.login)};`,
      };
}

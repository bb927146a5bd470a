import type { ProjectionConfig } from '../config/schema.ts';
import type { PostgresConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { sql as pipeline } from './migrations/0001-pipeline.ts';
import { sql as replay } from './migrations/0002-replay.ts';
import { sql as logPartitionFunctions } from './migrations/0003-log-partition-functions.ts';
import { ensureLogPartitions } from './log-partitions.ts';
import { asking, inTransaction, openPool, type Pool, type PoolClient } from './pool.ts';
import { createTableStatement, hasSchema, projectionTables, quoted, schemaOf } from './projection-table.ts';
import { misfitOf } from './table-fit.ts';

/** Append-only: an applied migration is never changed, a new one is added below it. */
const migrations = [
  { id: 1, name: 'pipeline', sql: pipeline },
  { id: 2, name: 'replay', sql: replay },
  { id: 3, name: 'log-partition-functions', sql: logPartitionFunctions },
] as const;

export interface MigrationStep {
  readonly kind: 'migration' | 'schema' | 'projection' | 'log-partitions';
  readonly name: string;
  readonly applied: boolean;
}

export interface MigrateOptions {
  readonly projections: readonly ProjectionConfig[];
  /** Days of logs that are kept: that many partitions are there from the start. */
  readonly logRetentionMs: number;
  readonly nowMs: number;
  /** Look, change nothing. */
  readonly planOnly: boolean;
}

/**
 * Brings the database to this version's schema: kpipe's own migrations, the declared projection tables that are missing,
 * the logs' partitions. What exists is never changed. Two at once wait for each other.
 * @throws KPIPE_REFUSED when a declared table exists that cannot be written as declared; KPIPE_POSTGRES_…
 */
export async function migrate(pool: Pool, options: MigrateOptions): Promise<readonly MigrationStep[]> {
  return asking(pool, () =>
    inTransaction(pool, 600_000, async (client) => {
      // A transaction's lock: a session's would not hold through PgBouncer.
      await client.query(`select pg_advisory_xact_lock(hashtextextended('kpipe.migrate', 0))`);
      const steps = [...(await applyMigrations(client, options.planOnly)), ...(await makeProjections(client, options))];
      if (!options.planOnly) {
        const made = await ensureLogPartitions(client, { retentionMs: options.logRetentionMs, nowMs: options.nowMs });
        steps.push(...made.map((name) => ({ kind: 'log-partitions' as const, name, applied: true })));
      }
      return steps;
    }),
  );
}

/** `migrate` on the primary that kpipe.yaml names. */
export async function migrateDatabase(
  config: PostgresConfig,
  options: MigrateOptions,
): Promise<readonly MigrationStep[]> {
  const pool = await openPool(config, { applicationName: 'kpipe:migrate', max: 1 });
  try {
    return await migrate(pool, options);
  } finally {
    await pool.end();
  }
}

async function applyMigrations(client: PoolClient, planOnly: boolean): Promise<MigrationStep[]> {
  const applied = await appliedMigrations(client);
  const newest = Math.max(0, ...applied);
  if (newest > migrations.length) {
    throw new KpipeError('KPIPE_REFUSED', `the database was migrated by a newer kpipe (migration ${newest})`, {
      next: 'use that version of kpipe',
    });
  }
  const missing = migrations.filter((migration) => !applied.has(migration.id));
  if (!planOnly && missing.length > 0) {
    await client.query('create schema if not exists kpipe');
    await client.query(
      `create table if not exists kpipe.migration (
         id integer primary key,
         name text not null,
         applied_at timestamptz not null default now()
       )`,
    );
  }
  for (const migration of planOnly ? [] : missing) {
    await client.query(migration.sql);
    await client.query('insert into kpipe.migration (id, name) values ($1, $2)', [migration.id, migration.name]);
  }
  return missing.map(({ name }) => ({ kind: 'migration', name, applied: !planOnly }));
}

async function appliedMigrations(client: PoolClient): Promise<ReadonlySet<number>> {
  const table = await client.query<{ present: boolean }>(
    `select to_regclass('kpipe.migration') is not null as present`,
  );
  if (table.rows[0]?.present !== true) {
    return new Set();
  }
  const rows = await client.query<{ id: number }>('select id from kpipe.migration');
  return new Set(rows.rows.map((row) => row.id));
}

async function makeProjections(client: PoolClient, options: MigrateOptions): Promise<MigrationStep[]> {
  const steps: MigrationStep[] = [];
  for (const table of projectionTables(options.projections)) {
    const misfit = await misfitOf(client, table);
    if (misfit === 'missing') {
      const schema = schemaOf(table);
      if (!steps.some(({ kind, name }) => kind === 'schema' && name === schema) && !(await hasSchema(client, schema))) {
        if (!options.planOnly) {
          await client.query(`create schema ${quoted(schema)}`);
        }
        steps.push({ kind: 'schema', name: schema, applied: !options.planOnly });
      }
      if (!options.planOnly) {
        await client.query(createTableStatement(table));
      }
      steps.push({ kind: 'projection', name: table.table, applied: !options.planOnly });
    } else if (misfit !== null) {
      // What exists is never changed: its owner is told what would make it fit.
      throw new KpipeError('KPIPE_REFUSED', misfit.problem, { next: misfit.next });
    }
  }
  return steps;
}

import { join } from 'node:path';

import { KpipeError, messageOf } from '../errors.ts';
import { postgresError } from '../postgres/failures.ts';
import { hashTables, hashWatermarks } from '../postgres/fingerprint.ts';
import type { Pool } from '../postgres/pool.ts';
import { holds, withRestored } from '../postgres/restored.ts';
import type { BackupEntry, Fingerprint } from './entry.ts';
import { programEnvironment, run, type Workspace } from './programs.ts';
import type { PostgresPrograms } from './tools.ts';
import { CheckFailed } from './verdict.ts';

/** What the restored server holds, against the fingerprint. @throws CheckFailed CONTENT_DIFFERS, NO_FINGERPRINT */
export async function compareContent(entry: BackupEntry, socket: string, signal: AbortSignal): Promise<string> {
  const { fingerprint } = entry;
  if (fingerprint === null) {
    throw new CheckFailed('NO_FINGERPRINT', 'the backup has no fingerprint: its contents cannot be proven');
  }
  const differences =
    fingerprint.method === 'standby'
      ? await compareTables(fingerprint, entry, socket, signal)
      : await compareWatermarks(fingerprint, entry, socket, signal);
  if (differences.length > 0) {
    const more = differences.length > 3 ? ` and ${differences.length - 3} more` : '';
    throw new CheckFailed('CONTENT_DIFFERS', `${differences.slice(0, 3).join('; ')}${more}`);
  }
  return fingerprint.method === 'standby'
    ? `${fingerprint.tables.length} tables, ${totalRows(fingerprint.tables)} rows are what ${fingerprint.standby} held at ${fingerprint.lsn}`
    : `${totalRows(fingerprint.partitions)} rows below the positions of ${fingerprint.partitions.length} partitions are what the primary held`;
}

function totalRows(parts: readonly { readonly rows: string }[]): string {
  return parts.reduce((sum, { rows }) => sum + BigInt(rows), 0n).toLocaleString('en-US');
}

async function compareTables(
  fingerprint: Extract<Fingerprint, { method: 'standby' }>,
  entry: BackupEntry,
  socket: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const differences: string[] = [];
  for (const [database, expected] of Map.groupBy(fingerprint.tables, (table) => table.database)) {
    const names = expected.map(({ table }) => table);
    const found = await onDatabase(socket, entry, database, (pool) => hashTables(pool, names, signal));
    for (const [index, { table, rows, hash }] of expected.entries()) {
      const answer = found[index];
      if (answer?.kind !== 'hashed') {
        differences.push(`${database}: ${table} cannot be read: ${answer?.reason ?? 'no answer'}`);
      } else if (answer.rows !== rows) {
        differences.push(`${database}: ${table} has ${answer.rows} rows, it had ${rows}`);
      } else if (answer.hash !== hash) {
        differences.push(`${database}: ${table} has ${rows} rows as before, but not the same ones`);
      }
    }
  }
  return differences;
}

async function compareWatermarks(
  fingerprint: Extract<Fingerprint, { method: 'watermark' }>,
  entry: BackupEntry,
  socket: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { database, partitions } = fingerprint;
  const found = await onDatabase(socket, entry, database, (pool) => hashWatermarks(pool, partitions, signal));
  return partitions.flatMap(({ table, topic, partition, rows, hash }, index) =>
    found[index]?.rows === rows && found[index].hash === hash
      ? []
      : [`${table}, ${topic}-${partition}: ${found[index]?.rows ?? '?'} rows below the position, there were ${rows}`],
  );
}

async function onDatabase<Result>(
  socket: string,
  entry: BackupEntry,
  database: string,
  work: (pool: Pool) => Promise<Result>,
): Promise<Result> {
  try {
    return await withRestored(socket, entry.bootstrapRole, database, work);
  } catch (error) {
    if (error instanceof KpipeError && error.code === 'KPIPE_INTERRUPTED') {
      throw error;
    }
    throw new CheckFailed('CONTENT_DIFFERS', `${database} cannot be read: ${postgresError(error).message}`);
  }
}

/** The user's own assertions. @throws CheckFailed QUERY_FAILED */
export async function askQueries(
  entry: BackupEntry,
  queries: readonly string[],
  socket: string,
  signal: AbortSignal,
): Promise<string> {
  await withRestored(socket, entry.bootstrapRole, entry.database, async (pool) => {
    for (const query of queries) {
      signal.throwIfAborted();
      const answer = await holds(pool, query).catch((error: unknown) => postgresError(error).message);
      if (answer !== true) {
        throw new CheckFailed('QUERY_FAILED', `${query}: ${answer === false ? 'is not true' : answer}`);
      }
    }
  });
  return queries.length === 0 ? 'none declared' : `${queries.length} hold`;
}

/** Every index against its table, every table's pages. The server must be writable. @throws CheckFailed AMCHECK */
export async function amcheck(
  entry: BackupEntry,
  programs: PostgresPrograms,
  workspace: Workspace,
  socket: string,
  signal: AbortSignal,
): Promise<string> {
  const environment = {
    ...programEnvironment(programs.bin),
    PGHOST: socket,
    PGPORT: '5432',
    PGUSER: entry.bootstrapRole,
    PGAPPNAME: 'kpipe:backup',
  };
  const args = [
    '--all',
    '--install-missing',
    '--heapallindexed',
    '--parent-check',
    '--maintenance-db=postgres',
    '--jobs=2',
  ];
  const program = { name: 'pg_amcheck', file: join(programs.bin, 'pg_amcheck'), args, environment };
  const ended = await run(workspace, program, signal);
  if (ended.code !== 0) {
    throw new CheckFailed('AMCHECK', findings(ended.output));
  }
  return 'every index agrees with its table';
}

function findings(output: string): string {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^(?:HINT|LOCATION|CONTEXT|query was)/.test(line));
  return lines.length === 0 ? messageOf('pg_amcheck ended without a word') : lines.slice(0, 4).join(' ').slice(0, 400);
}

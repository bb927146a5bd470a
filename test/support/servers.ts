import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client } from 'pg';
import { afterAll, inject } from 'vitest';
import type { TestProject } from 'vitest/node';

import { sandboxPaths } from '../../src/lib/sandbox/directory.ts';
import { identityOf, isAlive, parseIdentity } from '../../src/lib/sandbox/process-identity.ts';
import { resetSandbox, sandboxStatus, startSandbox } from '../../src/lib/sandbox/sandbox.ts';
import { readSecret, secretPath } from '../../src/lib/sandbox/secrets.ts';
import { readState } from '../../src/lib/sandbox/state.ts';
import type { SandboxProgress } from '../../src/lib/sandbox/types.ts';

/**
 * The real servers of one test run: one sandbox for all projects, in a directory of its own, deleted at the end. With
 * KPIPE_TEST_SANDBOX=DIR the sandbox that already runs there is used and left alone.
 */
export interface TestServers {
  readonly sandboxDirectory: string;
  /** The kpipe.yaml of the sandbox. */
  readonly config: string;
  readonly brokers: readonly string[];
  readonly postgres: {
    readonly host: string;
    readonly port: number;
    readonly replicaPort: number;
    /** The user kpipe's, without a database at the end. */
    readonly password: string;
    readonly passwordFile: string;
    readonly superuserPassword: string;
  };
  readonly redisUrl: string;
  /** Null where the stand-in cannot run; the reason is on stderr of the run's start. */
  readonly bigquery: { readonly project: string; readonly endpoint: string; readonly grpcEndpoint: string } | null;
}

declare module 'vitest' {
  export interface ProvidedContext {
    servers: TestServers;
  }
}

interface SharedRun {
  users: number;
  readonly ready: Promise<TestServers>;
}

const OWNER_FILE = 'owner.json';
const PREFIX = 'kpipe-test-';
/** Projects load this module each for itself; the one sandbox is theirs together. */
const shared = globalThis as { kpipeTestServers?: SharedRun | undefined };

/** vitest's globalSetup: the first project starts the servers, the last one stops them. */
export default async function provideServers(project: TestProject): Promise<() => Promise<void>> {
  shared.kpipeTestServers ??= { users: 0, ready: start() };
  const run = shared.kpipeTestServers;
  run.users += 1;
  const leave = async (): Promise<void> => {
    run.users -= 1;
    if (run.users === 0) {
      shared.kpipeTestServers = undefined;
      await stop((await run.ready).sandboxDirectory);
    }
  };
  project.provide('servers', await run.ready);
  return leave;
}

async function start(): Promise<TestServers> {
  const existing = process.env['KPIPE_TEST_SANDBOX'];
  if (existing !== undefined && existing !== '') {
    await requireUp(existing);
    return serversOf(existing);
  }
  await sweepAbandoned();
  const directory = mkdtempSync(join(tmpdir(), PREFIX));
  writeFileSync(join(directory, OWNER_FILE), JSON.stringify(identityOf(process.pid)));
  const signal = new AbortController().signal;
  try {
    await startSandbox(
      {
        directory,
        brokers: 3,
        workingDirectory: directory,
        configPath: join(directory, 'kpipe.yaml'),
        environment: process.env,
      },
      say,
      signal,
    );
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  return serversOf(directory);
}

/** On a machine that is busy a server may miss a probe. */
async function requireUp(directory: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  let status = await sandboxStatus(directory);
  while (status.state === 'partial' && Date.now() < deadline) {
    status = await sandboxStatus(directory);
  }
  if (status.state !== 'up') {
    throw new Error(`KPIPE_TEST_SANDBOX=${directory}: that sandbox is ${status.state}`);
  }
}

async function stop(directory: string): Promise<void> {
  if (directory === process.env['KPIPE_TEST_SANDBOX']) {
    return;
  }
  await resetSandbox(directory, () => undefined, new AbortController().signal);
  rmSync(directory, { recursive: true, force: true });
}

/** A run that was killed could not stop its servers: the next one does. */
async function sweepAbandoned(): Promise<void> {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(PREFIX))) {
    const directory = join(tmpdir(), name);
    const ownerFile = join(directory, OWNER_FILE);
    const owner = existsSync(ownerFile) ? parseIdentity(readFileSync(ownerFile, 'utf8')) : undefined;
    if (owner !== undefined && !isAlive(owner)) {
      await stop(directory);
    }
  }
}

/** What a test must know of a sandbox that runs. */
export function serversOf(directory: string): TestServers {
  const paths = sandboxPaths(directory);
  const state = readState(paths);
  if (state === undefined || state.configPath === null) {
    throw new Error(`no state of a started sandbox in ${directory}`);
  }
  const { ports } = state;
  return {
    sandboxDirectory: directory,
    config: state.configPath,
    brokers: ports.brokers.map((port) => `127.0.0.1:${port}`),
    postgres: {
      host: '127.0.0.1',
      port: ports.postgresPrimary,
      replicaPort: ports.postgresReplica,
      password: readSecret(paths, 'postgres-kpipe'),
      passwordFile: secretPath(paths, 'postgres-kpipe'),
      superuserPassword: readSecret(paths, 'postgres-superuser'),
    },
    redisUrl: `redis://127.0.0.1:${ports.redis}/0`,
    bigquery: state.bigquery.available
      ? {
          project: 'kpipe-local',
          endpoint: `http://127.0.0.1:${ports.bigqueryRest}`,
          grpcEndpoint: `127.0.0.1:${ports.bigqueryGrpc}`,
        }
      : null,
  };
}

function say({ server, phase, detail, elapsedMs }: SandboxProgress): void {
  if (phase === 'ready' || phase === 'unavailable') {
    process.stderr.write(
      `servers: ${server} ${phase} ${detail ?? ''}${elapsedMs === undefined ? '' : `${elapsedMs} ms`}\n`,
    );
  }
}

/** A database of one test file's own. */
export interface TestDatabase {
  readonly name: string;
  /** As kpipe, who owns it. */
  readonly url: string;
  readonly replicaUrl: string;
  readonly superuserUrl: string;
}

/**
 * Makes a database that is dropped after the file's tests; call it at the top level of a test file. A connection that is
 * still open then is a leak, and fails the file.
 */
export async function createDatabase({ postgres } = inject('servers')): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  const url = (user: string, password: string, port: number, database: string): string =>
    `postgres://${user}:${password}@${postgres.host}:${port}/${database}`;
  const admin = url('postgres', postgres.superuserPassword, postgres.port, 'postgres');
  await withClient(admin, (client) => client.query(`CREATE DATABASE ${name} OWNER kpipe`));
  afterAll(async () => {
    const open = await withClient(admin, (client) => dropDatabase(client, name));
    if (open.length > 0) {
      throw new Error(`connections to the test's database were left open by: ${open.join(', ')}`);
    }
  });
  return {
    name,
    url: url('kpipe', postgres.password, postgres.port, name),
    replicaUrl: url('kpipe', postgres.password, postgres.replicaPort, name),
    superuserUrl: url('postgres', postgres.superuserPassword, postgres.port, name),
  };
}

/** Gives connections that are just closing some time, drops the database, and names who was still connected. */
async function dropDatabase(client: Client, name: string): Promise<readonly string[]> {
  const connected = async (): Promise<readonly string[]> => {
    const sql = `SELECT application_name AS who FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'`;
    const { rows } = await client.query<{ who: string }>(sql, [name]);
    return rows.map((row) => row.who || '(no application_name)');
  };
  const deadline = Date.now() + 20_000;
  let open = await connected();
  while (open.length > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    open = await connected();
  }
  await client.query(`DROP DATABASE ${name} WITH (FORCE)`);
  return open;
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** A name for a topic, group or key of one test's own; also a table's or dataset's, with `_` for `-`. */
export function uniqueTopic(prefix: string): string {
  return `${prefix}-${randomBytes(4).toString('hex')}`;
}

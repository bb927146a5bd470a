import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client } from 'pg';
import { afterAll } from 'vitest';

import { openWorkspace, outputOf, programEnvironment, run, start, stopAll } from '../../src/lib/backup/programs.ts';
import { requirePrograms } from '../../src/lib/backup/tools.ts';
import { postgresUser } from '../../src/lib/sandbox/postgres.ts';
import { stopRecorded } from '../../src/lib/sandbox/processes.ts';
import { findPostgres, isMissing, type PostgresTool } from '../../src/lib/sandbox/tools.ts';
import { freePorts } from './free-port.ts';
import { environmentWith } from './postgres-18.ts';

/** A PostgreSQL cluster of one test's own, to be damaged and killed: small segments, and a standby where asked for. */
export interface TestCluster {
  readonly directory: string;
  /** In which kpipe finds this cluster's programs. */
  readonly environment: NodeJS.ProcessEnv;
  readonly data: string;
  readonly standbyData: string;
  readonly primary: { readonly url: string; readonly port: number };
  readonly standby: { readonly url: string; readonly port: number };
  /** Free for a server on a restored directory, beside these two. */
  readonly restoredPort: number;
  readonly superuser: (port?: number, database?: string) => string;
  readonly sql: <Row extends object>(text: string, options?: { port?: number; database?: string }) => Promise<Row[]>;
  readonly stopPrimary: (how?: NodeJS.Signals) => Promise<void>;
  readonly startPrimary: () => Promise<void>;
  readonly stopStandby: () => Promise<void>;
  readonly startStandby: () => Promise<void>;
  /** Starts a server on any data directory, such as a restored one. */
  readonly startOn: (name: string, data: string, port: number) => Promise<void>;
  readonly stop: (name: string, how?: NodeJS.Signals) => Promise<void>;
  readonly destroy: () => Promise<void>;
}

const password = 'kpipe-test';

export async function startCluster(
  options: {
    /** `default`: whatever initdb does. */
    readonly checksums?: boolean | 'default';
    readonly standby?: boolean;
    /** Instead of the newest that the machine has. */
    readonly postgres?: PostgresTool;
    /** Lines of postgresql.conf, for both. */
    readonly settings?: string;
  } = {},
): Promise<TestCluster> {
  const user = postgresUser();
  const tool = options.postgres ?? findPostgres(process.env);
  if (isMissing(tool)) {
    throw new Error(tool.missing);
  }
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-cluster-'));
  chmodSync(directory, 0o711);
  const workspace = openWorkspace(directory);
  const found = environmentWith(tool);
  const programs = requirePrograms(tool.major, found);
  const [port = 0, standbyPort = 0, restoredPort = 0] = await freePorts(3);
  const data = join(directory, 'primary');
  const standbyData = join(directory, 'standby');
  const environment = { ...programEnvironment(programs.bin), PGPASSWORD: password };
  const signal = new AbortController().signal;
  for (const path of [data, standbyData]) {
    mkdirSync(path, { mode: 0o700 });
    own(path, user);
  }
  const program = async (name: string, args: readonly string[]): Promise<void> => {
    const ended = await run(workspace, { name, file: join(programs.bin, name), args, environment, user }, signal);
    if (ended.code !== 0) {
      throw new Error(`${name}: ${ended.output}`);
    }
  };
  const passwordFile = join(directory, 'password');
  writeFileSync(passwordFile, password);
  own(passwordFile, user);
  const shape = ['--wal-segsize=1', '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8'];
  const checksums =
    options.checksums === 'default'
      ? []
      : options.checksums === false
        ? tool.major >= 18
          ? ['--no-data-checksums']
          : []
        : ['--data-checksums'];
  const access = ['-U', 'postgres', '--pwfile', passwordFile, '--auth=scram-sha-256'];
  await program('initdb', ['-D', data, ...access, ...shape, ...checksums]);
  const settings = (at: number): string =>
    `\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nport = ${at}\nshared_buffers = 32MB\nfsync = off
wal_level = replica\nmax_wal_size = 64MB\nmin_wal_size = 4MB\nmax_slot_wal_keep_size = 512MB\nwal_keep_size = 256MB\nhot_standby = on\njit = off\nautovacuum = off
wal_receiver_status_interval = 1s\nwal_retrieve_retry_interval = 200ms\ntimezone = 'UTC'\nlog_timezone = 'UTC'\n${options.settings ?? ''}\n`;
  writeFileSync(join(data, 'postgresql.conf'), settings(port));
  own(join(data, 'postgresql.conf'), user);

  const superuser = (at = port, database = 'postgres'): string =>
    `postgres://postgres:${password}@127.0.0.1:${at}/${database}`;
  const sql = async <Row extends object>(
    text: string,
    at: { port?: number; database?: string } = {},
  ): Promise<Row[]> => {
    const client = new Client({ connectionString: superuser(at.port, at.database) });
    client.on('error', () => undefined);
    await client.connect();
    try {
      const result = await client.query<Row>(text);
      return result.rows;
    } finally {
      await client.end();
    }
  };
  const startOn = async (name: string, where: string, at: number): Promise<void> => {
    const args = ['-D', where, '-p', String(at)];
    const server = { name, file: join(programs.bin, 'postgres'), args, environment, user };
    let started = start(workspace, server);
    for (;;) {
      if (started.hasEnded()) {
        // A server that was killed has children that need an instant to notice.
        if (!/shared memory block|could not bind/.test(outputOf(started))) {
          throw new Error(`${name} did not start: ${outputOf(started)}`);
        }
        started = start(workspace, server);
      }
      if (
        await sql('select 1', { port: at }).then(
          () => true,
          () => false,
        )
      ) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const stop = async (name: string, how: NodeJS.Signals = 'SIGINT'): Promise<void> => {
    await stopRecorded(workspace.paths, name, how, 30_000);
  };
  const startPrimary = (): Promise<void> => startOn('primary', data, port);
  await startPrimary();
  await sql(`create role kpipe login replication createdb password '${password}'`);
  await sql('grant pg_monitor, pg_read_all_data to kpipe');
  await sql('create database app owner kpipe');
  for (const database of ['postgres', 'app']) {
    await sql('grant execute on function pg_switch_wal(), pg_wal_replay_pause(), pg_wal_replay_resume() to kpipe', {
      database,
    });
  }
  const startStandby = (): Promise<void> => startOn('standby', standbyData, standbyPort);
  if (options.standby !== false) {
    const conninfo = `host=127.0.0.1 port=${port} user=postgres password=${password} application_name=replica1`;
    await program('pg_basebackup', [
      '-D',
      standbyData,
      '-d',
      conninfo,
      '-X',
      'stream',
      '-c',
      'fast',
      '--no-sync',
      '-R',
    ]);
    writeFileSync(join(standbyData, 'postgresql.conf'), settings(standbyPort));
    own(join(standbyData, 'postgresql.conf'), user);
    await startStandby();
  }
  const destroy = async (): Promise<void> => {
    await stopAll(workspace);
    rmSync(directory, { recursive: true, force: true });
  };
  return {
    directory,
    environment: found,
    data,
    standbyData,
    primary: { url: `postgres://kpipe:${password}@127.0.0.1:${port}/app`, port },
    standby: { url: `postgres://kpipe:${password}@127.0.0.1:${standbyPort}/app`, port: standbyPort },
    restoredPort,
    superuser,
    sql,
    startOn,
    stop,
    stopPrimary: (how) => stop('primary', how),
    startPrimary,
    stopStandby: () => stop('standby'),
    startStandby,
    destroy,
  };
}

/** For the tests of one file. */
export async function clusterOfFile(options?: Parameters<typeof startCluster>[0]): Promise<TestCluster> {
  const cluster = await startCluster(options);
  afterAll(() => cluster.destroy());
  return cluster;
}

/** A byte of a file turned over: `offset` from the start, or from the end when negative. */
export function flipByte(path: string, offset: number): void {
  const bytes = readFileSync(path);
  const at = offset < 0 ? bytes.length + offset : offset;
  bytes[at] = bytes[at]! ^ 0xff;
  writeFileSync(path, bytes);
}

/** Copies a directory aside and gives back a way to put it back as it was. */
export function snapshot(path: string): () => void {
  const aside = `${path}.aside`;
  cpSync(path, aside, { recursive: true, preserveTimestamps: true });
  return () => {
    if (existsSync(aside)) {
      rmSync(path, { recursive: true, force: true });
      cpSync(aside, path, { recursive: true, preserveTimestamps: true });
    }
  };
}

function own(path: string, user: ReturnType<typeof postgresUser>): void {
  if (user !== undefined) {
    chownSync(path, user.uid, user.gid);
  }
}

/** A directory that the servers' user may write to. */
export function makeOwned(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  own(path, postgresUser());
}

import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client, type QueryResultRow } from 'pg';
import { afterAll, vi } from 'vitest';

import { postgresUser } from '../../src/lib/sandbox/postgres.ts';
import { findPostgres, isMissing } from '../../src/lib/sandbox/tools.ts';
import { freePort } from './free-port.ts';

/** Real PostgreSQL servers of one test file's own, which it may stop, freeze, cut and break. Trusts everyone on 127.0.0.1. */
export interface ReplicationCluster {
  readonly directory: string;
  readonly bin: string;
  /** A new primary, by initdb. */
  readonly primary: (name?: string, settings?: Settings) => Promise<PostgresServer>;
  /** A copy of `of`, by pg_basebackup, which streams from it (or from `port`, such as a proxy's). */
  readonly standby: (of: PostgresServer, name: string, options?: StandbyOptions) => Promise<PostgresServer>;
  /** Called before the servers are ended. */
  readonly atEnd: (end: () => Promise<void>) => void;
}

export type Settings = Readonly<Record<string, string | number>>;

export interface StandbyOptions {
  /** Default: a slot of its own name, made on `of`; null: none. */
  readonly slot?: string | null;
  readonly port?: number;
  readonly settings?: Settings;
  readonly start?: boolean;
}

export interface PostgresServer {
  readonly name: string;
  readonly directory: string;
  readonly port: number;
  readonly url: (user?: string, database?: string) => string;
  readonly start: () => Promise<void>;
  /** SIGINT (fast) or SIGKILL of the postmaster; resolves when it is gone. */
  readonly stop: (signal?: 'SIGINT' | 'SIGKILL' | 'SIGQUIT') => Promise<void>;
  /** Changes settings; the server reads them at its next start or reload. */
  readonly configure: (settings: Settings) => void;
  readonly reload: () => Promise<void>;
  readonly query: <Row extends QueryResultRow>(sql: string, values?: readonly unknown[]) => Promise<readonly Row[]>;
  /** Resolves when the query's first column is true. */
  readonly waitFor: (sql: string, values?: readonly unknown[]) => Promise<void>;
  /** The pid of one of its processes, such as `walreceiver` or `startup`. */
  readonly processOf: (kind: string) => Promise<number>;
  readonly log: () => string;
}

const timeout = 90_000;

/** Call it at the top level of a test file: what it starts is ended and deleted after the file's tests. */
export function replicationCluster(): ReplicationCluster {
  const tool = findPostgres(process.env);
  if (isMissing(tool)) {
    throw new Error(tool.missing);
  }
  const { bin } = tool;
  const user = postgresUser();
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-pg-'));
  own(directory);
  const servers: PostgresServer[] = [];
  const ends: (() => Promise<void>)[] = [];
  afterAll(async () => {
    await Promise.all(ends.map((end) => end()));
    await Promise.all(servers.map((server) => server.stop('SIGQUIT')));
    rmSync(directory, { recursive: true, force: true });
  });

  function own(path: string): void {
    if (user !== undefined) {
      chownSync(path, user.uid, user.gid);
    }
  }

  const environment = {
    ...process.env,
    PATH: `${bin}:/usr/bin:/bin`,
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
    HOME: directory,
  };
  const as = { cwd: directory, env: environment, ...user };

  function run(program: string, args: readonly string[]): void {
    const done = spawnSync(join(bin, program), args, { ...as, encoding: 'utf8', timeout: 60_000 });
    if (done.status !== 0) {
      throw new Error(`${program}: ${done.stderr}`);
    }
  }

  function makeServer(name: string, port: number): PostgresServer {
    const data = join(directory, name);
    const logFile = join(directory, `${name}.log`);
    let postmaster: ChildProcess | undefined;
    const url = (login = 'postgres', database = 'postgres'): string =>
      `postgres://${login}@127.0.0.1:${port}/${database}`;
    const query: PostgresServer['query'] = async (sql, values = []) => {
      const client = new Client({ connectionString: url(), connectionTimeoutMillis: 5000, application_name: 'test' });
      client.on('error', () => undefined);
      await client.connect();
      try {
        return (await client.query(sql, [...values])).rows;
      } finally {
        await client.end();
      }
    };
    const made: PostgresServer = {
      name,
      directory: data,
      port,
      url,
      query,
      start: async () => {
        postmaster = spawn(join(bin, 'postgres'), ['-D', data], { ...as, stdio: ['ignore', 'ignore', 'pipe'] });
        postmaster.stderr?.on('data', (text: Buffer) => appendFileSync(logFile, text));
        await vi.waitFor(() => query('select 1'), { timeout, interval: 50 });
      },
      stop: async (signal = 'SIGINT') => {
        if (postmaster === undefined || postmaster.exitCode !== null || postmaster.signalCode !== null) {
          return;
        }
        const gone = once(postmaster, 'exit');
        postmaster.kill(signal);
        await gone;
      },
      configure: (settings) => appendFileSync(join(data, 'test.conf'), settingLines(settings)),
      reload: async () => {
        await query('select pg_reload_conf()');
      },
      waitFor: async (sql, values) => {
        const fulfilled = async (): Promise<boolean> => Object.values((await query(sql, values))[0] ?? {})[0] === true;
        await vi.waitUntil(fulfilled, { timeout, interval: 25 });
      },
      processOf: async (kind) => {
        const rows = await query<{ pid: number }>('select pid from pg_stat_activity where backend_type = $1', [kind]);
        if (rows[0] === undefined) {
          throw new Error(`${name} has no process ${kind}`);
        }
        return rows[0].pid;
      },
      log: () => readFileSync(logFile, 'utf8'),
    };
    servers.push(made);
    return made;
  }

  function configureFirst(data: string, settings: Settings): void {
    const file = join(data, 'test.conf');
    writeFileSync(file, settingLines(settings));
    own(file);
  }

  return {
    directory,
    bin,
    atEnd: (end) => void ends.push(end),
    primary: async (name = 'primary', settings = {}) => {
      const made = makeServer(name, await freePort());
      run('initdb', [
        '-D',
        made.directory,
        '-U',
        'postgres',
        '--auth=trust',
        '-E',
        'UTF8',
        '--locale=C.UTF-8',
        '--wal-segsize=1',
        '-N',
      ]);
      appendFileSync(join(made.directory, 'postgresql.conf'), "\ninclude 'test.conf'\n");
      configureFirst(made.directory, { ...common, port: made.port, ...settings });
      await made.start();
      return made;
    },
    standby: async (of, name, { slot = name, port = of.port, settings = {}, start = true } = {}) => {
      const made = makeServer(name, await freePort());
      if (slot !== null) {
        await of.query('select pg_create_physical_replication_slot($1, true)', [slot]);
      }
      const connection = ['-h', '127.0.0.1', '-p', String(of.port), '-U', 'postgres'];
      run('pg_basebackup', ['-D', made.directory, ...connection, '-X', 'stream', '--checkpoint=fast', '-N']);
      writeFileSync(join(made.directory, 'standby.signal'), '');
      own(join(made.directory, 'standby.signal'));
      configureFirst(made.directory, {
        ...common,
        port: made.port,
        primary_conninfo: `host=127.0.0.1 port=${port} user=postgres application_name=${name}`,
        primary_slot_name: slot ?? '',
        ...settings,
      });
      if (start) {
        await made.start();
      }
      return made;
    },
  };
}

/** Small and quick to start; the intervals are short, so that no test waits for a server's ten seconds. */
const common: Settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  wal_level: 'replica',
  hot_standby: 'on',
  shared_buffers: '16MB',
  min_wal_size: '4MB',
  max_wal_size: '64MB',
  fsync: 'off',
  wal_receiver_status_interval: '1s',
  wal_retrieve_retry_interval: '200ms',
  wal_sender_timeout: '60s',
  log_line_prefix: '%m [%p] %b ',
  logging_collector: 'off',
};

function settingLines(settings: Settings): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`)
    .join('');
}

/**
 * Asks each server whether it really serves: `undefined` is yes, a text is why not yet. The drivers are loaded here only, and
 * only when asked.
 */
import { connect } from 'node:net';

import { messageOf } from '../errors.ts';
import type { SandboxPaths } from './directory.ts';
import { readSecret } from './secrets.ts';
import { clientPort } from './state.ts';
import type { SandboxState, ServerName } from './types.ts';

export type NotReady = string | undefined;

const PROBE_TIMEOUT_MS = 5_000;

export async function probe(paths: SandboxPaths, state: SandboxState, server: ServerName): Promise<NotReady> {
  try {
    // Before any probe's time begins: loading a driver stands in the way of all answers, for seconds on a busy machine.
    await Promise.all([import('@platformatic/kafka'), import('pg')]);
    switch (server) {
      case 'kafka-1':
      case 'kafka-2':
      case 'kafka-3':
        return await probeBroker(clientPort(state, server), state.brokers);
      case 'postgres-primary':
        return await probePrimary(paths, state);
      case 'postgres-replica1':
        return await probeReplica(paths, state);
      case 'redis':
        return await probeRedis(state.ports.redis);
      case 'bigquery':
        return await probeBigQuery(state.ports.bigqueryRest, state.ports.bigqueryGrpc);
    }
  } catch (error) {
    return messageOf(error);
  }
}

/** A broker is ready when it serves and lists all brokers: metadata holds only those that are registered and unfenced. */
async function probeBroker(port: number, brokers: number): Promise<NotReady> {
  if (!(await accepts(port))) {
    return 'does not accept connections';
  }
  const { Admin } = await import('@platformatic/kafka');
  const admin = new Admin({
    clientId: 'kpipe-sandbox',
    bootstrapBrokers: [{ host: '127.0.0.1', port }],
    retries: 0,
    timeout: PROBE_TIMEOUT_MS,
    connectTimeout: PROBE_TIMEOUT_MS,
  });
  try {
    const { brokers: seen } = await admin.metadata({ forceUpdate: true });
    return seen.size === brokers ? undefined : `sees ${seen.size} of ${brokers} brokers`;
  } finally {
    await admin.close();
  }
}

/** The rows of one statement, as the superuser. */
export type RunSql = (sql: string) => Promise<readonly Record<string, unknown>[]>;

/** Runs `work` on a connection of the superuser to one of the PostgreSQL servers. */
export async function asSuperuser<T>(
  paths: SandboxPaths,
  port: number,
  database: string,
  work: (run: RunSql) => Promise<T>,
): Promise<T> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    database,
    user: 'postgres',
    password: readSecret(paths, 'postgres-superuser'),
    connectionTimeoutMillis: PROBE_TIMEOUT_MS,
    application_name: 'kpipe-sandbox',
  });
  // A server that goes away between two statements emits 'error' beside the rejected query.
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(async (sql) => (await client.query<Record<string, unknown>>(sql)).rows);
  } finally {
    await client.end();
  }
}

async function probePrimary(paths: SandboxPaths, state: SandboxState): Promise<NotReady> {
  return await asSuperuser(paths, state.ports.postgresPrimary, 'postgres', async (run) => {
    const [row] = await run('SELECT pg_is_in_recovery() AS recovery');
    return row?.['recovery'] === false ? undefined : 'is in recovery';
  });
}

/** The replica is ready when it answers, is a standby, and the primary streams to it. */
async function probeReplica(paths: SandboxPaths, state: SandboxState): Promise<NotReady> {
  const standby = await asSuperuser(paths, state.ports.postgresReplica, 'postgres', async (run) => {
    const [row] = await run('SELECT pg_is_in_recovery() AS recovery');
    return row?.['recovery'] === true;
  });
  if (!standby) {
    return 'is not a standby';
  }
  return await asSuperuser(paths, state.ports.postgresPrimary, 'postgres', async (run) => {
    const [row] = await run("SELECT state FROM pg_stat_replication WHERE application_name = 'replica1'");
    return row?.['state'] === 'streaming'
      ? undefined
      : `is not streaming (${typeof row?.['state'] === 'string' ? row['state'] : 'not connected'})`;
  });
}

async function probeRedis(port: number): Promise<NotReady> {
  const reply = await exchange(port, 'PING\r\n');
  return reply.startsWith('+PONG') ? undefined : `answers ${JSON.stringify(reply.slice(0, 60))}`;
}

async function probeBigQuery(restPort: number, grpcPort: number): Promise<NotReady> {
  if (!(await accepts(restPort))) {
    return 'does not accept connections (REST)';
  }
  const response = await fetch(`http://127.0.0.1:${restPort}/readyz`, {
    signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
  });
  await response.body?.cancel();
  if (!response.ok) {
    return `REST answers ${response.status}`;
  }
  return (await accepts(grpcPort)) ? undefined : 'does not accept connections (gRPC)';
}

async function accepts(port: number): Promise<boolean> {
  try {
    await exchange(port, undefined);
    return true;
  } catch {
    return false;
  }
}

/** Connects, sends, and gives the first bytes of the answer; with nothing to send it only connects. */
function exchange(port: number, request: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port });
    const finish = (settle: () => void): void => {
      socket.destroy();
      settle();
    };
    socket.setTimeout(PROBE_TIMEOUT_MS, () => finish(() => reject(new Error(`no answer in ${PROBE_TIMEOUT_MS} ms`))));
    socket.once('error', (error) => finish(() => reject(error)));
    socket.once('connect', () => (request === undefined ? finish(() => resolve('')) : socket.write(request)));
    socket.once('data', (bytes) => finish(() => resolve(bytes.toString('latin1'))));
  });
}

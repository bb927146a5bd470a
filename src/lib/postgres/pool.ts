import { Socket } from 'node:net';

import type { Pool, PoolClient } from 'pg';

import type { PostgresConfig } from '../config/load.ts';
import type { Secret } from '../config/secrets.ts';
import { KpipeError } from '../errors.ts';
import { postgresError } from './failures.ts';

export type { Pool, PoolClient } from 'pg';

export interface PoolOptions {
  /** Shown in pg_stat_activity: `kpipe:events:4711`. */
  readonly applicationName: string;
  readonly max?: number;
  /** Told of connections that broke while idle; without a listener Node would end the process. */
  readonly onIdleError?: (error: Error) => void;
  /** Default: 5 s. */
  readonly connectTimeoutMs?: number;
  /** Told of each connection's socket: a server that froze never says goodbye, and only destroying it ends the wait. */
  readonly onSocket?: (socket: Socket) => void;
}

/** A small pool on the primary. Opens nothing yet: the first query connects, within 5 s or not at all. */
export async function openPool(config: PostgresConfig, options: PoolOptions): Promise<Pool> {
  return openPoolOn(config.primary, { max: config.pool.max, ...options });
}

/** A pool on any server of ours, such as a replica. */
export async function openPoolOn(url: Secret, options: PoolOptions & { readonly max: number }): Promise<Pool> {
  const { default: pg } = await import('pg');
  const text = connectionString(url);
  const { hostname, port } = new URL(text);
  const { onSocket } = options;
  const pool = new pg.Pool({
    connectionString: text,
    // The URL decides; these are for error messages, which must not show the rest of it.
    host: hostname,
    port: port === '' ? 5432 : Number(port),
    application_name: options.applicationName,
    max: options.max,
    // pg's default waits for ever.
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    ...(onSocket === undefined ? {} : { stream: () => ownSocket(onSocket) }),
  });
  pool.on('error', (error) => options.onIdleError?.(error));
  return pool;
}

function ownSocket(onSocket: (socket: Socket) => void): Socket {
  const socket = new Socket();
  onSocket(socket);
  return socket;
}

function connectionString(url: Secret): string {
  const text = url.reveal();
  if (!/^postgres(?:ql)?:\/\//.test(text) || !URL.canParse(text)) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'postgres.primary (or a replica) is not a valid postgres:// URL', {
      next: 'mend kpipe.yaml; a password with special characters must be percent-encoded',
    });
  }
  return text;
}

/**
 * The function that ends the pool. Connections in use get a second; then they are cut, since a statement that hangs must
 * not hold up the end, and the server rolls their transactions back. Call it when the pool is new.
 */
export function poolEnd(pool: Pool): () => Promise<void> {
  const inUse = new Set<PoolClient>();
  pool.on('acquire', (client) => inUse.add(client));
  pool.on('release', (_error, client) => inUse.delete(client));
  return async () => {
    const cut = setTimeout(() => inUse.forEach((client) => void client.end()), 1000);
    await pool.end();
    clearTimeout(cut);
  };
}

/** The pool's only connection errors, as kpipe's. Used around whatever a command asks of the database. */
export async function asking<Result>(pool: Pool, ask: (pool: Pool) => Promise<Result>): Promise<Result> {
  try {
    return await ask(pool);
  } catch (error) {
    throw postgresError(error, pool.options);
  }
}

/**
 * Runs `work` in one transaction with its own statement timeout (SET LOCAL: a start-up parameter would not pass
 * PgBouncer). It bounds the silence between statements too: a process that froze, or a machine that vanished, would keep
 * its locks until TCP gives up, hours later. The connection of a failed transaction that cannot be rolled back is thrown
 * away.
 */
export async function inTransaction<Result>(
  pool: Pool,
  statementTimeoutMs: number,
  work: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: Error): void => {
    broken = error;
  };
  client.on('error', onError);
  try {
    const timeoutMs = Math.trunc(statementTimeoutMs);
    await client.query(
      `begin; set local statement_timeout = ${timeoutMs}; set local idle_in_transaction_session_timeout = ${timeoutMs}`,
    );
    const result = await work(client);
    const committed = await client.query('commit');
    // A transaction that had failed answers COMMIT with ROLLBACK, and no error.
    if (committed.command !== 'COMMIT') {
      throw new KpipeError('KPIPE_POSTGRES_FAILED', `the transaction ended in ${committed.command}, not in COMMIT`);
    }
    return result;
  } catch (error) {
    await client.query('rollback').catch((reason: unknown) => {
      broken ??= reason instanceof Error ? reason : new Error(String(reason));
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

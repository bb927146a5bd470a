import { Socket } from 'node:net';

import type { Client } from 'pg';

import { readClock, type ClockReading } from '../clock.ts';
import type { Secret } from '../config/secrets.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { withDeadline } from '../deadline.ts';
import { postgresError } from './failures.ts';

/** What there is to know of a server before anything is stored in it. */
export interface PostgresFacts {
  /** `host:port/database`, never with the password. */
  readonly address: string;
  readonly loopback: boolean;
  readonly user: string;
  /** `15.18`. */
  readonly version: string;
  /** 150018. */
  readonly versionNumber: number;
  readonly inRecovery: boolean;
  readonly encrypted: boolean;
  readonly clock: ClockReading;
  /** May make the schema `kpipe`. */
  readonly mayCreate: boolean;
  /** May write kpipe's tables; null when there are none yet. */
  readonly mayWrite: boolean | null;
  /** Age of the last transaction replayed; null on a primary, or when nothing was replayed yet. */
  readonly replayAgeMs: number | null;
}

/**
 * Connects as kpipe would (PGPASSFILE, sslmode and the other parameters of the URL are the driver's), asks, and leaves.
 * @throws KPIPE_POSTGRES_… within the deadline
 */
export async function probePostgres(url: Secret, deadlineMs: number): Promise<PostgresFacts> {
  const { default: pg } = await import('pg');
  const text = url.reveal();
  if (!URL.canParse(text)) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'the URL is not valid', {
      next: 'a password with special characters must be percent-encoded',
    });
  }
  // Our own socket, so that it can be cut whatever state the driver is in.
  const socket = new Socket();
  const client = new pg.Client({
    connectionString: text,
    application_name: 'kpipe:doctor',
    connectionTimeoutMillis: deadlineMs,
    query_timeout: deadlineMs,
    stream: () => socket,
  });
  // A connection that breaks between two questions is told by the next one.
  client.on('error', () => undefined);
  try {
    return await withDeadline(connectAndAsk(client), deadlineMs, 'no answer');
  } catch (error) {
    throw refusedConnection(error, client) ?? postgresError(error, client);
  } finally {
    await leave(client, socket);
  }
}

interface FactsRow {
  readonly version: string;
  readonly number: number;
  readonly recovery: boolean;
  readonly encrypted: boolean | null;
  readonly may_create: boolean;
  readonly may_write: boolean | null;
  readonly replay_age_ms: number | null;
}

const factsQuery = `
  select
    current_setting('server_version') as version,
    current_setting('server_version_num')::int as number,
    pg_is_in_recovery() as recovery,
    (select ssl from pg_stat_ssl where pid = pg_backend_pid()) as encrypted,
    has_database_privilege(current_database(), 'CREATE') as may_create,
    case when pg_is_in_recovery()
      then extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 * 1000
    end as replay_age_ms,
    (
      select bool_and(
        has_schema_privilege(c.relnamespace, 'USAGE')
        and has_table_privilege(c.oid, 'INSERT')
        -- what is stored is never changed, only the position is
        and (c.relname <> 'consumer_offset' or has_table_privilege(c.oid, 'UPDATE'))
      )
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'kpipe' and c.relname in ('consumer_offset', 'events', 'logs')
    ) as may_write`;

async function connectAndAsk(client: Client): Promise<PostgresFacts> {
  await client.connect();
  return ask(client);
}

async function ask(client: Client): Promise<PostgresFacts> {
  const askedMs = Date.now();
  const time = await client.query<{ ms: number }>('select extract(epoch from clock_timestamp())::float8 * 1000 as ms');
  const answeredMs = Date.now();
  const facts = (await client.query<FactsRow>(factsQuery)).rows[0];
  const serverMs = time.rows[0]?.ms;
  if (facts === undefined || serverMs === undefined) {
    throw new KpipeError('KPIPE_POSTGRES_FAILED', 'the server answered nothing', { next: 'is it PostgreSQL?' });
  }
  return {
    address: `${client.host}:${client.port}/${client.database ?? ''}`,
    loopback: /^(?:127\.|localhost$|::1$|\/)/.test(client.host),
    user: client.user ?? '',
    version: facts.version.split(' ')[0] ?? facts.version,
    versionNumber: facts.number,
    inRecovery: facts.recovery,
    encrypted: facts.encrypted ?? false,
    clock: readClock(serverMs, askedMs, answeredMs),
    mayCreate: facts.may_create,
    mayWrite: facts.may_write,
    replayAgeMs: facts.replay_age_ms,
  };
}

/** What the driver finds out itself, and says in its own terms. */
function refusedConnection(error: unknown, client: Client): KpipeError | undefined {
  const message = messageOf(error);
  const where = { host: `${client.host}:${client.port}` };
  if (message.includes('client password must be a string')) {
    return new KpipeError(
      'KPIPE_POSTGRES_FAILED',
      `PostgreSQL asks ${client.user ?? ''} for a password and there is none`,
      {
        where,
        next: 'name it in PGPASSFILE, or write ${env:NAME} or ${file:/path} into the URL',
        cause: error,
      },
    );
  }
  return message.includes('does not support SSL')
    ? new KpipeError('KPIPE_POSTGRES_FAILED', 'PostgreSQL offers no TLS and the URL asks for it', {
        where,
        next: 'switch ssl on in postgresql.conf, or take sslmode out of the URL (on the loopback only)',
        cause: error,
      })
    : undefined;
}

const leaveDeadlineMs = 500;

/** `end()` waits for the server's goodbye, which a server that has stopped never says. */
async function leave(client: Client, socket: Socket): Promise<void> {
  const timeout = Promise.withResolvers<void>();
  const timer = setTimeout(timeout.resolve, leaveDeadlineMs);
  await Promise.race([client.end().catch(() => undefined), timeout.promise]);
  clearTimeout(timer);
  socket.destroy();
}

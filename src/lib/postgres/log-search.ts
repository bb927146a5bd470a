import type { PostgresConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { severityName } from '../records/severity.ts';
import { parseExactJson } from '../records/exact-json.ts';
import { sqlstateOf } from './failures.ts';
import { asking, inTransaction, type Pool, type PoolClient } from './pool.ts';
import { ReadPool } from './read-pool.ts';

/** What to look for among the logs; a filter that is undefined leaves everything in. */
export interface LogQuery {
  /** Words, `"a phrase"`, `or`, `-without`; empty: every line. */
  readonly text: string;
  /** ms since the epoch. */
  readonly sinceMs: number;
  readonly service?: string | undefined;
  /** OpenTelemetry's number, 1–24. */
  readonly minSeverity?: number | undefined;
  readonly traceId?: string | undefined;
  readonly limit: number;
}

export interface LogLine {
  /** RFC 3339 in UTC, with microseconds. */
  readonly ts: string;
  /** `trace` … `fatal`; the producer's own word where it is none of them; null: unspecified. */
  readonly severity: string | null;
  readonly severityNumber: number;
  readonly service: string | null;
  readonly body: string;
  readonly traceId: string | null;
  readonly spanId: string | null;
  readonly attributes: unknown;
  readonly resource: unknown;
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
}

export interface LogSearchResult {
  readonly query: string;
  readonly since: string;
  /** Newest first. */
  readonly lines: readonly LogLine[];
  /** There are more than the limit. */
  readonly more: boolean;
  /** Why nothing can be found, where the query itself is the reason. */
  readonly note: string | null;
  /** `primary`, or the replica that answered. */
  readonly server: string;
  /** Why no replica answered, or how far behind it may be. */
  readonly serverNote: string | null;
}

/**
 * Finds stored log lines by full text and filters, newest first; on a replica where one is fit for it.
 * @throws KPIPE_SCHEMA_MISSING, KPIPE_POSTGRES_UNREACHABLE within 5 s, KPIPE_POSTGRES_FAILED when it takes too long
 */
export async function searchLogs(
  config: PostgresConfig,
  query: LogQuery,
  signal: AbortSignal,
): Promise<LogSearchResult> {
  const reads = new ReadPool(config, {
    applicationName: 'kpipe:logs-search',
    max: 2,
    now: Date.now,
    random: Math.random,
    staleWithoutPrimary: true,
  });
  try {
    const answer = await reads.read((pool) => asking(pool, () => find(pool, config, query, signal)), {
      after: 'latest',
    });
    const { result, server, note: serverNote } = answer;
    return { query: query.text, since: new Date(query.sinceMs).toISOString(), ...result, server, serverNote };
  } finally {
    await reads.close();
  }
}

type Found = Pick<LogSearchResult, 'lines' | 'more' | 'note'>;

async function find(pool: Pool, config: PostgresConfig, query: LogQuery, signal: AbortSignal): Promise<Found> {
  try {
    return await inTransaction(pool, config.pool.statementTimeout, (client) =>
      cancelledBy(signal, pool, client, async () => {
        const rows = await selectLines(client, query);
        const note =
          rows.length === 0 && query.text !== '' && !(await hasWords(client, query.text))
            ? 'the query holds no word'
            : null;
        return { lines: rows.slice(0, query.limit).map(logLine), more: rows.length > query.limit, note };
      }),
    );
  } catch (error) {
    signal.throwIfAborted();
    throw sqlstateOf(error) === '57014' ? tooSlow(config.pool.statementTimeout, error) : error;
  }
}

/** Cancels the statement on the server when the signal aborts: leaving alone would let it run to its time-out. */
async function cancelledBy<Result>(
  signal: AbortSignal,
  pool: Pool,
  client: PoolClient,
  work: () => Promise<Result>,
): Promise<Result> {
  const { rows } = await client.query<{ readonly pid: number }>('select pg_backend_pid() as pid');
  const cancel = (): void => {
    // When that fails, the statement's own time-out ends it.
    pool.query('select pg_cancel_backend($1)', [rows[0]?.pid]).catch(() => undefined);
  };
  signal.throwIfAborted();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await work();
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}

interface LogRow {
  readonly ts: string;
  readonly severity_number: number;
  readonly severity_text: string | null;
  readonly service_name: string | null;
  readonly trace_id: string | null;
  readonly span_id: string | null;
  readonly body: string;
  readonly attributes: string;
  readonly resource: string;
  readonly topic: string;
  readonly partition: number;
  readonly kafka_offset: string;
}

/** `websearch_to_tsquery` takes any text; `to_tsquery` would answer most of what people type with 42601. */
async function selectLines(client: PoolClient, query: LogQuery): Promise<readonly LogRow[]> {
  const values: (string | number | Date)[] = [new Date(query.sinceMs), query.limit + 1];
  const where = (condition: (parameter: string) => string, value: string | number | undefined): readonly string[] =>
    value === undefined ? [] : [condition(`$${values.push(value)}`)];
  const conditions = [
    'ts >= $1',
    ...where(
      (parameter) => `search @@ websearch_to_tsquery('simple', ${parameter})`,
      query.text === '' ? undefined : query.text,
    ),
    ...where((parameter) => `service_name = ${parameter}`, query.service),
    ...where((parameter) => `severity_number >= ${parameter}`, query.minSeverity),
    ...where((parameter) => `trace_id = ${parameter}`, query.traceId),
  ];
  const { rows } = await client.query<LogRow>(
    `
    select to_char(ts at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ts, severity_number, severity_text,
      service_name, trace_id, span_id, body, attributes::text as attributes, resource::text as resource,
      topic, partition, kafka_offset
    from kpipe.logs
    where ${conditions.join('\n      and ')}
    order by kpipe.logs.ts desc, topic, partition, kafka_offset desc, line desc
    limit $2`,
    values,
  );
  return rows;
}

async function hasWords(client: PoolClient, text: string): Promise<boolean> {
  const { rows } = await client.query<{ readonly words: boolean }>(
    `select numnode(websearch_to_tsquery('simple', $1)) > 0 as words`,
    [text],
  );
  return rows[0]?.words ?? false;
}

function logLine(row: LogRow): LogLine {
  const name = severityName(row.severity_number);
  return {
    ts: row.ts,
    severity: name === '' ? row.severity_text : name,
    severityNumber: row.severity_number,
    service: row.service_name,
    body: row.body,
    traceId: row.trace_id,
    spanId: row.span_id,
    attributes: parseExactJson(row.attributes),
    resource: parseExactJson(row.resource),
    topic: row.topic,
    partition: row.partition,
    offset: row.kafka_offset,
  };
}

function tooSlow(timeoutMs: number, cause: unknown): KpipeError {
  return new KpipeError('KPIPE_POSTGRES_FAILED', `the search took longer than ${timeoutMs} ms and was ended`, {
    next: 'narrow it with --since or --service, or raise postgres.pool.statementTimeout in kpipe.yaml',
    cause,
  });
}

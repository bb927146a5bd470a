import type { Query } from '@google-cloud/bigquery';

import type { BigQueryConfig } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { withDeadline } from '../deadline.ts';
import { connectBigQuery, requestDeadlineMs, type BigQueryConnection } from './connection.ts';
import { bigQueryFailure, tablePath } from './failures.ts';
import { tableOfIntent, type Intent } from './intent.ts';

/** Which rows: everything that is given has to hold. Spans of time include both ends; offsets are [from, to). */
export interface RowSelection {
  readonly topic?: string;
  readonly partition?: number;
  readonly offsets?: { readonly from: bigint; readonly to: bigint };
  readonly timeMicros?: { readonly min: bigint; readonly max: bigint };
  readonly ingestedAtMicros?: { readonly min: bigint; readonly max: bigint };
  readonly source?: string;
  readonly ids?: readonly string[];
}

export interface RowCounts {
  readonly rows: number;
  /** Different (topic, partition, offset): less than `rows` means that kpipe wrote a record twice. */
  readonly records: number;
  /** Different (source, id): less than `records` means that a producer sent an event twice. */
  readonly events: number;
}

/** One row as it was stored; `data` and `extensions` are JSON texts. */
export interface WarehouseRow {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string | null;
  readonly timeMicros: bigint;
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly ingestedAtMicros: bigint;
  readonly data: string | null;
  readonly extensions: string | null;
}

/** Counts the rows of the configured table. @throws KPIPE_BIGQUERY_… */
export async function countRows(config: BigQueryConfig, selection: RowSelection = {}): Promise<RowCounts> {
  return withConnection(config, (connection) => countSelected(connection, selection));
}

/** Reads rows in the order of topic, partition and offset. @throws KPIPE_BIGQUERY_… */
export async function readRows(
  config: BigQueryConfig,
  selection: RowSelection = {},
  limit = 1000,
): Promise<readonly WarehouseRow[]> {
  return withConnection(config, (connection) => readSelected(connection, selection, limit));
}

export async function countSelected(connection: BigQueryConnection, selection: RowSelection): Promise<RowCounts> {
  const { text, params, types } = where(selection);
  const query = `
    SELECT
      COUNT(*) AS row_count,
      COUNT(DISTINCT CONCAT(kafka_topic, '/', CAST(kafka_partition AS STRING), '/', CAST(kafka_offset AS STRING))) AS record_count,
      COUNT(DISTINCT CONCAT(source, '\\n', id)) AS event_count
    FROM \`${tablePath(connection.config)}\`
    WHERE ${text}`;
  const [row] = await run(connection, { query, params, types });
  return {
    rows: whole(row?.['row_count']),
    records: whole(row?.['record_count']),
    events: whole(row?.['event_count']),
  };
}

/** How many rows of an intent's batch its table holds; the table is the intent's own, whatever kpipe.yaml says now. */
export async function countBatchRows(
  connection: BigQueryConnection,
  batch: { topic: string; partition: number },
  intent: Intent,
): Promise<number> {
  const { topic, partition } = batch;
  const offsets = { from: intent.from, to: intent.to };
  const { text, params, types } = where({
    topic,
    partition,
    offsets,
    timeMicros: intent.timeMicros,
    ingestedAtMicros: intent.ingestedAtMicros,
  });
  const [, project, , dataset, , table] = tableOfIntent(intent).split('/');
  const query = `SELECT COUNT(*) AS row_count FROM \`${project}.${dataset}.${table}\` WHERE ${text}`;
  const [row] = await run(connection, { query, params, types });
  return whole(row?.['row_count']);
}

/** The offsets that have rows, ascending, and how many each. @throws KPIPE_BIGQUERY_… */
export async function countByOffset(
  config: BigQueryConfig,
  selection: RowSelection,
): Promise<readonly { readonly offset: bigint; readonly rows: number }[]> {
  const { text, params, types } = where(selection);
  const query = `
    SELECT kafka_offset, COUNT(*) AS row_count
    FROM \`${tablePath(config)}\`
    WHERE ${text}
    GROUP BY kafka_offset
    ORDER BY kafka_offset`;
  const found = await withConnection(config, (connection) => run(connection, { query, params, types }));
  return found.map((row) => ({ offset: integer(row['kafka_offset']), rows: whole(row['row_count']) }));
}

async function readSelected(
  connection: BigQueryConnection,
  selection: RowSelection,
  limit: number,
): Promise<readonly WarehouseRow[]> {
  const { text, params, types } = where(selection);
  const query = `
    SELECT id, source, type, subject, UNIX_MICROS(time) AS time_micros, kafka_topic, kafka_partition, kafka_offset,
      UNIX_MICROS(ingested_at) AS ingested_micros, data, extensions
    FROM \`${tablePath(connection.config)}\`
    WHERE ${text}
    ORDER BY kafka_topic, kafka_partition, kafka_offset
    LIMIT ${Math.floor(limit)}`;
  const rows = await run(connection, { query, params, types });
  return rows.map((row) => ({
    id: string(row['id']),
    source: string(row['source']),
    type: string(row['type']),
    subject: textOrNull(row['subject']),
    timeMicros: integer(row['time_micros']),
    topic: string(row['kafka_topic']),
    partition: whole(row['kafka_partition']),
    offset: integer(row['kafka_offset']),
    ingestedAtMicros: integer(row['ingested_micros']),
    data: textOrNull(row['data']),
    extensions: textOrNull(row['extensions']),
  }));
}

type Parameters = Record<string, string | readonly string[]>;
type ParameterTypes = Record<string, string | string[]>;

/** The table asks for a bound on `time`; when none is given, the bound is everything that a TIMESTAMP can be. */
function where(selection: RowSelection): {
  readonly text: string;
  readonly params: Parameters;
  readonly types: ParameterTypes;
} {
  const params: Parameters = {};
  const types: ParameterTypes = {};
  const bind = (name: string, value: bigint | number | string | readonly string[]): string => {
    // The API's values are texts; the client hands on a number as it is.
    params[name] = typeof value === 'bigint' || typeof value === 'number' ? String(value) : value;
    types[name] = Array.isArray(value) ? ['STRING'] : typeof value === 'string' ? 'STRING' : 'INT64';
    return `@${name}`;
  };
  const { topic, partition, offsets, timeMicros, ingestedAtMicros, source, ids } = selection;
  const conditions = [
    timeMicros === undefined
      ? `time >= TIMESTAMP '0001-01-01 00:00:00+00'`
      : `time BETWEEN TIMESTAMP_MICROS(${bind('min_time', timeMicros.min)}) AND TIMESTAMP_MICROS(${bind('max_time', timeMicros.max)})`,
    topic === undefined ? '' : `kafka_topic = ${bind('topic', topic)}`,
    partition === undefined ? '' : `kafka_partition = ${bind('partition', partition)}`,
    offsets === undefined
      ? ''
      : `kafka_offset >= ${bind('from_offset', offsets.from)} AND kafka_offset < ${bind('to_offset', offsets.to)}`,
    ingestedAtMicros === undefined
      ? ''
      : `ingested_at BETWEEN TIMESTAMP_MICROS(${bind('min_ingested', ingestedAtMicros.min)}) AND TIMESTAMP_MICROS(${bind('max_ingested', ingestedAtMicros.max)})`,
    source === undefined ? '' : `source = ${bind('source', source)}`,
    ids === undefined ? '' : `id IN UNNEST(${bind('ids', ids)})`,
  ];
  return { text: conditions.filter((condition) => condition !== '').join('\n AND '), params, types };
}

type Cells = Readonly<Record<string, unknown>>;

async function run(connection: BigQueryConnection, query: Query): Promise<readonly Cells[]> {
  const { config, rest } = connection;
  try {
    const asked = rest.query({
      ...query,
      wrapIntegers: true,
      parseJSON: false,
      ...(config.location === undefined ? {} : { location: config.location }),
    });
    const [rows] = await withDeadline(asked, requestDeadlineMs, 'no answer to a query');
    return rows.filter((row): row is Cells => typeof row === 'object' && row !== null);
  } catch (error) {
    throw bigQueryFailure(`asking ${tablePath(config)}`, error, config);
  }
}

/**
 * A count that was not answered must not pass for 0: a stand-in answers a query that it cannot run with HTTP 200 and no
 * rows at all.
 */
function whole(cell: unknown): number {
  return Number(integer(cell));
}

/** An INT64 comes as a BigQueryInt, whose value is text. */
function integer(cell: unknown): bigint {
  const text = typeof cell === 'object' && cell !== null && 'value' in cell ? cell.value : cell;
  if ((typeof text === 'string' || typeof text === 'number') && /^-?\d+$/.test(String(text))) {
    return BigInt(text);
  }
  throw new KpipeError('KPIPE_BIGQUERY_FAILED', 'BigQuery answered a query without the number that was asked for', {
    next: 'see that the table exists and that the endpoint speaks BigQuery; `kpipe doctor` looks at every store',
  });
}

function textOrNull(cell: unknown): string | null {
  return cell === null || cell === undefined ? null : string(cell);
}

function string(cell: unknown): string {
  return typeof cell === 'string' ? cell : JSON.stringify(cell);
}

async function withConnection<T>(
  config: BigQueryConfig,
  work: (connection: BigQueryConnection) => Promise<T>,
): Promise<T> {
  const connection = await connectBigQuery(config);
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

import type { EventRow } from '../records/event.ts';
import type { LogRow } from '../records/log.ts';
import type { Timestamp } from '../records/timestamp.ts';
import type { ChangedRecord } from '../verify/account.ts';
import { indexable } from './log-sink.ts';
import { asking, inTransaction, type Pool } from './pool.ts';

/**
 * Holds rows against the records that they came from. The comparison is PostgreSQL's own, by SQL that the sinks do not
 * use: what the record says goes there as text, and is read as the column's type. Documents are compared by their text,
 * since 1.1 and 1.10 are equal to jsonb.
 */
const statementTimeoutMs = 120_000;

/** Of records that have no row: those whose event (source, id) came with another record, so they are repeats. */
export function repeatedEvents(pool: Pool, rows: readonly EventRow[]): Promise<ReadonlySet<bigint>> {
  return selectOffsets(
    pool,
    `select v.kafka_offset
       from unnest($1::bigint[], $2::text[], $3::text[]) as v (kafka_offset, source, id)
       join kpipe.events e on e.source = v.source and e.id = v.id`,
    [
      rows.map(({ offset }) => offset),
      rows.map(({ source }) => source.toString()),
      rows.map(({ id }) => id.toString()),
    ],
  );
}

async function selectOffsets(pool: Pool, sql: string, values: readonly unknown[]): Promise<ReadonlySet<bigint>> {
  const rows = await select<{ kafka_offset: string }>(pool, sql, values);
  return new Set(rows.map((row) => BigInt(row.kafka_offset)));
}

function select<Row extends object>(pool: Pool, sql: string, values: readonly unknown[]): Promise<readonly Row[]> {
  return asking(pool, () =>
    inTransaction(pool, statementTimeoutMs, async (client) => (await client.query<Row>(sql, [...values])).rows),
  );
}

type Changed = { readonly kafka_offset: string; readonly columns: readonly string[] };
const changesOf = (rows: readonly Changed[]): readonly ChangedRecord[] =>
  rows.map(({ kafka_offset: offset, columns }) => ({ offset: BigInt(offset), columns }));

/** Columns of the row and of the record, and what PostgreSQL compares them as. */
function differences(pairs: Readonly<Record<string, string>>): string {
  return Object.entries(pairs)
    .map(([column, condition]) => `case when ${condition} then '${column}' end`)
    .join(', ');
}

const microsOf = (column: string): string => `(extract(epoch from ${column}) * 1000000)::bigint`;

/** Events that have a row at their offset: those whose row says something else. */
export async function changedEvents(
  pool: Pool,
  topic: string,
  partition: number,
  rows: readonly EventRow[],
): Promise<readonly ChangedRecord[]> {
  const changed = await select<Changed>(
    pool,
    `select kafka_offset, columns
       from (
         select v.kafka_offset, array_remove(array[${differences({
           identity: 'e.id is null',
           type: 'e.id is not null and e.type is distinct from v.type',
           subject: 'e.id is not null and e.subject is distinct from v.subject',
           data: 'e.id is not null and e.data::text is distinct from v.data::jsonb::text',
           extensions: 'e.id is not null and e.extensions::text is distinct from v.extensions::jsonb::text',
           time: `e.id is not null and ${microsOf('e.time')} is distinct from v.time`,
           kafka_timestamp: `e.id is not null and ${microsOf('e.kafka_timestamp')} is distinct from v.kafka_timestamp`,
           key: 'e.id is not null and e.key is distinct from v.key',
           raw: 'e.id is not null and e.raw is distinct from v.raw',
         })}], null) as columns
           from unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[],
                       $11::bigint[], $12::bytea[], $13::bytea[])
                as v (kafka_offset, source, id, type, subject, data, extensions, time, kafka_timestamp, key, raw)
           left join kpipe.events e
             on e.source = v.source and e.id = v.id
            and e.topic = $1 and e.partition = $2 and e.kafka_offset = v.kafka_offset
       ) compared
      where columns <> '{}'
      order by kafka_offset`,
    [
      topic,
      partition,
      rows.map(({ offset }) => offset),
      rows.map(({ source }) => source.toString()),
      rows.map(({ id }) => id.toString()),
      rows.map(({ type }) => type.toString()),
      rows.map(({ subject }) => subject?.toString() ?? null),
      rows.map(({ data }) => data?.toString() ?? null),
      rows.map(({ extensions }) => extensions?.toString() ?? null),
      rows.map(({ time }) => micros(time)),
      rows.map(({ recordTimeMs }) => BigInt(recordTimeMs) * 1000n),
      rows.map(({ key }) => key),
      rows.map(({ raw }) => raw),
    ],
  );
  return changesOf(changed);
}

/** Log records that have rows at their offset: those with a line that says something else, or has none. */
export async function changedLogs(
  pool: Pool,
  topic: string,
  partition: number,
  rows: readonly LogRow[],
  oldestDayMs: number | null,
): Promise<readonly ChangedRecord[]> {
  const lines = rows.flatMap((row) =>
    row.lines
      .map((line, number) => ({ line, number, row, time: line.time ?? { ms: row.recordTimeMs, micros: 0 } }))
      .filter(({ time }) => oldestDayMs === null || time.ms >= oldestDayMs),
  );
  const changed = await select<Changed>(
    pool,
    `select kafka_offset, array_agg(distinct column_name) as columns
       from (
         select v.kafka_offset, unnest(array_remove(array[${differences({
           line: 'l.body is null',
           ts: `l.body is not null and ${microsOf('l.ts')} is distinct from v.ts`,
           severity_number: 'l.body is not null and l.severity_number is distinct from v.severity_number',
           severity_text: 'l.body is not null and l.severity_text is distinct from v.severity_text',
           service_name: 'l.body is not null and l.service_name is distinct from v.service_name',
           trace_id: 'l.body is not null and l.trace_id is distinct from v.trace_id',
           span_id: 'l.body is not null and l.span_id is distinct from v.span_id',
           body: 'l.body is not null and l.body is distinct from v.body',
           attributes: 'l.body is not null and l.attributes::text is distinct from v.attributes::jsonb::text',
           resource: 'l.body is not null and l.resource::text is distinct from v.resource::jsonb::text',
         })}], null)) as column_name
           from unnest($3::bigint[], $4::smallint[], $5::bigint[], $6::smallint[], $7::text[], $8::text[], $9::text[],
                       $10::text[], $11::text[], $12::text[], $13::text[])
                as v (kafka_offset, line, ts, severity_number, severity_text, service_name, trace_id, span_id, body,
                      attributes, resource)
           left join kpipe.logs l
             on l.topic = $1 and l.partition = $2 and l.kafka_offset = v.kafka_offset and l.line = v.line
       ) compared
      group by kafka_offset
      order by kafka_offset`,
    [
      topic,
      partition,
      lines.map(({ row }) => row.offset),
      lines.map(({ number }) => number),
      lines.map(({ time }) => micros(time)),
      lines.map(({ line }) => line.severity.number),
      lines.map(({ line }) => indexable(line.severity.text)),
      lines.map(({ line }) => indexable(line.service)),
      lines.map(({ line }) => indexable(line.traceId)),
      lines.map(({ line }) => indexable(line.spanId)),
      lines.map(({ line }) => line.body),
      lines.map(({ line }) => line.attributes.toString()),
      lines.map(({ line }) => line.resource.toString()),
    ],
  );
  return changesOf(changed);
}

function micros({ ms, micros: rest }: Timestamp): bigint {
  return BigInt(ms) * 1000n + BigInt(rest);
}

import type { LogRow } from '../records/log.ts';
import type { LogLine } from '../records/log-line.ts';
import { Span } from '../records/span.ts';
import type { TopicPartition } from '../ports.ts';
import type { Sink } from '../runtime/sink.ts';
import { RowEncoder, type EncodedRow } from './copy-binary.ts';
import { copiedColumns, dropExpiredPartitions, ensureLogPartitions } from './log-partitions.ts';
import { inTransaction, type Pool } from './pool.ts';
import { openPostgresSink, type PostgresSinkOptions } from './postgres-sink.ts';

export interface LogSinkOptions extends PostgresSinkOptions {
  readonly retentionMs: number;
  readonly clock: () => number;
  /** Told when the daily work on partitions failed. */
  readonly notice: (text: string) => void;
}

const maintenanceEveryMs = 3_600_000;

/** Log lines into the daily partitions of kpipe.logs. @throws KPIPE_SCHEMA_MISSING */
export async function openLogSink(options: LogSinkOptions): Promise<Sink<EncodedRow>> {
  const sink = await openPostgresSink<EncodedRow>(options, {
    role: options.role,
    table: 'kpipe.logs',
    columns: copiedColumns,
    key: ['kafka_offset', 'partition', 'line', 'ts', 'topic'],
  });
  const maintain = async (): Promise<void> => {
    try {
      await maintainPartitions(options.pool, options);
    } catch (error) {
      // Lines without a partition of their own go to the default one: worth saying, no reason to stop.
      options.notice(`the log partitions could not be maintained, again in an hour: ${sink.describe(error).message}`);
    }
  };
  await maintain();
  const maintenance = setInterval(() => void maintain(), maintenanceEveryMs);
  return {
    ...sink,
    close: () => {
      clearInterval(maintenance);
      return sink.close();
    },
  };
}

/** Makes the days ahead and drops the expired ones; safe beside other consumers that do the same. */
export async function maintainPartitions(
  pool: Pool,
  { retentionMs, clock }: Pick<LogSinkOptions, 'retentionMs' | 'clock'>,
): Promise<void> {
  const options = { retentionMs, nowMs: clock() };
  await inTransaction(pool, 60_000, (client) => ensureLogPartitions(client, options));
  // For itself: a long query that holds up the drop must not take the new days back.
  await inTransaction(pool, 60_000, (client) => dropExpiredPartitions(client, options));
}

/** Encodes the lines of a record for kpipe.logs. */
export type EncodeLogs = (row: LogRow, partition: TopicPartition) => EncodedRow;

export function createLogEncoder(): EncodeLogs {
  const encoder = new RowEncoder(copiedColumns.length);
  return (row, { topic, partition }) => {
    for (const [number, line] of row.lines.entries()) {
      encoder.startRow();
      encoder.timestamptz(line.time?.ms ?? row.recordTimeMs, line.time?.micros ?? 0);
      encoder.timestamptz(row.recordTimeMs, 0);
      encoder.int8(row.offset);
      encoder.int4(partition);
      encoder.int2(number);
      encodeLine(encoder, line, topic);
    }
    return encoder.take(row.offset);
  };
}

function encodeLine(copy: RowEncoder, line: LogLine, topic: string): void {
  copy.int2(line.severity.number);
  copy.boolean(line.unstructured);
  copy.boolean(line.sanitised);
  copy.text(topic);
  copy.text(indexable(line.severity.text));
  copy.text(indexable(line.service));
  copy.text(indexable(line.traceId));
  copy.text(indexable(line.spanId));
  copy.text(line.body);
  copy.jsonb(Span.of(line.attributes));
  copy.jsonb(Span.of(line.resource));
}

/** An index entry holds 2,704 bytes; a name that is longer is no name. The line itself must not be lost for it. */
export function indexable(text: string | null): string | null {
  return text === null || text.length <= 200 ? text : text.slice(0, 200).toWellFormed();
}

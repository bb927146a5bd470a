import type { BigQueryConfig, WarehouseColumns } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import type { TopicPartition } from '../ports.ts';
import type { Sink } from '../runtime/sink.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import { AnalyticsSink } from './analytics-sink.ts';
import type { BatchWriter } from './batch-writer.ts';
import { connectBigQuery, openDeadlineMs, type BigQueryConnection } from './connection.ts';
import { meteredJobs, meteredStreams, UsageMeter } from './cost.ts';
import { isNotFound, tablePath } from './failures.ts';
import { FollowedColumns } from './followed-columns.ts';
import type { GroupAccess } from './group-access.ts';
import { tableResource, type Intent } from './intent.ts';
import { datasetLocation, loadJobs, type LoadJobs } from './load-jobs.ts';
import { LoadWriter } from './load-writer.ts';
import { StorageWriter } from './storage-writer.ts';
import { declaredColumnProblems, ensureTable, type TableReady } from './table.ts';
import { compileTypedColumns, type TypedColumns } from './typed-columns.ts';
import { countBatchRows } from './warehouse.ts';
import { pendingStreams, probeStorage, type PendingStreams } from './writer.ts';

export interface AnalyticsSinkOptions {
  readonly config: BigQueryConfig;
  readonly group: GroupAccess;
  /** Where to read a partition from that the group has no commit of. */
  readonly startPosition: (partition: TopicPartition) => Promise<bigint>;
  /** How many partitions the topic has: this process takes its share of the table's load jobs. */
  readonly partitionCount: () => Promise<number>;
  /** How deep an event's data may nest. */
  readonly maxDepth: number;
  /** What kpipe.yaml declares now, where that is followed; null: it has not changed. @throws KPIPE_CONFIG_… */
  readonly declaredNow?: () => Promise<WarehouseColumns | null>;
  /** Told what changes while the sink is open, a line each. */
  readonly notice?: (text: string) => void;
}

export interface OpenedAnalyticsSink extends Sink<AnalyticsRow> {
  /** `project.dataset.table` */
  readonly table: string;
  /** What was made, and what the table lacks of the declared options. */
  readonly ready: TableReady;
}

/** How long a table that was just made may be unknown to the Storage Write API. */
const newTableGraceMs = 120_000;

/**
 * Connects, makes the table when it is missing, and answers the sink of role analytics.
 * @throws KPIPE_BIGQUERY_NO_CREDENTIALS, KPIPE_BIGQUERY_UNREACHABLE, KPIPE_BIGQUERY_FAILED, KPIPE_SCHEMA_MISSING
 */
export async function openAnalyticsSink(options: AnalyticsSinkOptions): Promise<OpenedAnalyticsSink> {
  const { config, group, startPosition } = options;
  const connection = await connectBigQuery(config);
  try {
    const ready = await ensureTable(connection);
    if (config.write === 'storage') {
      await probeStorage(connection, openDeadlineMs);
    }
    const meter = new UsageMeter(config.write, Date.now());
    const streams = ready.created.table ? patientStreams(connection) : pendingStreams(connection);
    let partitions = config.write === 'load' ? await options.partitionCount() : 1;
    const intervalMs = async (): Promise<number> => {
      // While Kafka does not say, the number that it said last.
      partitions = await options.partitionCount().catch(() => partitions);
      return shareOfInterval(config.loadInterval, sink.held, partitions);
    };
    const sink: AnalyticsSink = new AnalyticsSink({
      group,
      writer: await openWriter({
        connection,
        columns: followColumns(connection, options),
        streams: meteredStreams(streams, meter),
        jobs: meteredJobs(loadJobs(connection), meter),
        intervalMs,
      }),
      usage: () => meter.read(),
      startPosition,
    });
    return Object.assign(sink, { table: tablePath(config), ready });
  } catch (error) {
    await connection.close();
    throw error;
  }
}

function followColumns(
  connection: BigQueryConnection,
  { config, maxDepth, declaredNow, notice }: AnalyticsSinkOptions,
): () => Promise<TypedColumns> {
  const compile = (declared: WarehouseColumns): TypedColumns => compileTypedColumns(declared, maxDepth);
  const followed = new FollowedColumns({
    initial: compile(config.columns ?? {}),
    declared: declaredNow ?? (() => Promise.resolve(null)),
    compile,
    problems: (columns) => declaredColumnProblems(connection, columns),
    notice: notice ?? (() => undefined),
    nowMs: () => performance.now(),
  });
  return () => followed.current();
}

interface WriterParts {
  readonly connection: BigQueryConnection;
  readonly columns: () => Promise<TypedColumns>;
  readonly streams: PendingStreams;
  readonly jobs: LoadJobs;
  readonly intervalMs: () => Promise<number>;
}

/** Writes by the configured way; settles what either way has left half done. */
async function openWriter({ connection, columns, streams, jobs, intervalMs }: WriterParts): Promise<BatchWriter> {
  const common = {
    columns,
    countBatch: (partition: TopicPartition, intent: Intent) => countBatchRows(connection, partition, intent),
    close: () => connection.close(),
  };
  const storage = new StorageWriter({ ...common, streams });
  const load = new LoadWriter({
    ...common,
    jobs,
    table: tableResource(connection.config),
    location: connection.config.write === 'load' ? await datasetLocation(connection) : '',
    role: 'analytics',
    intervalMs,
  });
  const chosen = connection.config.write === 'load' ? load : storage;
  return {
    stage: (batch) => chosen.stage(batch),
    settle: (partition, intent) => ('job' in intent ? load : storage).settle(partition, intent),
    close: () => chosen.close(),
  };
}

/**
 * The table's one job per interval, shared by the processes of the role without asking each other: whoever holds k of the
 * topic's n partitions starts one every n/k intervals, for all of them together. The shares add up to one.
 */
function shareOfInterval(intervalMs: number, held: number, partitions: number): number {
  return (intervalMs * Math.max(held, partitions)) / Math.max(1, held);
}

/** For a table that was made a moment ago: "not found" is then worth another attempt. */
function patientStreams(connection: BigQueryConnection): PendingStreams {
  const streams = pendingStreams(connection);
  const until = performance.now() + newTableGraceMs;
  return {
    ...streams,
    create: async () => {
      try {
        return await streams.create();
      } catch (error) {
        if (performance.now() < until && error instanceof KpipeError && isNotFound(error.cause)) {
          throw new KpipeError(
            'KPIPE_BIGQUERY_UNREACHABLE',
            'the new table is not known to the Storage Write API yet',
            {
              where: error.where,
              cause: error.cause,
            },
          );
        }
        throw error;
      }
    },
  };
}

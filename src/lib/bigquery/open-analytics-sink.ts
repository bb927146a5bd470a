import type { BigQueryConfig } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import type { TopicPartition } from '../ports.ts';
import type { Sink } from '../runtime/sink.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import { AnalyticsSink } from './analytics-sink.ts';
import { connectBigQuery, openDeadlineMs, type BigQueryConnection } from './connection.ts';
import { isNotFound, tablePath } from './failures.ts';
import type { GroupAccess } from './group-access.ts';
import { ensureTable, type TableReady } from './table.ts';
import { countBatchRows } from './warehouse.ts';
import { pendingStreams, probeStorage, type PendingStreams } from './writer.ts';

export interface AnalyticsSinkOptions {
  readonly config: BigQueryConfig;
  readonly group: GroupAccess;
  /** Where to read a partition from that the group has no commit of. */
  readonly startPosition: (partition: TopicPartition) => Promise<bigint>;
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
 * @throws KPIPE_BIGQUERY_NO_CREDENTIALS, KPIPE_BIGQUERY_UNREACHABLE, KPIPE_BIGQUERY_FAILED, KPIPE_SCHEMA_MISSING;
 * KPIPE_CONFIG_INVALID for `write: load`
 */
export async function openAnalyticsSink(options: AnalyticsSinkOptions): Promise<OpenedAnalyticsSink> {
  const { config, group, startPosition } = options;
  if (config.write === 'load') {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'bigquery.write: load is not offered by this version', {
      next: 'set bigquery.write: storage (the Storage Write API) in kpipe.yaml',
    });
  }
  const connection = await connectBigQuery(config);
  try {
    const ready = await ensureTable(connection);
    await probeStorage(connection, openDeadlineMs);
    const streams = ready.created.table ? patientStreams(connection) : pendingStreams(connection);
    const sink = new AnalyticsSink({
      group,
      streams,
      countBatch: (partition, intent) => countBatchRows(connection, partition, intent),
      startPosition,
      close: () => connection.close(),
    });
    return Object.assign(sink, { table: tablePath(config), ready });
  } catch (error) {
    await connection.close();
    throw error;
  }
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

import { KpipeError } from '../errors.ts';
import type { TopicPartition } from '../ports.ts';
import type { Sink } from '../runtime/sink.ts';
import type { EncodedRow } from './copy-binary.ts';
import { claimPartition, strayedClaims } from './consumer-offsets.ts';
import { kindOfFailure, postgresError } from './failures.ts';
import { startHeartbeat } from './heartbeat.ts';
import { poolEnd, type Pool, type PoolClient } from './pool.ts';
import { requireOwnTables } from './required-tables.ts';
import { TableWriter, type BulkTable } from './table-writer.ts';

/** What every role that ends in PostgreSQL has in common. */
export interface PostgresSinkOptions {
  readonly role: string;
  /** Ended by the sink's `close()`. */
  readonly pool: Pool;
  readonly statementTimeoutMs: number;
  readonly topicId: string;
  readonly startPosition: (partition: TopicPartition) => Promise<bigint>;
  readonly acceptRecreated: boolean;
  /** What else must forget the offsets of a topic that was deleted; runs in the claim's transaction. */
  readonly forgetTopic?: (client: PoolClient, partition: TopicPartition) => Promise<void>;
}

/** The question where the role stands is small. */
const askingTimeoutMs = 5000;

/** A sink on one table, positions in kpipe.consumer_offset. @throws KPIPE_SCHEMA_MISSING, KPIPE_REFUSED, KPIPE_POSTGRES_UNREACHABLE */
export async function openPostgresSink<Row extends EncodedRow>(
  options: PostgresSinkOptions,
  table: BulkTable<Row>,
): Promise<Sink<Row>> {
  const { pool, statementTimeoutMs } = options;
  const end = poolEnd(pool);
  await requireOwnTables(pool, options.role, { ...table, rights: ['select', 'insert'] });
  // One writer a partition: each remembers by itself whether repeats are about.
  const writers = new Map<number, TableWriter<Row>>();
  const endHeartbeat = startHeartbeat(pool);
  return {
    commitsToGroup: false,
    claim: (partition) => {
      writers.set(partition.partition, new TableWriter(table, { pool, statementTimeoutMs }));
      return claimPartition(pool, {
        role: options.role,
        partition,
        topicId: options.topicId,
        startPosition: () => options.startPosition(partition),
        acceptRecreated: options.acceptRecreated,
        onRecreated: (client) => options.forgetTopic?.(client, partition) ?? Promise.resolve(),
        statementTimeoutMs,
      });
    },
    write: (claim, batch) => {
      const writer = writers.get(claim.partition) ?? new TableWriter(table, { pool, statementTimeoutMs });
      return writer.write(claim, batch);
    },
    strayed: (standings) => strayedClaims(pool, options.role, standings, askingTimeoutMs),
    // What is about records is answered by `write`; anywhere else no retry mends it.
    classify: (error) => (!(error instanceof KpipeError) && kindOfFailure(error) === 'sink' ? 'retry' : 'fatal'),
    describe: (error) => postgresError(error, pool.options),
    ping: async () => {
      await pool.query('select 1');
    },
    close: () => {
      endHeartbeat();
      return end();
    },
  };
}

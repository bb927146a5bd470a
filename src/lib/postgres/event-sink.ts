import type { ProjectionConfig } from '../config/schema.ts';
import { partitionKey, type TopicPartition } from '../ports.ts';
import type { EventRow } from '../records/event.ts';
import type { ProjectionChange } from '../records/projection.ts';
import type { Sink, SinkBatch } from '../runtime/sink.ts';
import { encodedRowBytes, RowEncoder, type EncodedRow } from './copy-binary.ts';
import { createChangeEncoder, type RowChanges } from './encoded-changes.ts';
import { openPostgresSink, type PostgresSinkOptions } from './postgres-sink.ts';
import { projectionTables, quotedTable } from './projection-table.ts';
import { prepareProjections } from './projections.ts';
import type { PoolClient } from './pool.ts';
import { requireProjectionTables } from './required-tables.ts';

/** An event and what it does to the operational tables. */
export interface ProjectedEvent extends EncodedRow, RowChanges {}

export function projectedEventBytes(row: ProjectedEvent): number {
  return encodedRowBytes(row) + (row.changes === null ? 0 : encodedRowBytes(row.changes));
}

export interface EventSinkOptions extends PostgresSinkOptions {
  readonly projections: readonly ProjectionConfig[];
  /** Told of the rows that changed, after the commit; it must not throw. Where nobody asks, PostgreSQL is not asked either. */
  readonly onProjected?: ((partition: number, changes: readonly ProjectionChange[]) => Promise<void>) | undefined;
  /** Told that the offsets of the projected rows begin anew: the topic is another. */
  readonly onRecreated?: () => void;
}

const columns = [
  'time',
  'kafka_timestamp',
  'kafka_offset',
  'partition',
  'source',
  'id',
  'type',
  'topic',
  'subject',
  'data',
  'extensions',
  'key',
  'raw',
] as const;

/** Events into kpipe.events and the operational tables. @throws KPIPE_SCHEMA_MISSING, KPIPE_REFUSED */
export async function openEventSink(options: EventSinkOptions): Promise<Sink<ProjectedEvent>> {
  await requireProjectionTables(options.pool, options.role, options.projections);
  const { onProjected } = options;
  const applyProjections = prepareProjections(options.projections, { tellsEffective: onProjected !== undefined });
  const projected = new Map<string, Projected>();
  const forgetTopic: PostgresSinkOptions['forgetTopic'] = async (client, { topic }) => {
    await forgetPositions(client, options, topic);
    options.onRecreated?.();
  };
  const sink = await openPostgresSink<ProjectedEvent>(
    { ...options, forgetTopic },
    {
      role: options.role,
      table: 'kpipe.events',
      columns,
      key: ['source', 'id'],
      applyEffects: async (client, claim, rows) => {
        const changes = await applyProjections(client, claim.partition, rows);
        projected.get(partitionKey(claim))?.changes.push(...changes);
      },
    },
  );
  return {
    ...sink,
    write: (claim, batch) => {
      // The same batch again, after a reply that was lost, may be there already: what it changed then still counts.
      if (projected.get(partitionKey(claim))?.batch !== batch) {
        projected.set(partitionKey(claim), { batch, changes: [] });
      }
      return sink.write(claim, batch);
    },
    afterCommit: async (batch) => {
      const changes = projected.get(partitionKey(batch))?.changes ?? [];
      projected.delete(partitionKey(batch));
      await onProjected?.(batch.partition, changes);
    },
  };
}

/**
 * Rows that a deleted topic's events wrote last are older than whatever the new one brings, though its offsets are lower.
 * Those of the partitions that began the new topic already are its own.
 */
async function forgetPositions(client: PoolClient, options: EventSinkOptions, topic: string): Promise<void> {
  // An operator's word, once: it may take as long as a large table takes.
  await client.query('set local statement_timeout = 0');
  for (const { table } of projectionTables(options.projections)) {
    await client.query(
      `update ${quotedTable(table)}
          set kpipe_partition = -1, kpipe_offset = -1
        where kpipe_partition >= 0
          and kpipe_partition not in (
            select partition from kpipe.consumer_offset where role = $1 and topic = $2 and topic_id = $3
          )`,
      [options.role, topic, options.topicId],
    );
  }
}

/** What a batch's rows did to the operational tables, until it is told. */
interface Projected {
  readonly batch: SinkBatch<ProjectedEvent>;
  readonly changes: ProjectionChange[];
}

/** Encodes events for kpipe.events. */
export type EncodeEvent = (
  event: EventRow,
  partition: TopicPartition,
  changes: readonly ProjectionChange[],
) => ProjectedEvent;

export function createEventEncoder(): EncodeEvent {
  const encoder = new RowEncoder(columns.length);
  const encodeChanges = createChangeEncoder();
  return (event, { topic, partition }, changes) => {
    encoder.startRow();
    encoder.timestamptz(event.time.ms, event.time.micros);
    encoder.timestamptz(event.recordTimeMs, 0);
    encoder.int8(event.offset);
    encoder.int4(partition);
    encoder.span(event.source);
    encoder.span(event.id);
    encoder.span(event.type);
    encoder.text(topic);
    encoder.span(event.subject);
    encoder.jsonb(event.data);
    encoder.jsonb(event.extensions);
    encoder.bytes(event.key);
    encoder.bytes(event.raw);
    const { offset, memory, start, end, lines } = encoder.take(event.offset);
    return { offset, memory, start, end, lines, changes: encodeChanges(offset, changes) };
  };
}

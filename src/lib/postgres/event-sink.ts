import type { ProjectionConfig } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { partitionKey } from '../ports.ts';
import type { EventRow } from '../records/event.ts';
import type { ProjectionChange } from '../records/projection.ts';
import type { Claim, Sink, SinkBatch } from '../runtime/sink.ts';
import type { CopyRows } from './copy-binary.ts';
import { openPostgresSink, type PostgresSinkOptions } from './postgres-sink.ts';
import { missingColumns, projectionTables } from './projection-table.ts';
import { prepareProjections } from './projections.ts';
import { asking, inTransaction } from './pool.ts';

/** An event and what it does to the operational tables. */
export interface ProjectedEvent {
  readonly event: EventRow;
  readonly changes: readonly ProjectionChange[];
}

export interface EventSinkOptions extends PostgresSinkOptions {
  readonly projections: readonly ProjectionConfig[];
  /** Told of the rows that changed, after the commit; it must not throw. */
  readonly onProjected: (partition: number, changes: readonly ProjectionChange[]) => Promise<void>;
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

/** Events into kpipe.events and the operational tables. @throws KPIPE_SCHEMA_MISSING */
export async function openEventSink(options: EventSinkOptions): Promise<Sink<ProjectedEvent>> {
  await requireProjectionTables(options);
  const applyProjections = prepareProjections(options.projections);
  const projected = new Map<string, Projected>();
  const sink = await openPostgresSink<ProjectedEvent>(options, {
    role: options.role,
    table: 'kpipe.events',
    columns,
    key: ['source', 'id'],
    encode: encodeEvents,
    offsetOf: (row) => row.event.offset,
    applyEffects: async (client, claim, rows) => {
      const changes = await applyProjections(
        client,
        claim.partition,
        rows.flatMap((row) => row.changes),
      );
      projected.get(partitionKey(claim))?.changes.push(...changes);
    },
  });
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
      await options.onProjected(batch.partition, changes);
    },
  };
}

/** What a batch's rows did to the operational tables, until it is told. */
interface Projected {
  readonly batch: SinkBatch<ProjectedEvent>;
  readonly changes: ProjectionChange[];
}

function encodeEvents(rows: readonly ProjectedEvent[], claim: Claim, copy: CopyRows): readonly number[] {
  const topic = Buffer.from(claim.topic);
  for (const { event } of rows) {
    copy.startRow();
    copy.timestamptz(event.time);
    copy.timestamptz({ ms: event.recordTimeMs, micros: 0 });
    copy.int8(event.offset);
    copy.int4(claim.partition);
    copy.bytes(event.source);
    copy.bytes(event.id);
    copy.bytes(event.type);
    copy.bytes(topic);
    copy.bytes(event.subject);
    copy.jsonb(event.data);
    copy.jsonb(event.extensions);
    copy.bytes(event.key);
    copy.bytes(event.raw);
  }
  return rows.map((_, index) => index);
}

async function requireProjectionTables(options: EventSinkOptions): Promise<void> {
  await asking(options.pool, (pool) =>
    inTransaction(pool, 5000, async (client) => {
      for (const table of projectionTables(options.projections)) {
        const missing = await missingColumns(client, table);
        if (missing === 'table' || missing.length > 0) {
          const what =
            missing === 'table'
              ? `the table ${table.table}`
              : missing.map(({ name }) => `${table.table}.${name}`).join(', ');
          throw new KpipeError('KPIPE_SCHEMA_MISSING', `role ${options.role} needs ${what}, which is not there`, {
            next: 'run `kpipe migrate`',
          });
        }
      }
    }),
  );
}

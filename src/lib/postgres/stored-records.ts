import { asking, inTransaction, type Pool } from './pool.ts';

/** A row and the record that it came from. */
export interface StoredRecord {
  readonly partition: number;
  readonly offset: bigint;
  /** Of an event; a log line has none. */
  readonly id: string | null;
  /** How many rows there are of this record. */
  readonly rows: number;
  /** From Kafka's timestamp until PostgreSQL had it. */
  readonly latencyMs: number;
}

type Row = [partition: number, offset: string, id: string | null, rows: number, latencyMs: number];

const selectEvents = `
  select partition, kafka_offset, id, 1, extract(epoch from received_at - kafka_timestamp)::float8 * 1000
  from kpipe.events
  where topic = $1 and kafka_offset >= $2`;

// observed_ts is Kafka's timestamp; an OTLP export has several lines in one record, each counts once.
const selectLogs = `
  select partition, kafka_offset, null, (count(*) - count(distinct line) + 1)::int,
         extract(epoch from min(received_at - observed_ts))::float8 * 1000
  from kpipe.logs
  where topic = $1 and kafka_offset >= $2
  group by partition, kafka_offset`;

/** What is stored of a topic's records from an offset on, in all partitions. @throws KPIPE_POSTGRES_… */
export function storedRecords(
  pool: Pool,
  table: 'events' | 'logs',
  topic: string,
  fromOffset: bigint,
): Promise<readonly StoredRecord[]> {
  return asking(pool, () =>
    inTransaction(pool, 120_000, async (client) => {
      const text = table === 'events' ? selectEvents : selectLogs;
      const { rows } = await client.query<Row>({ text, values: [topic, fromOffset.toString()], rowMode: 'array' });
      return rows.map(([partition, offset, id, count, latencyMs]) => ({
        partition,
        offset: BigInt(offset),
        id,
        rows: count,
        latencyMs,
      }));
    }),
  );
}

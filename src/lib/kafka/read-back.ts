import type { Admin, Consumer, KafkaMessage } from 'kafkajs';

import type { KafkaConfig } from '../config/load.ts';
import {
  partitionKey,
  type PartitionPosition,
  type RecordHeader,
  type SourceRecord,
  type TopicPartition,
} from '../ports.ts';
import { withDeadline } from '../deadline.ts';
import { unreachable } from './failures.ts';
import { Connections, createKafkaJs } from './kafkajs.ts';

/** Reads on from given positions, until it is closed. */
export interface ReadBack {
  /** The position of a partition so far. */
  position(partition: TopicPartition): bigint;
  close(): Promise<void>;
}

/**
 * Reads partitions from given positions and hands over every record, in the order of its partition. It is a member of
 * `group`, which commits nothing and is deleted at the end: kafkajs reads in no other way.
 * @throws KPIPE_KAFKA_UNREACHABLE
 */
export async function openReadBack(
  config: KafkaConfig,
  group: string,
  starts: readonly PartitionPosition[],
  onRecord: (partition: TopicPartition, record: SourceRecord) => void,
): Promise<ReadBack> {
  const connections = new Connections();
  const kafka = await createKafkaJs(config, group, connections);
  const consumer = kafka.consumer({
    groupId: group,
    maxWaitTimeInMs: 500,
    retry: { retries: 60, initialRetryTime: 100, maxRetryTime: 1000 },
  });
  const positions = new Map(starts.map((start) => [partitionKey(start), start.position]));
  const close = async (): Promise<void> => {
    await withDeadline(consumer.disconnect(), 5000, 'still connected').catch(() => undefined);
    await withDeadline(deleteGroup(kafka.admin(), group), 5000, 'no answer').catch(() => undefined);
    connections.cut();
  };
  try {
    await withDeadline(consumer.connect(), 8000, 'no answer');
    seekOnJoin(consumer, starts, positions);
    await consumer.subscribe({ topics: [...new Set(starts.map(({ topic }) => topic))], fromBeginning: true });
    await consumer.run({
      autoCommit: false,
      eachBatch: async (payload) => {
        const { batch } = payload;
        const partition = { topic: batch.topic, partition: batch.partition };
        const from = positions.get(partitionKey(partition)) ?? 0n;
        for (const message of batch.messages) {
          // A batch that was under way when the position was set begins elsewhere.
          if (BigInt(message.offset) >= from) {
            onRecord(partition, recordOf(message));
          }
        }
        const next = BigInt(batch.lastOffset()) + 1n;
        positions.set(partitionKey(partition), next > from ? next : from);
        await payload.heartbeat();
      },
    });
  } catch (error) {
    await close();
    throw unreachable(config, [error instanceof Error ? error.message : String(error)], error);
  }
  return { position: (partition) => positions.get(partitionKey(partition)) ?? 0n, close };
}

/** At each join every partition goes on where it was. */
function seekOnJoin(
  consumer: Consumer,
  starts: readonly PartitionPosition[],
  positions: ReadonlyMap<string, bigint>,
): void {
  consumer.on(consumer.events.GROUP_JOIN, () => {
    for (const start of starts) {
      const { topic, partition } = start;
      consumer.seek({ topic, partition, offset: (positions.get(partitionKey(start)) ?? start.position).toString() });
    }
  });
}

async function deleteGroup(admin: Admin, group: string): Promise<void> {
  await admin.connect();
  try {
    await admin.deleteGroups([group]);
  } finally {
    await admin.disconnect();
  }
}

function recordOf({ offset, timestamp, key, value, headers = {} }: KafkaMessage): SourceRecord {
  const pairs = Object.entries(headers).flatMap(([name, values]): RecordHeader[] =>
    (Array.isArray(values) ? values : [values]).map((bytes) => [name, bytes === undefined ? null : Buffer.from(bytes)]),
  );
  return { offset: BigInt(offset), timestampMs: Number(timestamp), key, value, headers: pairs };
}

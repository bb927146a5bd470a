import { setTimeout as sleep } from 'node:timers/promises';

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { JournalRecord } from '../replay/journal.ts';
import { KafkaConnections, type BrokerConnection } from './connections.ts';
import { openPublisher } from './publisher.ts';
import { metadata } from './topic-requests.ts';

/** The topic behind the journal: one partition, kept for ever, so that its order and its past are certain. */
export interface JournalLog {
  /** Everything that is in it now; nothing when the topic does not exist. */
  read(): Promise<readonly JournalRecord[]>;
  /** Resolves when it is acked by all in-sync replicas; makes the topic where it is missing. */
  append(key: string, value: Buffer): Promise<void>;
  close(): Promise<void>;
}

const partition = 0;
const fetchBytesAtOnce = 4_000_000;
const readUncommitted = 0;
const requestTimeoutMs = 10_000;
const topicVisibleMs = 10_000;

/** Connects with the first call. Calls throw KPIPE_KAFKA_…, KPIPE_PRODUCE_FAILED. */
export async function openJournalLog(config: KafkaConfig, admin: ClusterAdmin): Promise<JournalLog> {
  const kafka = await KafkaConnections.prepare(config, requestTimeoutMs);
  const topic = config.journal;
  let publisher: Awaited<ReturnType<typeof openPublisher>> | undefined;
  return {
    read: () => readAll(kafka, admin, topic),
    append: async (key, value) => {
      if (publisher === undefined) {
        await ensureTopic(admin, topic);
        publisher = await openPublisher(config, { clientId: `${config.clientId}-journal` });
      }
      await publisher.publish(topic, [{ key: Buffer.from(key), value, partition }]);
    },
    close: async () => {
      await publisher?.close();
      await kafka.close();
    },
  };
}

async function ensureTopic(admin: ClusterAdmin, topic: string): Promise<void> {
  if ((await admin.describeTopics([topic])).length > 0) {
    return;
  }
  const { brokers } = await admin.describeCluster();
  const replicationFactor = Math.min(3, brokers.length);
  const config = {
    'cleanup.policy': 'delete',
    'retention.ms': '-1',
    'retention.bytes': '-1',
    'min.insync.replicas': String(Math.max(1, replicationFactor - 1)),
  };
  try {
    await admin.createTopic({ name: topic, partitions: 1, replicationFactor, config });
  } catch (error) {
    // Another operator may have made it at the same moment.
    if ((await admin.describeTopics([topic])).length === 0) {
      throw error;
    }
  }
  for (const until = performance.now() + topicVisibleMs; performance.now() < until; await sleep(100)) {
    const [found] = await admin.describeTopics([topic]);
    if ((found?.partitions[partition]?.leader ?? -1) >= 0) {
      return;
    }
  }
}

async function readAll(kafka: KafkaConnections, admin: ClusterAdmin, topic: string): Promise<readonly JournalRecord[]> {
  if ((await admin.describeTopics([topic])).length === 0) {
    return [];
  }
  const at = { topic, partition };
  const [start] = await admin.listOffsets([at], 'earliest');
  const [end] = await admin.listOffsets([at], 'latest');
  const records: JournalRecord[] = [];
  for (let position = start?.offset ?? 0n; position < (end?.offset ?? 0n);) {
    const fetched = await fetchFrom(kafka, topic, position);
    records.push(...fetched.filter((record) => record.offset >= position));
    const last = fetched.at(-1);
    if (last === undefined || last.offset < position) {
      throw new KpipeError('KPIPE_KAFKA_FAILED', `the journal cannot be read beyond offset ${position}`, {
        where: { topic, partition, offset: position },
      });
    }
    position = last.offset + 1n;
  }
  return records;
}

/** The journal's records are small and are kpipe's own: the driver's parser, which unpacks them all, will do. */
async function fetchFrom(kafka: KafkaConnections, topic: string, position: bigint): Promise<readonly JournalRecord[]> {
  const { fetchV12 } = kafka.driver;
  const asked = {
    topicId: topic,
    partitions: [
      {
        partition,
        currentLeaderEpoch: -1,
        fetchOffset: position,
        lastFetchedEpoch: -1,
        partitionMaxBytes: fetchBytesAtOnce,
      },
    ],
  };
  const broker = await leaderOf(kafka, topic);
  const answer = await kafka.request(
    broker,
    [fetchV12.api],
    500,
    1,
    fetchBytesAtOnce,
    readUncommitted,
    0,
    -1,
    [asked],
    [],
    '',
  );
  const batches = answer.responses.flatMap(({ partitions }) => partitions).flatMap(({ records }) => records ?? []);
  return batches.flatMap(({ firstOffset, records }) =>
    records.map(({ offsetDelta, value }) => ({ offset: firstOffset + BigInt(offsetDelta), value })),
  );
}

async function leaderOf(kafka: KafkaConnections, topic: string): Promise<BrokerConnection> {
  const { brokers, topics } = await metadata(kafka, { names: [topic] });
  const leaderId = topics[0]?.partitions.find(({ partitionIndex }) => partitionIndex === partition)?.leaderId;
  const leader = brokers.find(({ nodeId }) => nodeId === leaderId);
  if (leader === undefined) {
    throw new KpipeError('KPIPE_KAFKA_FAILED', `the journal ${topic} has no leader`, {
      where: { topic, partition },
      next: 'start the brokers that hold its replicas',
    });
  }
  return kafka.to(leader);
}

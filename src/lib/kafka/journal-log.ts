import { setTimeout as sleep } from 'node:timers/promises';

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { JournalRecord } from '../replay/journal.ts';
import { openPublisher, type KafkaPublisher } from './publisher.ts';
import { RangeReader } from './range-reader.ts';

/** The topic behind the journal: one partition, kept for ever, so that its order and its past are certain. */
export interface JournalLog {
  /** Everything that is in it now; nothing when the topic does not exist. */
  read(): Promise<readonly JournalRecord[]>;
  /** Resolves when it is acked by all in-sync replicas; makes the topic where it is missing. */
  append(key: string, value: Buffer): Promise<void>;
  close(): Promise<void>;
}

const partition = 0;
const silenceMs = 10_000;
const topicVisibleMs = 10_000;

/** Connects with the first call. Calls throw KPIPE_KAFKA_…, KPIPE_PRODUCE_FAILED. */
export function openJournalLog(config: KafkaConfig, admin: ClusterAdmin): JournalLog {
  const topic = config.journal;
  let publisher: KafkaPublisher | undefined;
  return {
    read: () => readAll(config, admin),
    append: async (key, value) => {
      if (publisher === undefined) {
        await ensureTopic(admin, topic);
        publisher = await openPublisher(config, { clientId: `${config.clientId}-journal` });
      }
      await publisher.publish(topic, [{ key: Buffer.from(key), value, partition }]);
    },
    close: async () => {
      await publisher?.close();
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
  // Not only for us: whoever asks a broker that has not heard of it takes the journal for empty.
  const until = performance.now() + topicVisibleMs;
  await admin.onEachBroker(async (broker) => {
    while (!(await hasLeader(broker, topic)) && performance.now() < until) {
      await sleep(100);
    }
  });
}

async function hasLeader(broker: ClusterAdmin, topic: string): Promise<boolean> {
  const [found] = await broker.describeTopics([topic]);
  return (found?.partitions[partition]?.leader ?? -1) >= 0;
}

async function readAll(config: KafkaConfig, admin: ClusterAdmin): Promise<readonly JournalRecord[]> {
  const at = { topic: config.journal, partition };
  if ((await admin.describeTopics([at.topic])).length === 0) {
    return [];
  }
  const [start] = await admin.listOffsets([at], 'earliest');
  const [end] = await admin.listOffsets([at], 'latest');
  const range = { ...at, from: start?.offset ?? 0n, to: end?.offset ?? 0n };
  const reader = new RangeReader(config, { topic: at.topic, silenceMs });
  const records: JournalRecord[] = [];
  try {
    for await (const batch of reader.read([range], new AbortController().signal)) {
      const missing = batch.lost?.from ?? batch.unreadable?.firstOffset;
      if (missing !== undefined) {
        throw new KpipeError('KPIPE_KAFKA_FAILED', `the journal cannot be read at offset ${missing}`, {
          where: at,
          next: 'it decides who may set positions: restore the topic, or name another one as kafka.journal',
        });
      }
      records.push(...batch.records);
    }
  } finally {
    await reader.close();
  }
  return records;
}

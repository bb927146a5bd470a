import { isDeepStrictEqual } from 'node:util';

import { vi } from 'vitest';

import type { KafkaConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin, type KafkaAdmin } from '../../src/lib/kafka/admin.ts';

/** Resolves when each broker, asked alone, says so: what was just changed is known to one after the other. */
export async function seenEverywhere(
  kafka: KafkaConfig,
  isSeen: (broker: KafkaAdmin) => Promise<boolean>,
): Promise<void> {
  await Promise.all(
    kafka.brokers.map(async (broker) => {
      const admin = await openKafkaAdmin({ ...kafka, brokers: [broker] }, { deadlineMs: 30_000 });
      try {
        await vi.waitUntil(() => isSeen(admin), { timeout: 60_000, interval: 200 });
      } finally {
        await admin.close();
      }
    }),
  );
}

/** Resolves when every broker knows the topics. */
export function topicsEverywhere(kafka: KafkaConfig, names: readonly string[]): Promise<void> {
  return seenEverywhere(
    kafka,
    async (broker) =>
      (await broker.describeTopics(names)).length === names.length &&
      (await broker.topicConfigs(names)).size === names.length,
  );
}

/** Resolves when every broker says that these are the values of the topic's own; null: that there is no such topic. */
export function ownValuesEverywhere(
  kafka: KafkaConfig,
  topic: string,
  values: Readonly<Record<string, string>> | null,
): Promise<void> {
  return seenEverywhere(kafka, async (broker) => {
    const entries = (await broker.topicConfigs([topic])).get(topic);
    const own = [...(entries ?? [])].flatMap(([key, { value, source }]) => (source === 'topic' ? [[key, value]] : []));
    return isDeepStrictEqual(entries === undefined ? null : Object.fromEntries(own), values);
  });
}

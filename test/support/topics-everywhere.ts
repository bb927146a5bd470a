import { vi } from 'vitest';

import type { KafkaConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';

/** Resolves when every broker knows the topics: one that was just made is known to one broker after the other. */
export async function topicsEverywhere(kafka: KafkaConfig, names: readonly string[]): Promise<void> {
  await Promise.all(
    kafka.brokers.map(async (broker) => {
      const admin = await openKafkaAdmin({ ...kafka, brokers: [broker] }, { deadlineMs: 30_000 });
      try {
        await vi.waitUntil(
          async () =>
            (await admin.describeTopics(names)).length === names.length &&
            (await admin.topicConfigs(names)).size === names.length,
          { timeout: 60_000, interval: 200 },
        );
      } finally {
        await admin.close();
      }
    }),
  );
}

import type { Config } from '../config/load.ts';
import { openKafkaAdmin, type KafkaAdmin } from '../kafka/admin.ts';
import { sampleKeys } from '../kafka/key-sample.ts';
import { openRecordTimeReader } from '../kafka/record-time.ts';
import { createPositionReader } from '../postgres/positions.ts';
import type { EvidenceSources } from './evidence.ts';

/** Connections for planning. Closed whatever happens. */
export async function withTopicSources<Result>(
  config: Config,
  work: (admin: KafkaAdmin, sources: EvidenceSources) => Promise<Result>,
): Promise<Result> {
  const admin = await openKafkaAdmin(config.kafka);
  const records = await openRecordTimeReader(config.kafka);
  const positions = config.postgres === undefined ? null : createPositionReader(config.postgres);
  try {
    return await work(admin, {
      partitionSizes: (topic) => admin.partitionSizes(topic),
      sampleKeys: (topic) => sampleKeys(config.kafka, admin, topic),
      records,
      positions,
    });
  } finally {
    await Promise.all([admin.close(), records.close(), positions?.close()]);
  }
}

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { RangeReader, stableRanges } from '../kafka/range-reader.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { VerifyEdges } from './verify.ts';

/** Answers the id of the first. @throws KPIPE_TOPIC_MISSING */
export async function requireTopics(admin: ClusterAdmin, names: readonly [string, string]): Promise<string> {
  const found = await admin.describeTopics(names);
  const missing = names.filter((name) => !found.some((topic) => topic.name === name));
  const topic = found.find(({ name }) => name === names[0]);
  if (missing.length > 0 || topic === undefined) {
    throw new KpipeError('KPIPE_TOPIC_MISSING', `the topic ${missing.join(' and ')} is not there`, {
      next: '`kpipe topics list` shows what exists',
    });
  }
  return topic.id;
}

/** A cluster that is away fails the verification: what is not known does not balance. */
export function topicReader(
  config: KafkaConfig,
  admin: ClusterAdmin,
  signal: AbortSignal,
): VerifyEdges<never>['readTopic'] {
  return async (topic, ranges, onRecords) => {
    const trouble = new AbortController();
    const either = AbortSignal.any([signal, trouble.signal]);
    const onTrouble = (reason: KpipeError | null): void => {
      if (reason !== null) {
        trouble.abort(reason);
      }
    };
    const reader = new RangeReader(config, { topic, onTrouble });
    try {
      const stable = await stableRanges(
        admin,
        ranges.map((range) => ({ topic, ...range })),
      );
      for await (const batch of reader.read(stable, either)) {
        await onRecords(batch.records, batch);
      }
    } finally {
      await reader.close();
    }
    either.throwIfAborted();
  };
}

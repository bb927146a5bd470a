import { formatConfigValue } from '../topics/config-keys.ts';
import { observeTopics, type ObservedTopic } from '../topics/observe.ts';
import { parseDuration } from '../config/units.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { TopicEntry } from './template.ts';

/** The cluster's topics, but for Kafka's own, as `topics:` would declare them: what is written is in sync. */
export async function liveTopics(admin: ClusterAdmin, nowMs: number): Promise<Readonly<Record<string, TopicEntry>>> {
  const names = (await admin.listTopics()).filter(({ internal }) => !internal).map(({ name }) => name);
  const { topics } = await observeTopics(admin, names, nowMs);
  return Object.fromEntries(
    [...topics].toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([name, topic]) => [name, entryOf(topic)]),
  );
}

export function entryOf(topic: Omit<ObservedTopic, 'replicas'>): TopicEntry {
  const { 'retention.ms': retentionMs, ...config } = topic.overrides;
  const retention = retentionMs === undefined ? undefined : formatConfigValue('retention.ms', retentionMs);
  // What does not survive as a duration stays as Kafka's key.
  const readable =
    retention !== undefined && (retention === 'unlimited' || parseDuration(retention) === Number(retentionMs));
  const kept = readable || retentionMs === undefined ? config : { 'retention.ms': retentionMs, ...config };
  return {
    partitions: topic.partitions,
    replicationFactor: topic.replicationFactor,
    ...(readable ? { retention } : {}),
    ...(Object.keys(kept).length === 0 ? {} : { config: kept }),
  };
}

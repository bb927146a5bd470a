import { createHash } from 'node:crypto';

import type { ClusterAdmin, TopicDescription } from '../ports.ts';
import type { TopicEvidence } from './evidence.ts';
import type { BrokerRack } from './placement.ts';

/** A topic as the cluster has it. */
export interface ObservedTopic {
  readonly id: string;
  readonly partitions: number;
  /** The smallest of its partitions': during a move a partition has more. */
  readonly replicationFactor: number;
  /** Brokers by partition, the preferred leader first. */
  readonly replicas: readonly (readonly number[])[];
  /** Values of the topic's own. */
  readonly overrides: Readonly<Record<string, string>>;
  /** Values in effect that it takes from the brokers or from Kafka. */
  readonly inherited: Readonly<Record<string, string>>;
}

/** What a plan is made from. */
export interface TopicsState {
  readonly clusterId: string;
  readonly observedAtMs: number;
  /** That are up. */
  readonly brokers: readonly BrokerRack[];
  /** The topics asked for that exist. */
  readonly topics: ReadonlyMap<string, ObservedTopic>;
  /** Every topic's name but Kafka's internal ones. */
  readonly names: readonly string[];
  /** What the changes would mean, by topic. */
  readonly evidence: ReadonlyMap<string, TopicEvidence>;
}

/**
 * Looks at the topics by these names, with few requests however many they are: the metadata of all topics holds what is
 * asked of some. `evidence` stays empty: see `gatherEvidence`.
 * @param scope `named`: of no other topic, so that `names` of the answer holds only these
 */
export async function observeTopics(
  admin: ClusterAdmin,
  names: readonly string[],
  nowMs: number,
  scope: 'all' | 'named' = 'all',
): Promise<TopicsState> {
  const [cluster, all, configs] = await Promise.all([
    admin.describeCluster(),
    admin.describeTopics(scope === 'all' ? null : names),
    admin.topicConfigs(names),
  ]);
  const wanted = new Set(names);
  const described = all.filter(({ name }) => wanted.has(name));
  const topics = described.map((topic) => {
    const entries = [...(configs.get(topic.name) ?? [])].map(([key, entry]) => ({ key, ...entry }));
    const values = (isWanted: (source: string) => boolean): Readonly<Record<string, string>> =>
      Object.fromEntries(
        entries.flatMap(({ key, value, source }) =>
          isWanted(source) && value !== null ? [[key, value] as const] : [],
        ),
      );
    const observed: ObservedTopic = {
      id: topic.id,
      partitions: topic.partitions.length,
      replicationFactor: replicationFactor(topic),
      replicas: topic.partitions.map(({ replicas }) => replicas),
      overrides: values((source) => source === 'topic'),
      inherited: values((source) => source !== 'topic'),
    };
    return [topic.name, observed] as const;
  });
  return {
    clusterId: cluster.clusterId,
    observedAtMs: nowMs,
    brokers: cluster.brokers.map(({ id, rack }) => ({ id, rack })),
    topics: new Map(topics),
    names: all.filter(({ internal }) => !internal).map(({ name }) => name),
    evidence: new Map(),
  };
}

export function replicationFactor(topic: Pick<TopicDescription, 'partitions'>): number {
  return topic.partitions.length === 0 ? 0 : Math.min(...topic.partitions.map(({ replicas }) => replicas.length));
}

/** SHA-256 of all that a plan for these topics depends on: ids, replicas and the topics' own values. */
export function hashState(state: TopicsState, names: readonly string[]): string {
  const topics = [...names].toSorted().map((name) => {
    const topic = state.topics.get(name);
    const overrides = Object.entries(topic?.overrides ?? {}).toSorted(([left], [right]) => (left < right ? -1 : 1));
    return [name, topic?.id ?? null, topic?.partitions ?? null, topic?.replicas ?? null, overrides];
  });
  return createHash('sha256')
    .update(JSON.stringify([state.clusterId, topics]))
    .digest('hex');
}

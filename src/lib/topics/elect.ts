import { setTimeout as pause } from 'node:timers/promises';

import { KpipeError } from '../errors.ts';
import type { ElectionAnswer, ReplicaAdmin, TopicDescription } from '../ports.ts';
import type { AuditAct } from './audit.ts';

/** How leadership lies over the brokers. */
export interface Leadership {
  readonly brokers: readonly { readonly broker: number; readonly leads: number; readonly preferred: number }[];
  /** Partitions that another than their preferred replica leads. */
  readonly displaced: number;
  /** The most that a broker leads, over the mean: 1 is even. null: nothing is led. */
  readonly skew: number | null;
}

/** The JSON document of `kpipe topics elect`. */
export interface ElectionResult {
  readonly clusterId: string;
  readonly topics: number;
  readonly partitions: number;
  readonly before: Leadership;
  readonly after: Leadership;
  readonly elected: number;
  readonly failed: readonly ElectionAnswer[];
}

/** Counts leaders and preferred leaders. Pure. @param brokers those that are up: one that leads nothing counts too */
export function leadership(topics: readonly TopicDescription[], brokers: readonly number[]): Leadership {
  const partitions = topics.flatMap((topic) => topic.partitions);
  const known = new Set([...brokers, ...partitions.flatMap(({ leader }) => (leader < 0 ? [] : [leader]))]);
  const counted = [...known]
    .toSorted((left, right) => left - right)
    .map((broker) => ({
      broker,
      leads: partitions.filter(({ leader }) => leader === broker).length,
      preferred: partitions.filter(({ replicas }) => replicas[0] === broker).length,
    }));
  const led = counted.reduce((total, { leads }) => total + leads, 0);
  return {
    brokers: counted,
    displaced: partitions.filter(({ leader, replicas }) => leader !== replicas[0]).length,
    skew:
      led === 0 ? null : Number(((Math.max(...counted.map(({ leads }) => leads)) * counted.length) / led).toFixed(2)),
  };
}

export interface ElectionPlan {
  readonly clusterId: string;
  readonly topics: readonly TopicDescription[];
  readonly brokers: readonly number[];
  readonly before: Leadership;
}

/** Looks at who leads. @param names empty: every topic but Kafka's own. @throws KPIPE_TOPIC_MISSING */
export async function observeLeadership(admin: ReplicaAdmin, names: readonly string[]): Promise<ElectionPlan> {
  const all =
    names.length > 0 ? names : (await admin.listTopics()).filter((topic) => !topic.internal).map((topic) => topic.name);
  const [cluster, topics] = await Promise.all([admin.describeCluster(), admin.describeTopics(all)]);
  const missing = names.find((name) => !topics.some((topic) => topic.name === name));
  if (missing !== undefined) {
    throw new KpipeError('KPIPE_TOPIC_MISSING', `there is no topic ${missing}`, {
      next: '`kpipe topics list` shows what exists',
    });
  }
  const brokers = cluster.brokers.map(({ id }) => id);
  return { clusterId: cluster.clusterId, topics, brokers, before: leadership(topics, brokers) };
}

/** The controller answers before every broker has heard of it. */
const visibleWithinMs = 10_000;

/** Makes the preferred replicas leaders, where another one leads and they are in sync; then looks again. */
export async function electLeaders(
  admin: ReplicaAdmin,
  plan: ElectionPlan,
  audit: (act: AuditAct) => void,
): Promise<ElectionResult> {
  const displaced = plan.topics.flatMap(({ name, partitions }) =>
    partitions
      .filter(({ leader, replicas }) => leader !== replicas[0])
      .map(({ partition }) => ({ topic: name, partition })),
  );
  for (const [topic, ofTopic] of Map.groupBy(displaced, (each) => each.topic)) {
    const partitions = ofTopic.map(({ partition }) => partition);
    audit({ clusterId: plan.clusterId, act: 'elect', topic, partitions });
  }
  const answers = displaced.length === 0 ? [] : await admin.electPreferred(displaced);
  const failed = answers.filter(({ outcome }) => outcome === 'failed');
  const names = plan.topics.map(({ name }) => name);
  const until = performance.now() + visibleWithinMs;
  let after = plan.before;
  for (;;) {
    after = leadership(displaced.length === 0 ? plan.topics : await admin.describeTopics(names), plan.brokers);
    if (after.displaced <= failed.length || performance.now() > until) {
      break;
    }
    await pause(100);
  }
  return {
    clusterId: plan.clusterId,
    topics: plan.topics.length,
    partitions: plan.topics.reduce((total, { partitions }) => total + partitions.length, 0),
    before: plan.before,
    after,
    elected: answers.filter(({ outcome }) => outcome === 'elected').length,
    failed,
  };
}

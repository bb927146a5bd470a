import { createHash } from 'node:crypto';

import type { RoleName } from '../config/schema.ts';
import type { ClusterAdmin, TopicDescription, TopicPartition } from '../ports.ts';
import type { TopicDeclarations, TopicSpec } from './spec.ts';

/** A topic as the cluster has it. */
export interface ObservedTopic {
  readonly id: string;
  readonly partitions: number;
  /** The smallest of its partitions': during a move a partition has more. */
  readonly replicationFactor: number;
  /** Values of the topic's own. */
  readonly overrides: Readonly<Record<string, string>>;
  /** Values in effect that it takes from the brokers or from Kafka. */
  readonly inherited: Readonly<Record<string, string>>;
}

/** What a shorter retention would delete. */
export interface Expiry {
  /** Older than the new retention. */
  readonly records: bigint;
  /** Of these, not yet read by a role's group. */
  readonly unread: readonly { readonly role: RoleName; readonly records: bigint }[];
}

/** What a plan is made from. */
export interface TopicsState {
  readonly clusterId: string;
  readonly observedAtMs: number;
  /** That are up. */
  readonly brokers: number;
  /** The topics asked for that exist. */
  readonly topics: ReadonlyMap<string, ObservedTopic>;
  /** Every topic's name but Kafka's internal ones. */
  readonly names: readonly string[];
  readonly expiries: ReadonlyMap<string, Expiry>;
}

/** Looks at the topics by these names. `expiries` stays empty: see `observeExpiries`. */
export async function observeTopics(
  admin: ClusterAdmin,
  names: readonly string[],
  nowMs: number,
): Promise<TopicsState> {
  const [cluster, all, described, configs] = await Promise.all([
    admin.describeCluster(),
    admin.listTopics(),
    admin.describeTopics(names),
    admin.topicConfigs(names),
  ]);
  const topics = described.map((topic) => {
    const entries = [...(configs.get(topic.name) ?? [])].map(([key, entry]) => ({ key, ...entry }));
    const values = (wanted: (source: string) => boolean): Readonly<Record<string, string>> =>
      Object.fromEntries(
        entries.flatMap(({ key, value, source }) => (wanted(source) && value !== null ? [[key, value] as const] : [])),
      );
    const observed: ObservedTopic = {
      id: topic.id,
      partitions: topic.partitions.length,
      replicationFactor: replicationFactor(topic),
      overrides: values((source) => source === 'topic'),
      inherited: values((source) => source !== 'topic'),
    };
    return [topic.name, observed] as const;
  });
  return {
    clusterId: cluster.clusterId,
    observedAtMs: nowMs,
    brokers: cluster.brokers.length,
    topics: new Map(topics),
    names: all.filter(({ internal }) => !internal).map(({ name }) => name),
    expiries: new Map(),
  };
}

export function replicationFactor(topic: Pick<TopicDescription, 'partitions'>): number {
  return topic.partitions.length === 0 ? 0 : Math.min(...topic.partitions.map(({ replicas }) => replicas.length));
}

/** Counts what would expire, for each topic whose retention a plan lowers. */
export async function observeExpiries(
  admin: ClusterAdmin,
  lowered: readonly { readonly spec: TopicSpec; readonly retentionMs: number }[],
  state: TopicsState,
  roles: TopicDeclarations['roles'],
): Promise<TopicsState> {
  const expiries = await Promise.all(
    lowered.map(async ({ spec, retentionMs }) => {
      const count = state.topics.get(spec.name)?.partitions ?? 0;
      const partitions = Array.from({ length: count }, (_, partition) => ({ topic: spec.name, partition }));
      return [
        spec.name,
        await countExpiring(admin, partitions, state.observedAtMs - retentionMs, spec, roles),
      ] as const;
    }),
  );
  return { ...state, expiries: new Map(expiries) };
}

async function countExpiring(
  admin: ClusterAdmin,
  partitions: readonly TopicPartition[],
  cutoffMs: number,
  spec: TopicSpec,
  roles: TopicDeclarations['roles'],
): Promise<Expiry> {
  const readers = spec.origin === 'declared' ? spec.roles : [];
  const [earliest, latest, atCutoff, ...commits] = await Promise.all([
    admin.listOffsets(partitions, 'earliest'),
    admin.listOffsets(partitions, 'latest'),
    admin.listOffsets(partitions, { timestampMs: cutoffMs }),
    ...readers.map((role) => admin.committedOffsets(roles[role]?.group ?? '')),
  ]);
  const ranges = partitions.map(({ partition }, index) => ({
    partition,
    start: earliest[index]?.offset ?? 0n,
    // No record as young as the cutoff: all of them expire.
    end: atCutoff[index]?.offset ?? latest[index]?.offset ?? 0n,
  }));
  const unread = readers.map((role, index) => {
    const committed = new Map(
      commits[index]?.filter(({ topic }) => topic === spec.name).map(({ partition, offset }) => [partition, offset]),
    );
    const records = ranges.map(({ partition, start, end }) =>
      length(larger(committed.get(partition) ?? start, start), end),
    );
    return { role, records: sum(records) };
  });
  return {
    records: sum(ranges.map(({ start, end }) => length(start, end))),
    unread: unread.filter(({ records }) => records > 0n),
  };
}

const larger = (left: bigint, right: bigint): bigint => (left > right ? left : right);
const length = (start: bigint, end: bigint): bigint => (end > start ? end - start : 0n);
const sum = (numbers: readonly bigint[]): bigint => numbers.reduce((total, each) => total + each, 0n);

/** SHA-256 of all that a plan for these topics depends on: ids, partitions, replicas and the topics' own values. */
export function hashState(state: TopicsState, names: readonly string[]): string {
  const topics = [...names].toSorted().map((name) => {
    const topic = state.topics.get(name);
    const overrides = Object.entries(topic?.overrides ?? {}).toSorted(([left], [right]) => (left < right ? -1 : 1));
    return [name, topic?.id ?? null, topic?.partitions ?? null, topic?.replicationFactor ?? null, overrides];
  });
  return createHash('sha256')
    .update(JSON.stringify([state.clusterId, topics]))
    .digest('hex');
}

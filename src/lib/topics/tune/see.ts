import type { KafkaAdmin } from '../../kafka/admin.ts';
import { KpipeError } from '../../errors.ts';
import type { ThroughputLook } from '../../offsets/throughput.ts';
import {
  partitionKey,
  type OffsetAnswer,
  type PartitionPosition,
  type TopicConfigEntry,
  type TopicDescription,
} from '../../ports.ts';
import { replicationFactor } from '../observe.ts';
import type { BatchSample } from './batches.ts';
import { historyOf, type LogHistory } from './log-history.ts';
import type { TopicFacts } from './measure.ts';
import type { TuneSources, WatchedGroup } from './sources.ts';

const stepMs = 3_600_000;
const steps = 24;
/** Of a topic with more, the busiest ones. */
const sampledPartitions = 32;
/** Read of a partition in which nothing came during the watch. */
const tailRecords = 200n;

export type Histories = ReadonlyMap<string, LogHistory | null>;
/** By group; null: not known. */
export type Members = ReadonlyMap<string, number | null>;

/** The last day of each topic, by the offsets at its hours; null where a partition has no leader to ask. */
export async function seeHistories(
  admin: KafkaAdmin,
  topics: readonly TopicDescription[],
  nowMs: number,
): Promise<Histories> {
  const led = topics.filter(({ partitions }) => partitions.every(({ leader }) => leader >= 0));
  const asked = led.flatMap(({ name, partitions }) => partitions.map(({ partition }) => ({ topic: name, partition })));
  const [starts, ends] = await Promise.all([admin.listOffsets(asked, 'earliest'), admin.listOffsets(asked, 'latest')]);
  const byTime: (readonly OffsetAnswer[])[] = [];
  for (let step = steps; step > 0; step -= 1) {
    byTime.push(await admin.listOffsets(asked, { timestampMs: nowMs - step * stepMs }));
  }
  const timelines = asked.map(({ topic }, index) => {
    const end = ends[index]?.offset ?? 0n;
    const offsets = [...byTime.map((answers) => answers[index]?.offset ?? end), end];
    return { topic, logStartOffset: starts[index]?.offset ?? 0n, offsets };
  });
  const ofTopics = Map.groupBy(timelines, ({ topic }) => topic);
  return new Map(topics.map(({ name }) => [name, historyOf(ofTopics.get(name) ?? [], stepMs)]));
}

/** How many members each group has; a group that cannot be described is not known. */
export async function seeMembers(admin: KafkaAdmin, groups: readonly WatchedGroup[]): Promise<Members> {
  const found = await Promise.all(
    groups.map(async ({ group }) => {
      const description = await admin.describeGroup(group).catch((error: unknown) => {
        if (error instanceof KpipeError) {
          return null;
        }
        throw error;
      });
      return [group, description?.members.length ?? null] as const;
    }),
  );
  return new Map(found);
}

interface Seen {
  readonly looks: readonly ThroughputLook[];
  readonly histories: Histories;
  readonly members: Members;
}

/** What is known of the topics besides the looks: configuration, sizes, the batches that came. */
export async function seeFacts(
  sources: TuneSources,
  topics: readonly TopicDescription[],
  { looks, histories, members }: Seen,
): Promise<readonly TopicFacts[]> {
  const { admin, config } = sources;
  const names = topics.map(({ name }) => name);
  const [configs, sizes] = await Promise.all([admin.topicConfigs(names), admin.replicaSizes(names)]);
  return Promise.all(
    topics.map(async (topic): Promise<TopicFacts> => {
      const entries = configs.get(topic.name);
      const bytes = topic.partitions.flatMap(({ partition }) => [
        ...(sizes.get(partitionKey({ topic: topic.name, partition }))?.values() ?? []),
      ]);
      const roles = (['events', 'logs', 'analytics'] as const).flatMap((role) => {
        const declared = config.roles[role];
        return declared?.topic === topic.name ? [{ role, group: declared.group }] : [];
      });
      const cleanup = entries?.get('cleanup.policy')?.value ?? 'delete';
      return {
        topic: topic.name,
        partitions: topic.partitions.length,
        replicationFactor: replicationFactor(topic),
        retentionMs: numberOf(entries, 'retention.ms'),
        retentionBytes: numberOf(entries, 'retention.bytes'),
        minInsyncReplicas: numberOf(entries, 'min.insync.replicas'),
        compacted: !cleanup.includes('delete'),
        diskBytes: bytes.length === 0 ? null : bytes.reduce((sum, each) => sum + Number(each), 0),
        history: histories.get(topic.name) ?? null,
        batches: await seeBatches(sources, topic, looks),
        readers: roles.map(({ role, group }) => ({ role, group, members: members.get(group) ?? null })),
      };
    }),
  );
}

function numberOf(entries: ReadonlyMap<string, TopicConfigEntry> | undefined, key: string): number | null {
  const value = entries?.get(key)?.value ?? null;
  return value === null || value === '' ? null : Number(value);
}

/** Those of the watch; where none came, the newest that the log holds. */
async function seeBatches(
  { admin, sampler }: TuneSources,
  { name, partitions }: TopicDescription,
  looks: readonly ThroughputLook[],
): Promise<BatchSample | null> {
  const endsOf = (look: ThroughputLook | undefined): ReadonlyMap<number, bigint | null> =>
    new Map(
      (look?.partitions ?? [])
        .filter(({ topic }) => topic === name)
        .map(({ partition, highWatermark }) => [partition, highWatermark]),
    );
  const [before, after] = [endsOf(looks[0]), endsOf(looks.at(-1))];
  const moved = [...after]
    .flatMap(([partition, end]) => {
      const position = before.get(partition) ?? null;
      return end === null || position === null ? [] : [{ topic: name, partition, position, count: end - position }];
    })
    .filter(({ count }) => count > 0n)
    .toSorted((left, right) => (left.count < right.count ? 1 : -1));
  if (moved.length > 0) {
    return sampler.sample(moved.slice(0, sampledPartitions), true);
  }
  const led = partitions
    .filter(({ leader }) => leader >= 0)
    .slice(0, sampledPartitions)
    .map(({ partition }) => ({ topic: name, partition }));
  const [starts, ends] = await Promise.all([admin.listOffsets(led, 'earliest'), admin.listOffsets(led, 'latest')]);
  const tails = led.flatMap((each, index): readonly PartitionPosition[] => {
    const [start, end] = [starts[index]?.offset ?? 0n, ends[index]?.offset ?? 0n];
    const position = end - tailRecords > start ? end - tailRecords : start;
    return position < end ? [{ ...each, position }] : [];
  });
  return tails.length === 0 ? null : sampler.sample(tails, false);
}

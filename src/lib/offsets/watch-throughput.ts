import type { Config } from '../config/load.ts';
import { nearestName } from '../config/nearest.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin, type KafkaAdmin } from '../kafka/admin.ts';
import { partitionKey, type TopicDescription } from '../ports.ts';
import { wait } from '../runtime/backoff.ts';
import {
  calculateThroughput,
  type GroupLook,
  type PartitionLook,
  type ThroughputLook,
  type ThroughputReport,
} from './throughput.ts';

export interface ThroughputOptions {
  /** Empty: every topic that is not internal. */
  readonly topics: readonly string[];
  /** Between the two looks. */
  readonly forMs: number;
  readonly now: () => number;
}

/** Looks twice and says what moved. @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_… */
export function measureThroughput(
  config: Config,
  options: ThroughputOptions,
  signal: AbortSignal,
): Promise<ThroughputReport> {
  return withKafkaAdmin(config.kafka, async (admin) => {
    const { clusterId } = await admin.describeCluster();
    const names = await namesOf(admin, options.topics);
    const groups = Object.values(config.roles).flatMap((role) => (role === undefined ? [] : [role.group]));
    const before = await lookAtThroughput(admin, names, groups, options.now);
    await wait(options.forMs, signal);
    signal.throwIfAborted();
    return calculateThroughput(clusterId, before, await lookAtThroughput(admin, names, groups, options.now));
  });
}

async function namesOf(admin: KafkaAdmin, wanted: readonly string[]): Promise<readonly string[]> {
  const listed = await admin.listTopics();
  const missing = wanted.find((name) => !listed.some((topic) => topic.name === name));
  if (missing !== undefined) {
    const nearest = nearestName(
      missing,
      listed.map(({ name }) => name),
    );
    throw new KpipeError('KPIPE_TOPIC_MISSING', `there is no topic ${missing}`, {
      where: { topic: missing },
      next: nearest === undefined ? 'kpipe topics list' : `did you mean ${nearest}?`,
    });
  }
  return wanted.length > 0 ? wanted : listed.filter(({ internal }) => !internal).map(({ name }) => name);
}

/** Ends, sizes and positions, asked for at once: one round of requests to each broker. */
export async function lookAtThroughput(
  admin: KafkaAdmin,
  names: readonly string[],
  groups: readonly string[],
  now: () => number,
): Promise<ThroughputLook> {
  const topics = await admin.describeTopics(names);
  const led = topics.flatMap(({ name, partitions }) =>
    partitions.filter(({ leader }) => leader >= 0).map(({ partition }) => ({ topic: name, partition })),
  );
  const atMs = now();
  const [ends, sizes, positions] = await Promise.all([
    admin.listOffsets(led, 'latest'),
    admin.replicaSizes(topics.map(({ name }) => name)),
    Promise.all(groups.map((group) => groupLooks(admin, group, new Set(names)))),
  ]);
  const endOf = new Map(ends.map((answer) => [partitionKey(answer), answer.offset]));
  return { atMs, partitions: topics.flatMap((topic) => partitionLooks(topic, endOf, sizes)), groups: positions.flat() };
}

function partitionLooks(
  { name, partitions }: TopicDescription,
  ends: ReadonlyMap<string, bigint | null>,
  sizes: ReadonlyMap<string, ReadonlyMap<number, bigint>>,
): readonly PartitionLook[] {
  return partitions.map(({ partition, leader }) => {
    const key = partitionKey({ topic: name, partition });
    const bytes = sizes.get(key)?.get(leader);
    return {
      topic: name,
      partition,
      leader,
      highWatermark: ends.get(key) ?? null,
      bytes: bytes === undefined ? null : Number(bytes),
    };
  });
}

async function groupLooks(admin: KafkaAdmin, group: string, names: ReadonlySet<string>): Promise<readonly GroupLook[]> {
  const commits = await admin.committedOffsets(group);
  return commits
    .filter(({ topic }) => names.has(topic))
    .map(({ topic, partition, offset }) => ({ group, topic, partition, position: offset }));
}

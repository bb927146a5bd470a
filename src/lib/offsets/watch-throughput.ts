import type { Config } from '../config/load.ts';
import { nearestName } from '../config/nearest.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin, type KafkaAdmin } from '../kafka/admin.ts';
import { partitionKey, type OffsetAnswer, type TopicDescription, type TopicPartition } from '../ports.ts';
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
    const groups = groupsOf(config);
    const before = await lookAtThroughput(admin, names, groups, options.now);
    await wait(options.forMs, signal);
    signal.throwIfAborted();
    return calculateThroughput(clusterId, before, await lookAtThroughput(admin, names, groups, options.now));
  });
}

/** So many looks: rates over the last few seconds, neither nervous nor old. */
const lookWindow = 5;

/** Looks again and again; each look is held against one a few looks before. */
export class ThroughputWatch {
  readonly #admin: KafkaAdmin;
  readonly #groups: readonly string[];
  readonly #now: () => number;
  #before: readonly ThroughputLook[] = [];

  constructor(admin: KafkaAdmin, groups: readonly string[], now: () => number) {
    this.#admin = admin;
    this.#groups = groups;
    this.#now = now;
  }

  /** All topics that are not internal; no rates at the first look. @throws KPIPE_KAFKA_… */
  async look(): Promise<ThroughputReport> {
    const { clusterId } = await this.#admin.describeCluster();
    const names = await namesOf(this.#admin, []);
    const seen = await lookAtThroughput(this.#admin, names, this.#groups, this.#now);
    const oldest = this.#before.at(0) ?? seen;
    this.#before = [...this.#before, seen].slice(-lookWindow);
    return calculateThroughput(clusterId, oldest, seen);
  }
}

/** Runs `work` with a watch on all topics and the roles' groups; its connections are closed whatever happens. */
export function withThroughputWatch<Result>(
  config: Config,
  now: () => number,
  work: (watch: ThroughputWatch) => Promise<Result>,
): Promise<Result> {
  return withKafkaAdmin(config.kafka, (admin) => work(new ThroughputWatch(admin, groupsOf(config), now)));
}

function groupsOf({ roles }: Config): readonly string[] {
  return Object.values(roles).flatMap((role) => (role === undefined ? [] : [role.group]));
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
    endsOf(admin, led),
    unlessRefused(admin.replicaSizes(topics.map(({ name }) => name)), () => new Map()),
    Promise.all(groups.map((group) => groupLooks(admin, group, new Set(names)))),
  ]);
  const endOf = new Map(ends.map((answer) => [partitionKey(answer), answer.offset]));
  return { atMs, partitions: topics.flatMap((topic) => partitionLooks(topic, endOf, sizes)), groups: positions.flat() };
}

/** A topic that was deleted after it was listed has no end; that is not the others' fault. */
async function endsOf(admin: KafkaAdmin, led: readonly TopicPartition[]): Promise<readonly OffsetAnswer[]> {
  const none = (): readonly OffsetAnswer[] => [];
  const byTopic = [...Map.groupBy(led, ({ topic }) => topic).values()];
  const apart = async (): Promise<readonly OffsetAnswer[]> =>
    (await Promise.all(byTopic.map((ofTopic) => unlessRefused(admin.listOffsets(ofTopic, 'latest'), none)))).flat();
  return unlessRefused(admin.listOffsets(led, 'latest'), apart);
}

/** What is refused is not known; a cluster that is away is a failure. */
async function unlessRefused<Value>(asked: Promise<Value>, otherwise: () => Value | Promise<Value>): Promise<Value> {
  try {
    return await asked;
  } catch (error) {
    if (!(error instanceof KpipeError) || error.code === 'KPIPE_KAFKA_UNREACHABLE') {
      throw error;
    }
    return otherwise();
  }
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

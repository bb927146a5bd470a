import type { RoleName } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import { nearestName } from '../config/nearest.ts';
import type {
  ClusterAdmin,
  GroupAdmin,
  OffsetQuery,
  TopicConfigEntry,
  TopicDescription,
  TopicPartition,
} from '../ports.ts';
import { replicationFactor } from './observe.ts';
import { topicSpecs, type TopicDeclarations, type TopicSpec } from './spec.ts';

export interface ListedTopic {
  readonly topic: string;
  /** False: kpipe.yaml asks for it and the cluster does not have it. */
  readonly exists: boolean;
  readonly partitions: number | null;
  readonly replicationFactor: number | null;
  /** Partitions with fewer in-sync replicas than replicas. */
  readonly underReplicated: number | null;
  /** Partitions without a leader. */
  readonly offline: number | null;
  /** -1: unlimited. null: not known. */
  readonly retentionMs: number | null;
  /** From the log's start to its end; transaction markers and compacted records count. */
  readonly records: bigint | null;
  readonly origin: TopicSpec['origin'] | null;
  readonly roles: readonly RoleName[];
}

/** The JSON document of `kpipe topics list`. */
export interface TopicList {
  readonly clusterId: string;
  readonly topics: readonly ListedTopic[];
}

/** Topics of the cluster and those that kpipe.yaml asks for, by name. */
export async function listTopics(
  admin: ClusterAdmin,
  declarations: TopicDeclarations,
  options: { readonly internal: boolean },
): Promise<TopicList> {
  const [cluster, all] = await Promise.all([admin.describeCluster(), admin.listTopics()]);
  const names = all.filter(({ internal }) => options.internal || !internal).map(({ name }) => name);
  const [described, configs] = await Promise.all([admin.describeTopics(names), admin.topicConfigs(names)]);
  const records = await countRecords(admin, described);
  const specs = topicSpecs(declarations);
  const found = described.map((topic) => {
    const retention = configs.get(topic.name)?.get('retention.ms')?.value;
    return {
      topic: topic.name,
      exists: true,
      partitions: topic.partitions.length,
      replicationFactor: replicationFactor(topic),
      underReplicated: topic.partitions.filter(({ isr, replicas }) => isr.length < replicas.length).length,
      offline: topic.partitions.filter(({ leader }) => leader < 0).length,
      retentionMs: retention === undefined || retention === null ? null : Number(retention),
      records: records.get(topic.name) ?? null,
      ...belonging(specs.find(({ name }) => name === topic.name)),
    };
  });
  const missing = specs
    .filter(({ name }) => !names.includes(name))
    .map((spec) => ({ topic: spec.name, exists: false, ...nothingKnown, ...belonging(spec) }));
  return { clusterId: cluster.clusterId, topics: [...found, ...missing].toSorted(byName) };
}

const nothingKnown = {
  partitions: null,
  replicationFactor: null,
  underReplicated: null,
  offline: null,
  retentionMs: null,
  records: null,
} as const;

function belonging(spec: TopicSpec | undefined): Pick<ListedTopic, 'origin' | 'roles'> {
  return { origin: spec?.origin ?? null, roles: spec?.roles ?? [] };
}

const byName = (left: ListedTopic, right: ListedTopic): number => (left.topic < right.topic ? -1 : 1);

/** Topics with a partition that has no leader are left out: their records cannot be counted. */
async function countRecords(
  admin: ClusterAdmin,
  topics: readonly TopicDescription[],
): Promise<ReadonlyMap<string, bigint>> {
  const led = topics.filter(({ partitions }) => partitions.every(({ leader }) => leader >= 0));
  const offsets = await rangesOf(admin, led);
  return new Map(
    [...Map.groupBy(offsets, ({ topic }) => topic)].map(([topic, ranges]) => [
      topic,
      ranges.reduce((total, { start, end }) => total + end - start, 0n),
    ]),
  );
}

interface OffsetRange {
  readonly topic: string;
  readonly partition: number;
  readonly start: bigint;
  readonly end: bigint;
}

async function rangesOf(admin: ClusterAdmin, topics: readonly TopicDescription[]): Promise<readonly OffsetRange[]> {
  const partitions = topics.flatMap(({ name, partitions: all }) =>
    all.map(({ partition }) => ({ topic: name, partition })),
  );
  const [starts, ends] = await Promise.all([
    admin.listOffsets(partitions, 'earliest'),
    admin.listOffsets(partitions, 'latest'),
  ]);
  return partitions.map((partition, index) => {
    const start = starts[index]?.offset ?? 0n;
    return { ...partition, start, end: ends[index]?.offset ?? start };
  });
}

export interface DescribedPartition {
  readonly partition: number;
  /** null: none. */
  readonly leader: number | null;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
  readonly logStartOffset: bigint | null;
  readonly highWatermark: bigint | null;
  readonly records: bigint | null;
  /** On disk, of the largest replica. */
  readonly bytes: bigint | null;
  /** ISO 8601, UTC, of the first record in the log. null: there is none, or it cannot be seen. */
  readonly firstRecordAt: string | null;
  /** Of the record with the latest timestamp. */
  readonly lastRecordAt: string | null;
}

/** The JSON document of `kpipe topics describe`. */
export interface DescribedTopic {
  readonly clusterId: string;
  readonly topic: string;
  readonly topicId: string;
  readonly origin: TopicSpec['origin'] | null;
  readonly roles: readonly RoleName[];
  readonly replicationFactor: number;
  readonly partitions: readonly DescribedPartition[];
  readonly config: readonly DescribedConfig[];
}
export interface DescribedConfig {
  readonly key: string;
  /** null: none, or not shown because it is sensitive. */
  readonly value: string | null;
  readonly source: TopicConfigEntry['source'];
  /** For `broker`: which of a broker's sources; null otherwise. */
  readonly brokerSource: NonNullable<TopicConfigEntry['brokerSource']> | null;
  readonly declared: string | null;
}

/** One topic in full. @throws KPIPE_TOPIC_MISSING with the nearest name */
export async function describeTopic(
  admin: GroupAdmin,
  declarations: TopicDeclarations,
  name: string,
): Promise<DescribedTopic> {
  const [cluster, described, configs] = await Promise.all([
    admin.describeCluster(),
    admin.describeTopics([name]),
    admin.topicConfigs([name]),
  ]);
  const topic = described[0];
  const spec = topicSpecs(declarations).find((candidate) => candidate.name === name);
  if (topic === undefined) {
    throw await missingTopic(admin, name, spec !== undefined);
  }
  const led = topic.partitions.filter(({ leader }) => leader >= 0);
  const asked = led.map(({ partition }) => ({ topic: name, partition }));
  const [ranges, sizes, firstTimes, lastTimes] = await Promise.all([
    rangesOf(admin, [{ ...topic, partitions: led }]),
    // Sizes need rights of their own on the cluster.
    admin.partitionSizes(name).catch(() => new Map<number, bigint>()),
    timesOf(admin, asked, { timestampMs: 0 }),
    timesOf(admin, asked, 'newest'),
  ]);
  return {
    clusterId: cluster.clusterId,
    topic: name,
    topicId: topic.id,
    ...belonging(spec),
    replicationFactor: replicationFactor(topic),
    partitions: topic.partitions.map((partition) => {
      const range = ranges.find((candidate) => candidate.partition === partition.partition);
      return {
        partition: partition.partition,
        leader: partition.leader < 0 ? null : partition.leader,
        replicas: partition.replicas,
        isr: partition.isr,
        logStartOffset: range?.start ?? null,
        highWatermark: range?.end ?? null,
        records: range === undefined ? null : range.end - range.start,
        bytes: sizes.get(partition.partition) ?? null,
        firstRecordAt: firstTimes.get(partition.partition) ?? null,
        lastRecordAt: lastTimes.get(partition.partition) ?? null,
      };
    }),
    config: [...(configs.get(name) ?? [])]
      .map(([key, entry]) => ({
        key,
        value: entry.sensitive ? null : entry.value,
        source: entry.source,
        brokerSource: entry.brokerSource ?? null,
        declared: spec?.config[key] ?? null,
      }))
      .toSorted((left, right) => (left.key < right.key ? -1 : 1)),
  };
}

/** Times of records by partition; a broker too old to tell leaves them out. */
async function timesOf(
  admin: ClusterAdmin,
  partitions: readonly TopicPartition[],
  query: OffsetQuery,
): Promise<ReadonlyMap<number, string>> {
  const answers = await admin.listOffsets(partitions, query).catch(() => []);
  return new Map(
    answers.flatMap(({ partition, timestampMs }) =>
      timestampMs === null ? [] : [[partition, new Date(timestampMs).toISOString()] as const],
    ),
  );
}

async function missingTopic(admin: ClusterAdmin, name: string, declared: boolean): Promise<KpipeError> {
  if (declared) {
    return new KpipeError('KPIPE_TOPIC_MISSING', `topic ${name} is declared and does not exist`, {
      next: 'create it: kpipe topics apply',
    });
  }
  const nearest = nearestName(
    name,
    (await admin.listTopics()).map((topic) => topic.name),
  );
  return new KpipeError(
    'KPIPE_TOPIC_MISSING',
    `there is no topic ${name}${nearest === undefined ? '' : `: did you mean ${nearest}?`}`,
    {
      next: '`kpipe topics list` shows what exists',
    },
  );
}

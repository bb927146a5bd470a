import { KpipeError, messageOf } from '../errors.ts';
import {
  partitionKey,
  type ClusterAdmin,
  type CommittedOffset,
  type FirstUnread,
  type GroupDescription,
  type PositionReader,
  type RecordTimeReader,
  type StoredPosition,
  type TopicConfigEntry,
  type TopicPartition,
} from '../ports.ts';
import type {
  GroupObservation,
  LagObservation,
  PartitionObservation,
  PositionSource,
  TopicRetention,
} from './observation.ts';

/** A group to look at. */
export interface LagTarget {
  /** null: no role of kpipe.yaml. */
  readonly role: string | null;
  readonly group: string;
  /** null: whatever the group has committed or is assigned. */
  readonly topic: string | null;
  readonly positionsIn: PositionSource;
}

/** Where it is seen from. */
export interface LagSources {
  readonly admin: ClusterAdmin;
  readonly records: RecordTimeReader;
  /** null: kpipe.yaml has no PostgreSQL. */
  readonly positions: PositionReader | null;
  readonly now: () => number;
}

/**
 * Looks once. Positions are read before the log's ends, so that a position never lies beyond the end because time went
 * by. What can't be seen of one group or partition is told there; only a cluster that is away is a failure.
 * @throws KPIPE_KAFKA_UNREACHABLE
 */
export async function observeLag(targets: readonly LagTarget[], sources: LagSources): Promise<LagObservation> {
  const { clusterId } = await sources.admin.describeCluster();
  const groups = await Promise.all(targets.map((target) => seeGroup(target, sources)));
  const wanted = groups.flatMap((group) => group.topics);
  const topics = await seeTopics([...new Set(wanted)], sources.admin);
  const partitions = groups.map((group) => joinPartitions(group, topics));
  const unread = await seeUnread(partitions.flat(), sources.records);
  return {
    observedAtMs: sources.now(),
    clusterId,
    groups: groups.map((group, index) => ({
      ...group.seen,
      problem: group.seen.problem ?? missingTopic(group, topics),
      partitions: (partitions[index] ?? []).map((partition) => ({
        ...partition,
        firstUnread: unread.get(questionKey(partition)) ?? null,
      })),
    })),
    topics: topics.retention,
    notes: [...new Set([...groups.flatMap((group) => group.notes), ...topics.notes])],
  };
}

interface SeenGroup {
  readonly seen: Omit<GroupObservation, 'partitions'>;
  readonly topics: readonly string[];
  readonly committed: ReadonlyMap<string, CommittedOffset>;
  readonly stored: ReadonlyMap<string, StoredPosition> | null;
  readonly memberOf: ReadonlyMap<string, string>;
  readonly notes: readonly string[];
}

async function seeGroup(target: LagTarget, { admin, positions }: LagSources): Promise<SeenGroup> {
  const role = target.positionsIn === 'postgres' ? target.role : null;
  const [description, committed, stored] = await Promise.all([
    attempt(() => admin.describeGroup(target.group)),
    attempt(() => admin.committedOffsets(target.group)),
    role === null || positions === null ? undefined : positions.positions(role),
  ]);
  const group = description.value;
  const commits = committed.value ?? [];
  const inPostgres = stored?.kind === 'known';
  return {
    seen: {
      role: target.role,
      group: target.group,
      protocol: group?.protocol ?? null,
      state: group?.state ?? null,
      members: group?.members.length ?? 0,
      positionSource: inPostgres ? 'postgres' : 'group',
      problem: inPostgres ? null : committed.problem,
    },
    topics: target.topic === null ? topicsOf(commits, group) : [target.topic],
    committed: new Map(commits.map((commit) => [partitionKey(commit), commit])),
    stored: inPostgres ? new Map(stored.positions.map((position) => [partitionKey(position), position])) : null,
    memberOf: membersByPartition(group),
    notes: [
      ...(stored?.kind === 'unknown'
        ? [`${stored.reason}; positions are the groups' commits, which may lie behind`]
        : []),
      ...(description.problem === null ? [] : [description.problem]),
      ...(committed.problem === null ? [] : [committed.problem]),
    ],
  };
}

type Attempt<Value> =
  | { readonly value: Value; readonly problem: null }
  | { readonly value: null; readonly problem: string };

/** What one group's rights or state forbid is told, not fatal; a cluster that is away is. */
async function attempt<Value>(look: () => Promise<Value>): Promise<Attempt<Value>> {
  try {
    return { value: await look(), problem: null };
  } catch (error) {
    if (error instanceof KpipeError && error.code === 'KPIPE_KAFKA_UNREACHABLE') {
      throw error;
    }
    return { value: null, problem: messageOf(error) };
  }
}

function topicsOf(commits: readonly CommittedOffset[], group: GroupDescription | null): readonly string[] {
  const assigned = group?.members.flatMap((member) => member.assignment) ?? [];
  return [...new Set([...commits, ...assigned].map(({ topic }) => topic))].toSorted();
}

function membersByPartition(group: GroupDescription | null): ReadonlyMap<string, string> {
  return new Map(
    (group?.members ?? []).flatMap((member) =>
      member.assignment.map((partition) => [partitionKey(partition), `${member.clientId}@${member.host}`] as const),
    ),
  );
}

interface SeenTopics {
  readonly partitions: ReadonlyMap<string, readonly number[]>;
  readonly ends: ReadonlyMap<string, { readonly highWatermark: bigint; readonly logStartOffset: bigint }>;
  readonly retention: ReadonlyMap<string, TopicRetention>;
  readonly notes: readonly string[];
}

async function seeTopics(names: readonly string[], admin: ClusterAdmin): Promise<SeenTopics> {
  const topics = await admin.describeTopics(names);
  const led = topics.flatMap(({ name, partitions }) =>
    partitions.filter(({ leader }) => leader >= 0).map(({ partition }) => ({ topic: name, partition })),
  );
  const [configs, earliest, latest] = await Promise.all([
    attempt(() => admin.topicConfigs(topics.map(({ name }) => name))),
    attempt(() => admin.listOffsets(led, 'earliest')),
    attempt(() => admin.listOffsets(led, 'latest')),
  ]);
  const starts = new Map((earliest.value ?? []).map((answer) => [partitionKey(answer), answer.offset]));
  const ends = (latest.value ?? []).flatMap((answer) => {
    const logStartOffset = starts.get(partitionKey(answer));
    return answer.offset === null || logStartOffset === undefined || logStartOffset === null
      ? []
      : [[partitionKey(answer), { highWatermark: answer.offset, logStartOffset }] as const];
  });
  const problems = [configs.problem, earliest.problem, latest.problem].filter((problem) => problem !== null);
  return {
    partitions: new Map(topics.map(({ name, partitions }) => [name, partitions.map(({ partition }) => partition)])),
    ends: new Map(ends),
    retention: new Map([...(configs.value ?? [])].map(([name, config]) => [name, retentionOf(config)])),
    notes: problems,
  };
}

function retentionOf(config: ReadonlyMap<string, TopicConfigEntry>): TopicRetention {
  const numberOf = (key: string): number | null => {
    const value = config.get(key)?.value ?? null;
    return value === null || value === '' || Number.isNaN(Number(value)) ? null : Number(value);
  };
  const policy = config.get('cleanup.policy')?.value ?? 'delete';
  return {
    retentionMs: numberOf('retention.ms'),
    retentionBytes: numberOf('retention.bytes'),
    expires: policy.split(',').some((part) => part.trim() === 'delete'),
  };
}

function joinPartitions(group: SeenGroup, topics: SeenTopics): readonly PartitionObservation[] {
  return group.topics.flatMap((topic) =>
    (topics.partitions.get(topic) ?? []).map((partition) => joinPartition(group, { topic, partition }, topics)),
  );
}

function joinPartition(group: SeenGroup, at: TopicPartition, topics: SeenTopics): PartitionObservation {
  const key = partitionKey(at);
  const committedOffset = group.committed.get(key)?.offset ?? null;
  const stored = group.stored?.get(key);
  const position = group.stored === null ? committedOffset : (stored?.position ?? null);
  const forgotten = group.stored !== null && stored === undefined && committedOffset !== null;
  const ends = topics.ends.get(key);
  return {
    ...at,
    committedOffset,
    position,
    positionWrittenAtMs: stored?.updatedAtMs ?? null,
    positionProblem: forgotten
      ? `the group has committed ${committedOffset}, but PostgreSQL holds no position: the role will begin at its start`
      : null,
    highWatermark: ends?.highWatermark ?? null,
    logStartOffset: ends?.logStartOffset ?? null,
    firstUnread: null,
    member: group.memberOf.get(key) ?? null,
  };
}

function missingTopic(group: SeenGroup, topics: SeenTopics): string | null {
  const missing = group.topics.filter((topic) => !topics.partitions.has(topic));
  if (missing.length === 0 || missing.length < group.topics.length) {
    return null;
  }
  return `topic ${missing.join(', ')} does not exist${group.seen.role === null ? '' : ': run `kpipe topics apply`'}`;
}

/** Asks for the first unread record of every partition that has unread offsets. */
async function seeUnread(
  partitions: readonly PartitionObservation[],
  records: RecordTimeReader,
): Promise<ReadonlyMap<string, FirstUnread>> {
  const questions = partitions.flatMap((partition) => {
    const position = readFrom(partition);
    return position === null ? [] : [{ topic: partition.topic, partition: partition.partition, position }];
  });
  const answers = await records.firstUnread(questions);
  return new Map(
    questions.flatMap((question, index) => {
      const answer = answers[index];
      return answer === undefined ? [] : [[`${partitionKey(question)}@${question.position}`, answer] as const];
    }),
  );
}

/** Where reading would go on: the position, or the log's start where that has passed it. */
function readFrom({ position, logStartOffset, highWatermark }: PartitionObservation): bigint | null {
  if (position === null || logStartOffset === null || highWatermark === null || position >= highWatermark) {
    return null;
  }
  return position > logStartOffset ? position : logStartOffset;
}

function questionKey(partition: PartitionObservation): string {
  return `${partitionKey(partition)}@${readFrom(partition) ?? -1n}`;
}

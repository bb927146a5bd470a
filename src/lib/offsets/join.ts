import {
  partitionKey,
  type CommittedOffset,
  type GroupDescription,
  type GroupSight,
  type LogEnds,
  type Sight,
  type StoredPosition,
  type TopicPartition,
  type TopicSight,
} from '../ports.ts';
import type { GroupObservation, PartitionObservation, TopicRetention } from './observation.ts';
import type { LagTarget } from './targets.ts';

/** Puts together what was seen of groups, of their topics, and by PostgreSQL. Pure. */

export interface SeenGroup {
  readonly seen: Omit<GroupObservation, 'partitions'>;
  readonly topics: readonly string[];
  readonly committed: ReadonlyMap<string, CommittedOffset>;
  readonly stored: ReadonlyMap<string, StoredPosition> | null;
  readonly memberOf: ReadonlyMap<string, string>;
  /** Of which something is committed, stored or assigned. */
  readonly known: readonly TopicPartition[];
  readonly notes: readonly string[];
}

/** @param positions PostgreSQL's word for the role; null: the group's commits are its positions */
export function seenGroup(
  target: LagTarget,
  sight: GroupSight | undefined,
  positions: Sight<readonly StoredPosition[]> | null,
): SeenGroup {
  const description = valueOf(sight?.description);
  const commits = valueOf(sight?.committed) ?? [];
  const stored = positions === null ? null : valueOf(positions);
  const assigned = description?.members.flatMap(({ assignment }) => assignment) ?? [];
  const known = [...commits, ...assigned, ...(stored ?? [])];
  const unseen = reasonOf(sight?.committed);
  return {
    seen: {
      role: target.role,
      group: target.group,
      protocol: description?.protocol ?? null,
      state: description?.state ?? null,
      members: description?.members.length ?? 0,
      positionSource: stored === null ? 'group' : 'postgres',
      problem: stored === null ? unseen : null,
    },
    topics: target.topic === null ? [...new Set(known.map(({ topic }) => topic))].toSorted() : [target.topic],
    committed: new Map(commits.map((commit) => [partitionKey(commit), commit])),
    stored: stored === null ? null : new Map(stored.map((position) => [partitionKey(position), position])),
    memberOf: membersByPartition(description),
    known,
    notes: [
      ...(positions?.kind === 'unknown'
        ? [`${positions.reason}; positions are the groups' commits, which may lie behind`]
        : []),
      ...[reasonOf(sight?.description), unseen].filter((reason) => reason !== null),
    ],
  };
}

function valueOf<Value>(sight: Sight<Value> | undefined): Value | null {
  return sight?.kind === 'known' ? sight.value : null;
}

function reasonOf(sight: Sight<unknown> | undefined): string | null {
  return sight?.kind === 'unknown' ? sight.reason : null;
}

function membersByPartition(group: GroupDescription | null): ReadonlyMap<string, string> {
  return new Map(
    (group?.members ?? []).flatMap((member) =>
      member.assignment.map((partition) => [partitionKey(partition), `${member.clientId}@${member.host}`] as const),
    ),
  );
}

export interface SeenTopics {
  readonly partitions: ReadonlyMap<string, TopicSight['partitions']>;
  readonly retention: ReadonlyMap<string, TopicRetention>;
  readonly notes: readonly string[];
}

export function seenTopics(topics: readonly TopicSight[]): SeenTopics {
  return {
    partitions: new Map(topics.map(({ name, partitions }) => [name, partitions])),
    retention: new Map(
      topics.flatMap(({ name, config }) =>
        config.kind === 'known' ? [[name, retentionOf(config.value)] as const] : [],
      ),
    ),
    // A topic that cannot be seen at all is told once, where it is read.
    notes: topics.flatMap(({ partitions, config }) =>
      partitions.kind === 'known' && config.kind === 'unknown' ? [config.reason] : [],
    ),
  };
}

function retentionOf(config: ReadonlyMap<string, string | null>): TopicRetention {
  const numberOf = (key: string): number | null => {
    const value = config.get(key) ?? null;
    return value === null || value === '' || Number.isNaN(Number(value)) ? null : Number(value);
  };
  const policy = config.get('cleanup.policy') ?? 'delete';
  return {
    retentionMs: numberOf('retention.ms'),
    retentionBytes: numberOf('retention.bytes'),
    expires: policy.split(',').some((part) => part.trim() === 'delete'),
  };
}

/** The group's partitions; of a topic that cannot be seen only those that somebody knows, and what is the matter with it. */
export function joinPartitions(
  group: SeenGroup,
  topics: SeenTopics,
): { readonly partitions: readonly PartitionObservation[]; readonly problem: string | null } {
  const hidden: string[] = [];
  const partitions = group.topics.flatMap((topic) => {
    const sight = topics.partitions.get(topic) ?? { kind: 'unknown', reason: `topic ${topic} was not looked at` };
    if (sight.kind === 'known') {
      return [...sight.value].map(([partition, ends]) => joinPartition(group, { topic, partition }, ends));
    }
    hidden.push(sight.reason);
    return knownOf(group, topic).map((partition) => joinPartition(group, { topic, partition }, sight));
  });
  const role = group.seen.role;
  const isWhole = hidden.length > 0 && hidden.length === group.topics.length;
  return {
    partitions,
    problem: isWhole ? hidden.map((reason) => withNext(reason, role)).join('; ') : null,
  };
}

/** A role's topic is declared, so it can be made. */
function withNext(reason: string, role: string | null): string {
  return role !== null && reason.endsWith('does not exist') ? `${reason}: run \`kpipe topics apply\`` : reason;
}

function knownOf({ known }: SeenGroup, topic: string): readonly number[] {
  const numbers = known.filter((each) => each.topic === topic).map(({ partition }) => partition);
  return [...new Set(numbers)].toSorted((left, right) => left - right);
}

function joinPartition(group: SeenGroup, at: TopicPartition, ends: Sight<LogEnds>): PartitionObservation {
  const key = partitionKey(at);
  const committedOffset = group.committed.get(key)?.offset ?? null;
  const stored = group.stored?.get(key);
  const position = group.stored === null ? committedOffset : (stored?.position ?? null);
  const forgotten = group.stored !== null && stored === undefined && committedOffset !== null;
  return {
    ...at,
    committedOffset,
    position,
    positionWrittenAtMs: stored?.updatedAtMs ?? null,
    positionProblem: forgotten
      ? `the group has committed ${committedOffset}, but PostgreSQL holds no position: the role will begin at its start`
      : null,
    highWatermark: ends.kind === 'known' ? ends.value.highWatermark : null,
    logStartOffset: ends.kind === 'known' ? ends.value.logStartOffset : null,
    logProblem: ends.kind === 'known' ? null : ends.reason,
    firstUnread: null,
    member: group.memberOf.get(key) ?? null,
  };
}

/** Where reading would go on: the position, or the log's start where that has passed it. */
export function readFrom({ position, logStartOffset, highWatermark }: PartitionObservation): bigint | null {
  if (position === null || logStartOffset === null || highWatermark === null || position >= highWatermark) {
    return null;
  }
  return position > logStartOffset ? position : logStartOffset;
}

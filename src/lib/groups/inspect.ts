import { nearestName } from '../config/nearest.ts';
import type { Config } from '../config/load.ts';
import { roleNames } from '../config/schema.ts';
import { KpipeError } from '../errors.ts';
import {
  partitionKey,
  type ClusterAdmin,
  type CommittedOffset,
  type GroupAdmin,
  type GroupDescription,
  type GroupMember,
  type TopicPartition,
} from '../ports.ts';

/** Consumer groups as the cluster has them, of the classic protocol and of KIP-848 alike. */
export interface GroupList {
  readonly clusterId: string;
  readonly groups: readonly ListedGroup[];
}

export interface ListedGroup {
  readonly group: string;
  /** `classic`, `consumer` (KIP-848), or what else a newer Kafka has, such as `share`. */
  readonly protocol: string;
  readonly state: string;
  /** The role of kpipe.yaml that it belongs to. */
  readonly role: string | null;
}

/** The JSON contract of `groups describe`. */
export interface DescribedGroup {
  readonly group: string;
  readonly role: string | null;
  readonly protocol: GroupDescription['protocol'];
  readonly state: string;
  readonly members: readonly DescribedMember[];
  readonly partitions: readonly GroupPartition[];
  /** Of the partitions whose lag is known. */
  readonly lagRecords: number;
  readonly notes: readonly string[];
}

export interface DescribedMember extends Omit<GroupMember, 'assignment'> {
  readonly assignment: readonly { readonly topic: string; readonly partitions: readonly number[] }[];
}

export interface GroupPartition extends TopicPartition {
  /** null: the group has committed nothing of it. */
  readonly committedOffset: bigint | null;
  readonly logStartOffset: bigint | null;
  readonly highWatermark: bigint | null;
  /** From the committed offset to the high watermark; null: not known. */
  readonly lagRecords: number | null;
  /** Who reads it: the id of a member. */
  readonly memberId: string | null;
}

export interface DeletedGroup {
  readonly group: string;
  readonly deleted: boolean;
}

export async function listConsumerGroups(admin: ClusterAdmin, config: Config): Promise<GroupList> {
  const [{ clusterId }, groups] = await Promise.all([admin.describeCluster(), admin.listGroups()]);
  return { clusterId, groups: groups.map((group) => ({ ...group, role: roleOfGroup(config, group.group) })) };
}

/** @throws KPIPE_USAGE when there is no such group, with the nearest name */
export async function describeConsumerGroup(
  admin: ClusterAdmin,
  config: Config,
  name: string,
): Promise<DescribedGroup> {
  const group = await existing(admin, name);
  const committed = await admin.committedOffsets(name);
  const at = partitionsOf(group, committed);
  const ends = await logEnds(admin, at);
  const commits = new Map(committed.map((commit) => [partitionKey(commit), commit.offset]));
  const readers = new Map(
    group.members.flatMap(({ memberId, assignment }) =>
      assignment.map((each) => [partitionKey(each), memberId] as const),
    ),
  );
  const partitions = at.map((each): GroupPartition => {
    const key = partitionKey(each);
    const committedOffset = commits.get(key) ?? null;
    const end = ends.get(key);
    const isKnown = committedOffset !== null && end !== undefined;
    return {
      ...each,
      committedOffset,
      logStartOffset: end?.start ?? null,
      highWatermark: end?.end ?? null,
      lagRecords: isKnown ? Math.max(0, Number(end.end - committedOffset)) : null,
      memberId: readers.get(key) ?? null,
    };
  });
  const role = roleOfGroup(config, name);
  return {
    group: name,
    role,
    protocol: group.protocol,
    state: group.state,
    members: group.members.map(describeMember),
    partitions,
    lagRecords: partitions.reduce((sum, { lagRecords }) => sum + (lagRecords ?? 0), 0),
    notes: notesOf(config, role, at, ends),
  };
}

function describeMember({ assignment, ...member }: GroupMember): DescribedMember {
  const topics = Map.groupBy(assignment, ({ topic }) => topic);
  return {
    ...member,
    assignment: [...topics].map(([topic, partitions]) => ({
      topic,
      partitions: partitions.map(({ partition }) => partition).toSorted((left, right) => left - right),
    })),
  };
}

function partitionsOf(group: GroupDescription, committed: readonly CommittedOffset[]): readonly TopicPartition[] {
  const all = [...committed, ...group.members.flatMap(({ assignment }) => assignment)];
  const distinct = new Map(
    all.map(({ topic, partition }) => [partitionKey({ topic, partition }), { topic, partition }]),
  );
  return [...distinct.values()].toSorted((left, right) =>
    left.topic === right.topic ? left.partition - right.partition : left.topic < right.topic ? -1 : 1,
  );
}

interface LogEnds {
  readonly start: bigint;
  readonly end: bigint;
}

/** Partitions whose topic is gone have none. */
async function logEnds(admin: ClusterAdmin, at: readonly TopicPartition[]): Promise<ReadonlyMap<string, LogEnds>> {
  const topics = await admin.describeTopics([...new Set(at.map(({ topic }) => topic))]);
  const there = at.filter(({ topic, partition }) =>
    topics.some(({ name, partitions }) => name === topic && partitions.some((each) => each.partition === partition)),
  );
  const [starts, ends] = await Promise.all([admin.listOffsets(there, 'earliest'), admin.listOffsets(there, 'latest')]);
  const endOf = new Map(ends.map((answer) => [partitionKey(answer), answer.offset]));
  return new Map(
    starts.flatMap((start) => {
      const key = partitionKey(start);
      const end = endOf.get(key) ?? null;
      return start.offset === null || end === null ? [] : [[key, { start: start.offset, end }] as const];
    }),
  );
}

function notesOf(
  { roles }: Config,
  role: string | null,
  at: readonly TopicPartition[],
  ends: ReadonlyMap<string, LogEnds>,
): readonly string[] {
  const gone = [...new Set(at.filter((each) => !ends.has(partitionKey(each))).map(({ topic }) => topic))];
  const inPostgres = roleNames.some((name) => name === role && roles[name]?.sink === 'postgres');
  return [
    ...(inPostgres
      ? [`role ${role ?? ''} keeps its positions in PostgreSQL: the group's commits follow them (kpipe lag)`]
      : []),
    ...(gone.length === 0 ? [] : [`committed, but no longer there: ${gone.join(', ')}`]),
  ];
}

/** Deletes a group that has no members, with what it has committed. @throws KPIPE_USAGE, KPIPE_REFUSED */
export async function deleteConsumerGroup(
  admin: GroupAdmin,
  name: string,
  confirm: (group: GroupDescription, committed: readonly CommittedOffset[]) => Promise<void>,
): Promise<DeletedGroup> {
  const group = await existing(admin, name);
  if (group.members.length > 0) {
    const members = group.members.map(({ clientId, host }) => `${clientId}@${host}`);
    throw new KpipeError('KPIPE_REFUSED', `group ${name} has ${members.length} members: ${members.join(', ')}`, {
      where: { group: name, state: group.state },
      next: 'stop its consumers first',
    });
  }
  await confirm(group, await admin.committedOffsets(name));
  await admin.deleteGroup(name);
  return { group: name, deleted: true };
}

async function existing(admin: ClusterAdmin, name: string): Promise<GroupDescription> {
  const group = await admin.describeGroup(name);
  if (group.state !== 'Dead') {
    return group;
  }
  const groups = (await admin.listGroups()).map((listed) => listed.group);
  if (groups.includes(name)) {
    return group;
  }
  const nearest = nearestName(name, groups);
  throw new KpipeError('KPIPE_USAGE', `there is no consumer group ${name}`, {
    next: nearest === undefined ? '`kpipe groups list` shows what there is' : `did you mean ${nearest}?`,
  });
}

function roleOfGroup({ roles }: Config, group: string): string | null {
  return roleNames.find((name) => roles[name]?.group === group) ?? null;
}

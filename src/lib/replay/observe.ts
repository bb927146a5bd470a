import { parseIntent } from '../bigquery/intent.ts';
import { KpipeError, messageOf } from '../errors.ts';
import type { LagTarget } from '../offsets/targets.ts';
import { partitionKey, type CommittedOffset, type GroupAdmin } from '../ports.ts';
import type { ReplayPositions, RolePosition } from '../postgres/replay-positions.ts';
import { replayOfCommit } from './commit-mark.ts';
import type { MeasuredRate, PartitionSituation, ReplayObservation } from './observation.ts';

/** Where a replay looks, and acts. */
export interface ReplayStores {
  readonly admin: GroupAdmin;
  /** null: the group's commit is the role's truth. */
  readonly positions: ReplayPositions | null;
  readonly now: () => number;
}

/** A role, as its group and its topic. */
export type ReplayRole = LagTarget & { readonly role: string; readonly topic: string };

/** Fewer records say little about how fast a role is. */
const enoughRecords = 1000;

/**
 * Looks once; joins nothing, changes nothing.
 * @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_…, KPIPE_POSTGRES_…, KPIPE_SCHEMA_MISSING
 */
export async function observeReplay(
  role: ReplayRole,
  { admin, positions, now }: ReplayStores,
): Promise<ReplayObservation> {
  const [cluster, [topic], group] = await Promise.all([
    admin.describeCluster(),
    admin.describeTopics([role.topic]),
    admin.describeGroup(role.group),
  ]);
  if (topic === undefined) {
    throw new KpipeError('KPIPE_TOPIC_MISSING', `role ${role.role} reads topic ${role.topic}, which is not there`, {
      next: 'run `kpipe topics apply`',
    });
  }
  const partitions = topic.partitions.map(({ partition }) => ({ topic: topic.name, partition }));
  const [stored, committed] = await Promise.all([
    positions === null ? null : positions.read(role.role, role.topic),
    admin.committedOffsets(role.group),
  ]);
  const [starts, ends, sizes] = await Promise.all([
    admin.listOffsets(partitions, 'earliest'),
    admin.listOffsets(partitions, 'latest'),
    sizesOf(admin, role.topic),
  ]);
  const offsetOf = (answers: typeof starts, partition: number): bigint =>
    answers.find((answer) => answer.partition === partition)?.offset ?? 0n;
  const commits = new Map(committed.map((commit) => [partitionKey(commit), commit]));
  const rows = stored === null ? null : new Map(stored.map((row) => [row.partition, row]));
  return {
    observedAtMs: now(),
    clusterId: cluster.clusterId,
    role: role.role,
    group: role.group,
    topic: role.topic,
    topicId: topic.id,
    truth: positions === null ? 'group' : 'postgres',
    protocol: group.protocol,
    state: group.state,
    members: group.members.map(({ clientId, host }) => `${clientId}@${host}`),
    partitions: partitions.map((at) => ({
      ...at,
      ...positionOf(commits.get(partitionKey(at)), rows, at.partition, topic.id),
      logStartOffset: offsetOf(starts, at.partition),
      highWatermark: offsetOf(ends, at.partition),
      logBytes: sizes.bytes.get(at.partition) ?? null,
    })),
    rate: rateOf(stored),
    sizesProblem: sizes.problem,
  };
}

type Position = Pick<
  PartitionSituation,
  'position' | 'epoch' | 'committedOffset' | 'openIntentTo' | 'recreated' | 'replayId'
>;

function positionOf(
  commit: CommittedOffset | undefined,
  rows: ReadonlyMap<number, RolePosition> | null,
  partition: number,
  topicId: string,
): Position {
  const committedOffset = commit?.offset ?? null;
  if (rows === null) {
    const intent = commit === undefined ? null : parseIntent(commit.metadata, commit.offset);
    return {
      // The batch of an intent is as good as written: whoever comes next finishes it.
      position: intent?.to ?? committedOffset,
      epoch: null,
      committedOffset,
      openIntentTo: intent?.to ?? null,
      recreated: false,
      replayId: commit === undefined ? null : replayOfCommit(commit.metadata),
    };
  }
  const row = rows.get(partition);
  return {
    position: row?.position ?? null,
    epoch: row?.epoch ?? null,
    committedOffset,
    openIntentTo: null,
    recreated: row !== undefined && row.topicId !== topicId,
    replayId: row?.replayId ?? null,
  };
}

/** Sizes need a right of their own (to describe the cluster): without it a plan only lacks its bytes. */
async function sizesOf(
  admin: GroupAdmin,
  topic: string,
): Promise<{ readonly bytes: ReadonlyMap<number, bigint>; readonly problem: string | null }> {
  try {
    return { bytes: await admin.partitionSizes(topic), problem: null };
  } catch (error) {
    if (error instanceof KpipeError && error.code === 'KPIPE_KAFKA_UNREACHABLE') {
      throw error;
    }
    return { bytes: new Map(), problem: messageOf(error) };
  }
}

/** From the counters that move with the data: records written and the time that their transactions took. */
function rateOf(stored: readonly RolePosition[] | null): MeasuredRate {
  if (stored === null) {
    return { recordsPerSec: null, basis: 'the group keeps positions only, and no time that writing took' };
  }
  const records = stored.reduce((sum, row) => sum + row.records, 0);
  const seconds = stored.reduce((sum, row) => sum + row.busyMs, 0) / 1000;
  if (records < enoughRecords || seconds <= 0) {
    return { recordsPerSec: null, basis: `too little was measured: ${records} records so far` };
  }
  return {
    recordsPerSec: Math.max(1, Math.round(records / seconds)),
    basis: `${records} records written in ${seconds.toFixed(1)} s of transactions, one after the other`,
  };
}

import { readFileSync } from 'node:fs';

import { nearestName } from '../config/nearest.ts';
import { KpipeError, messageOf } from '../errors.ts';
import type { ClusterAdmin, OffsetAnswer } from '../ports.ts';
import type { PartitionSituation, ReplayObservation } from './observation.ts';
import type { ResolvedTarget } from './plan.ts';
import { parseOffsetsFile, type ReplayTarget } from './target.ts';

/** Which partitions a replay is about: all of the topic, or some. */
export interface PartitionChoice {
  /** Undefined: the role's topic. */
  readonly topics: readonly string[] | undefined;
  readonly partitions: readonly number[] | undefined;
}

/** The chosen partitions. @throws KPIPE_USAGE for a topic that is not the role's, or a partition that it has not */
export function choosePartitions(seen: ReplayObservation, choice: PartitionChoice): readonly PartitionSituation[] {
  const other = choice.topics?.find((topic) => topic !== seen.topic);
  if (other !== undefined) {
    throw new KpipeError('KPIPE_USAGE', `role ${seen.role} reads topic ${seen.topic}, not ${other}`);
  }
  const missing = choice.partitions?.find((wanted) => !seen.partitions.some(({ partition }) => partition === wanted));
  if (missing !== undefined) {
    throw new KpipeError('KPIPE_USAGE', `topic ${seen.topic} has no partition ${missing}`, {
      next: `it has 0 to ${seen.partitions.length - 1}`,
    });
  }
  return seen.partitions.filter(({ partition }) => choice.partitions?.includes(partition) ?? true);
}

/** Asks what a target means for each of the partitions. @throws KPIPE_USAGE, KPIPE_INPUT_INVALID, KPIPE_KAFKA_… */
export async function resolveTarget(
  admin: ClusterAdmin,
  target: ReplayTarget,
  partitions: readonly PartitionSituation[],
): Promise<ReadonlyMap<number, ResolvedTarget>> {
  const each = (of: (partition: PartitionSituation) => ResolvedTarget): ReadonlyMap<number, ResolvedTarget> =>
    new Map(partitions.map((partition) => [partition.partition, of(partition)]));
  switch (target.kind) {
    case 'earliest':
      return each(({ logStartOffset }) => ({ offset: logStartOffset }));
    case 'latest':
      return each(({ highWatermark }) => ({ offset: highWatermark }));
    case 'offset':
      return each(() => ({ offset: target.offset }));
    case 'shift':
      return each(({ position }) =>
        position === null ? { offset: undefined, note: 'no position to count from' } : { offset: position + target.by },
      );
    case 'time':
      return byTime(admin, target.timestampMs, partitions);
    case 'file':
      return byFile(target.path, partitions);
    case 'group':
      return byGroup(admin, target.group, partitions);
  }
}

/** Kafka answers a time behind the last record with no offset at all: that is the log's end. */
async function byTime(
  admin: ClusterAdmin,
  timestampMs: number,
  partitions: readonly PartitionSituation[],
): Promise<ReadonlyMap<number, ResolvedTarget>> {
  const answers = await admin.listOffsets(partitions, { timestampMs });
  const byPartition = new Map(answers.map((answer) => [answer.partition, answer]));
  return new Map(
    partitions.map((situation) => [
      situation.partition,
      atTime(situation, byPartition.get(situation.partition), timestampMs),
    ]),
  );
}

function atTime(situation: PartitionSituation, answer: OffsetAnswer | undefined, timestampMs: number): ResolvedTarget {
  const { logStartOffset, highWatermark } = situation;
  if (answer === undefined || answer.offset === null) {
    const isEmpty = logStartOffset === highWatermark;
    return { offset: highWatermark, note: isEmpty ? 'empty: its end' : 'no record at or after that time: its end' };
  }
  const isOldest = answer.offset <= logStartOffset && logStartOffset > 0n;
  const isLater = answer.timestampMs !== null && answer.timestampMs > timestampMs;
  // The end may have moved on since it was looked at; the target is a record that exists.
  return isOldest && isLater
    ? { offset: logStartOffset, beforeLog: true, note: 'the oldest record that is left' }
    : { offset: answer.offset > highWatermark ? highWatermark : answer.offset };
}

function byFile(path: string, partitions: readonly PartitionSituation[]): ReadonlyMap<number, ResolvedTarget> {
  const topic = partitions[0]?.topic ?? '';
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new KpipeError('KPIPE_USAGE', `--to file: ${messageOf(error)}`, { cause: error });
  }
  const offsets = parseOffsetsFile(text, topic);
  const unknown = [...offsets.keys()].find((named) => !partitions.some(({ partition }) => partition === named));
  if (unknown !== undefined) {
    throw new KpipeError(
      'KPIPE_USAGE',
      `${path} names partition ${unknown} of ${topic}, which is none of those chosen`,
    );
  }
  return new Map([...offsets].map(([partition, offset]) => [partition, { offset }]));
}

async function byGroup(
  admin: ClusterAdmin,
  group: string,
  partitions: readonly PartitionSituation[],
): Promise<ReadonlyMap<number, ResolvedTarget>> {
  const commits = await admin.committedOffsets(group);
  const { topic } = partitions[0] ?? { topic: '' };
  const found = commits.filter((commit) => commit.topic === topic);
  if (found.length === 0) {
    const groups = (await admin.listGroups()).map((each) => each.group);
    const nearest = nearestName(group, groups);
    throw new KpipeError(
      'KPIPE_USAGE',
      groups.includes(group)
        ? `group ${group} has committed nothing of ${topic}`
        : `there is no consumer group ${group}`,
      nearest === undefined || nearest === group ? {} : { next: `did you mean ${nearest}?` },
    );
  }
  return new Map(
    partitions.flatMap(({ partition }) => {
      const commit = found.find((each) => each.partition === partition);
      return commit === undefined ? [] : [[partition, { offset: commit.offset }] as const];
    }),
  );
}

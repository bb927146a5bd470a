import type { ClusterAdmin, OffsetAnswer, TopicPartition } from '../ports.ts';
import { partitionKey } from '../ports.ts';
import type { OffsetPoint, OffsetRange } from './offset-spec.ts';

/** A partition as it stands now: what can be read of it lies in [logStart, end). */
export interface PartitionBounds extends TopicPartition {
  readonly logStart: bigint;
  /** The high watermark. */
  readonly end: bigint;
}

/** Where a place lies in a partition; `position` is always in [logStart, end]. */
export interface ResolvedPosition extends PartitionBounds {
  readonly position: bigint;
  /** Why it is not where it was asked for: there is nothing any more, or nothing yet. */
  readonly moved: 'expired' | 'past the end' | null;
}

export interface ResolvedRange extends PartitionBounds {
  readonly from: ResolvedPosition;
  /** null: without an end. Never below `from`. */
  readonly to: ResolvedPosition | null;
}

/** What the partitions hold now. @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_… */
export async function partitionBounds(
  admin: ClusterAdmin,
  partitions: readonly TopicPartition[],
): Promise<readonly PartitionBounds[]> {
  const [starts, ends] = await Promise.all([
    admin.listOffsets(partitions, 'earliest'),
    admin.listOffsets(partitions, 'latest'),
  ]);
  const endOf = offsetsByPartition(ends);
  return starts.map(({ topic, partition, offset }) => {
    const end = endOf.get(partitionKey({ topic, partition })) ?? 0n;
    const logStart = offset ?? 0n;
    return { topic, partition, logStart, end: end > logStart ? end : logStart };
  });
}

/** Where a place lies in each partition, as of `bounds`; asks Kafka for times only. */
export async function resolvePoint(
  admin: ClusterAdmin,
  bounds: readonly PartitionBounds[],
  point: OffsetPoint,
): Promise<readonly ResolvedPosition[]> {
  if (point.kind !== 'time') {
    return bounds.map((each) => positionOf(each, offsetOf(each, point)));
  }
  const answers = offsetsByPartition(await admin.listOffsets(bounds, point));
  return bounds.map((each) => {
    // No record at or after that time: the end.
    const offset = answers.get(partitionKey(each)) ?? null;
    return offset === null ? { ...each, position: each.end, moved: 'past the end' } : withinBounds(each, offset);
  });
}

/** Where a range lies in each partition, as of one look. @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_… */
export async function resolveRange(
  admin: ClusterAdmin,
  partitions: readonly TopicPartition[],
  range: OffsetRange,
): Promise<readonly ResolvedRange[]> {
  const bounds = await partitionBounds(admin, partitions);
  const from = await resolvePoint(admin, bounds, range.from);
  const { to } = range;
  const ends =
    to === null
      ? null
      : to.kind === 'afterFrom'
        ? from.map((each) => positionOf(each, each.position + to.count))
        : await resolvePoint(admin, bounds, to);
  return from.map((begin, index) => {
    const end = ends?.[index] ?? null;
    const { topic, partition, logStart, end: logEnd } = begin;
    return {
      topic,
      partition,
      logStart,
      end: logEnd,
      from: begin,
      to: end !== null && end.position < begin.position ? { ...end, position: begin.position } : end,
    };
  });
}

function offsetOf({ logStart, end }: PartitionBounds, point: Exclude<OffsetPoint, { readonly kind: 'time' }>): bigint {
  switch (point.kind) {
    case 'start':
      return logStart;
    case 'end':
      return end;
    case 'offset':
      return point.offset;
    case 'afterStart':
      return logStart + point.count;
    case 'beforeEnd':
      // More than there is: all of it.
      return end - point.count > logStart ? end - point.count : logStart;
  }
}

function positionOf(bounds: PartitionBounds, offset: bigint): ResolvedPosition {
  return offset > bounds.end
    ? { ...bounds, position: bounds.end, moved: 'past the end' }
    : withinBounds(bounds, offset);
}

/** A time's record may have come after the look at the end, or have expired since. */
function withinBounds(bounds: PartitionBounds, offset: bigint): ResolvedPosition {
  const { topic, partition, logStart, end } = bounds;
  const position = offset < logStart ? logStart : offset > end ? end : offset;
  return { topic, partition, logStart, end, position, moved: offset < logStart ? 'expired' : null };
}

function offsetsByPartition(answers: readonly OffsetAnswer[]): ReadonlyMap<string, bigint | null> {
  return new Map(answers.map((answer) => [partitionKey(answer), answer.offset]));
}

import { planWarnings, refusalsOf, sum } from './objections.ts';
import type { PartitionSituation, ReplayObservation } from './observation.ts';
import type { PartitionPlan, ReplayPlan } from './replay-plan.ts';

/** Where a partition is to be set. */
export interface ResolvedTarget {
  /** null: as if the role had never read it; undefined: it cannot be told, `note` says why. */
  readonly offset: bigint | null | undefined;
  /** The asked time lies before everything that the log still holds: how much is missing is not known. */
  readonly beforeLog?: boolean;
  readonly note?: string;
}

export interface PlanOptions {
  readonly to: string;
  /** Fit what lies outside of the log into it. */
  readonly clamp: boolean;
}

/** Draws the plan up. Partitions that are not in `targets` are not part of it. */
export function planReplay(
  seen: ReplayObservation,
  targets: ReadonlyMap<number, ResolvedTarget>,
  options: PlanOptions,
): ReplayPlan {
  const planned = seen.partitions.flatMap((situation) => {
    const target = targets.get(situation.partition);
    return target === undefined ? [] : [{ situation, plan: planPartition(situation, target) }];
  });
  const partitions = planned.map(({ plan }) => plan);
  const rereadRecords = sum(partitions, (plan) => plan.rereadRecords);
  const bytes = partitions.some((plan) => plan.bytes === null) ? null : sum(partitions, (plan) => plan.bytes ?? 0);
  const perSec = seen.rate.recordsPerSec;
  return {
    clusterId: seen.clusterId,
    observedAt: new Date(seen.observedAtMs).toISOString(),
    role: seen.role,
    group: seen.group,
    topic: seen.topic,
    topicId: seen.topicId,
    truth: seen.truth,
    protocol: seen.protocol,
    state: seen.state,
    members: seen.members,
    to: options.to,
    partitions,
    totals: {
      rereadRecords,
      skippedRecords: sum(partitions, (plan) => plan.skippedRecords),
      bytes,
      durationMs: perSec === null ? null : Math.round((rereadRecords / perSec) * 1000),
    },
    recordsMethod: 'offsets',
    bytesMethod: 'share of the log on disk',
    rate: seen.rate,
    unknown: {
      ...(bytes === null ? { bytes: seen.sizesProblem ?? 'no broker tells the size of every partition' } : {}),
      ...(perSec === null ? { durationMs: seen.rate.basis } : {}),
    },
    refusals: refusalsOf(seen, planned, options.clamp),
    warnings: planWarnings(partitions),
    effects: [],
    rowsThere: null,
  };
}

function planPartition(situation: PartitionSituation, target: ResolvedTarget): PartitionPlan {
  const { partition, position, epoch, committedOffset, logStartOffset, highWatermark } = situation;
  const asked = target.offset === undefined ? position : target.offset;
  const targetOffset = asked === null ? null : fit(asked, logStartOffset, highWatermark);
  const [reread, skipped] = distance(situation, targetOffset);
  return {
    partition,
    position,
    epoch,
    committedOffset,
    logStartOffset,
    highWatermark,
    askedOffset: asked,
    targetOffset,
    change: target.offset === undefined ? 'unknown' : changeOf(position, targetOffset),
    rereadRecords: reread,
    skippedRecords: skipped,
    bytes: bytesOf(situation, reread),
    takenByRetention:
      target.beforeLog === true
        ? null
        : asked !== null && asked < logStartOffset
          ? Number(logStartOffset - (asked < 0n ? 0n : asked))
          : 0,
    clamped: asked === null || asked === targetOffset ? null : asked < logStartOffset ? 'start' : 'end',
    note: target.note ?? null,
  };
}

function fit(offset: bigint, start: bigint, end: bigint): bigint {
  return offset < start ? start : offset > end ? end : offset;
}

function changeOf(position: bigint | null, target: bigint | null): PartitionPlan['change'] {
  if (position === target) {
    return 'stay';
  }
  return target === null || (position !== null && target < position) ? 'back' : 'forward';
}

/** Offsets read again, offsets left out. What lies below the log's start is neither. */
function distance(situation: PartitionSituation, target: bigint | null): readonly [number, number] {
  const { position, logStartOffset } = situation;
  if (position === null || target === null) {
    return [0, position === null && target !== null ? Number(target - logStartOffset) : 0];
  }
  const from = position < logStartOffset ? logStartOffset : position;
  return target < from ? [Number(from - target), 0] : [0, Number(target - from)];
}

function bytesOf({ logBytes, logStartOffset, highWatermark }: PartitionSituation, records: number): number | null {
  if (records === 0) {
    return 0;
  }
  const offsets = Number(highWatermark - logStartOffset);
  return logBytes === null || offsets === 0 ? null : Math.round((Number(logBytes) * records) / offsets);
}

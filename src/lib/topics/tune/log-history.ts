/** What the log itself remembers of its traffic: offsets at full hours. Pure. */
export interface LogHistory {
  /** Of the hours that the log tells of; together, not necessarily in a row. */
  readonly spanMs: number;
  readonly stepMs: number;
  readonly meanRecordsPerSec: number;
  readonly peakRecordsPerSec: number;
}

/** A partition's log: where it begins, and the first offset at or after each of the times. */
export interface PartitionTimeline {
  readonly logStartOffset: bigint;
  /** One more than there are steps; the last is the log's end. */
  readonly offsets: readonly bigint[];
}

/**
 * Rates of the steps between the times. Left out are steps that reach back to where records were deleted, and those from
 * before the log's first record, with the step in which it came: they say nothing of a usual hour. Null when none is left.
 */
export function historyOf(partitions: readonly PartitionTimeline[], stepMs: number): LogHistory | null {
  const steps = Math.max(0, Math.min(...partitions.map(({ offsets }) => offsets.length)) - 1);
  if (partitions.length === 0 || stepMs <= 0 || !Number.isFinite(steps)) {
    return null;
  }
  const counts = Array.from({ length: steps }, (_, step) => {
    const ofStep = partitions.map((partition) => countOf(partition, step));
    return ofStep.includes(null) ? null : ofStep.reduce<number>((sum, count) => sum + (count ?? 0), 0);
  });
  const began = partitions.every(({ offsets }) => offsets[0] === 0n)
    ? indexOr(
        counts.findIndex((count) => count !== 0),
        steps,
      ) + 1
    : 0;
  const known = counts.slice(began).filter((count) => count !== null);
  const perSec = (count: number, over: number): number => (count * 1000) / (over * stepMs);
  return known.length === 0
    ? null
    : {
        spanMs: known.length * stepMs,
        stepMs,
        meanRecordsPerSec: perSec(
          known.reduce((sum, count) => sum + count, 0),
          known.length,
        ),
        peakRecordsPerSec: perSec(Math.max(...known), 1),
      };
}

function indexOr(index: number, otherwise: number): number {
  return index < 0 ? otherwise : index;
}

/** Timestamps that producers set need not rise: a time may stand before one that is earlier. That is no negative count. */
function countOf({ logStartOffset, offsets }: PartitionTimeline, step: number): number | null {
  const from = offsets[step] ?? 0n;
  const to = offsets[step + 1] ?? from;
  const wasDeleted = logStartOffset > 0n && from <= logStartOffset;
  return wasDeleted ? null : Math.max(0, Number(to - from));
}

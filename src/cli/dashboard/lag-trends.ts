import type { LagReport } from '../../lib/offsets/lag-report.ts';

/** What a group looked like at one look; null: not known. */
export interface TrendPoint {
  readonly atMs: number;
  readonly lagRecords: number | null;
  readonly timeLagMs: number | null;
  readonly inPerSec: number | null;
  readonly outPerSec: number | null;
}

export type LagTrends = ReadonlyMap<string, readonly TrendPoint[]>;

/** Twenty minutes at 2 s: memory stays as it is from then on. */
export const trendLength = 600;

/** The trends with one more look. Groups that are gone are forgotten. */
export function addLook(trends: LagTrends, { roles }: LagReport, atMs: number): LagTrends {
  return new Map(
    roles.map(({ group, lagRecords, timeLagMs, inPerSec, outPerSec }) => [
      group,
      [...(trends.get(group) ?? []), { atMs, lagRecords, timeLagMs, inPerSec, outPerSec }].slice(-trendLength),
    ]),
  );
}

/** A look that failed is a gap, not a straight line. */
export function addGap(trends: LagTrends, atMs: number): LagTrends {
  const gap = { atMs, lagRecords: null, timeLagMs: null, inPerSec: null, outPerSec: null };
  return new Map([...trends].map(([group, points]) => [group, [...points, gap].slice(-trendLength)]));
}

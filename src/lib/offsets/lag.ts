import { historyKey, noHistory, type LagHistory } from './history.ts';
import { neverDrains, neverStarted, type GroupLag, type LagReport, type PartitionLag } from './lag-report.ts';
import type { GroupObservation, LagObservation } from './observation.ts';
import { partitionLag } from './partition-lag.ts';
import { worstStatus, type Judgement } from './status.ts';

/** Judges what was seen, with what was seen before. Pure: the clock is in the observation. */
export function calculateLag(seen: LagObservation, history: LagHistory, judgement: Judgement): Omit<LagReport, 'cost'> {
  return {
    observedAt: new Date(seen.observedAtMs).toISOString(),
    clusterId: seen.clusterId,
    roles: seen.groups.map((group) => groupLag(group, seen, history, judgement)),
    notes: seen.notes,
  };
}

function groupLag(group: GroupObservation, seen: LagObservation, history: LagHistory, judgement: Judgement): GroupLag {
  const partitions = group.partitions.map((partition) =>
    partitionLag(group, partition, seen, history.get(historyKey(group.group, partition)) ?? noHistory, judgement),
  );
  const figures = groupFigures(group, partitions);
  return {
    role: group.role,
    group: group.group,
    protocol: group.protocol,
    state: group.state,
    members: group.members,
    positionSource: group.positionSource,
    ...figures,
    lostRecords: partitions.reduce((lost, partition) => lost + partition.lostRecords, 0),
    ...groupStatus(group, partitions),
    partitions,
  };
}

type Figures = Pick<
  GroupLag,
  'lagRecords' | 'timeLagMs' | 'timeLagMethod' | 'inPerSec' | 'outPerSec' | 'drainMs' | 'lossInMs' | 'unknown'
>;

/** Sums and extremes over what is known; what is not known is in no sum. */
function groupFigures(group: GroupObservation, partitions: readonly PartitionLag[]): Figures {
  const lags = partitions.flatMap(({ lagRecords }) => (lagRecords === null ? [] : [lagRecords]));
  const lagRecords = lags.length === 0 ? null : lags.reduce((total, lag) => total + lag, 0);
  const latest = partitions.reduce<PartitionLag | null>(
    (worst, next) => ((next.timeLagMs ?? -1) > (worst?.timeLagMs ?? -1) ? next : worst),
    null,
  );
  const inPerSec = sum(partitions.map((partition) => partition.inPerSec));
  const outPerSec = sum(partitions.map((partition) => partition.outPerSec));
  const losses = partitions.flatMap(({ lossInMs }) => (lossInMs === null ? [] : [lossInMs]));
  const lossInMs = losses.length === 0 ? null : Math.min(...losses);
  const drain = drainOf(lagRecords, inPerSec, outPerSec);
  const why = (figure: string): string =>
    group.problem ??
    partitions.map(({ unknown }) => unknown[figure]).find((reason) => reason !== undefined) ??
    'no partition is known';
  return {
    lagRecords,
    timeLagMs: latest?.timeLagMs ?? null,
    timeLagMethod: latest?.timeLagMethod ?? null,
    inPerSec,
    outPerSec,
    drainMs: drain.ms,
    lossInMs,
    unknown: {
      ...(lagRecords === null && { lagRecords: why('lagRecords') }),
      ...(latest === null && { timeLagMs: why('timeLagMs') }),
      ...(inPerSec === null && { inPerSec: why('inPerSec') }),
      ...(outPerSec === null && { outPerSec: why('outPerSec') }),
      ...(drain.ms === null && { drainMs: drain.reason }),
      ...(lossInMs === null && { lossInMs: why('lossInMs') }),
    },
  };
}

function sum(figures: readonly (number | null)[]): number | null {
  const knownFigures = figures.filter((figure) => figure !== null);
  return knownFigures.length === 0
    ? null
    : Math.round(knownFigures.reduce((total, figure) => total + figure, 0) * 10) / 10;
}

type Drain = { readonly ms: number } | { readonly ms: null; readonly reason: string };

function drainOf(lagRecords: number | null, inPerSec: number | null, outPerSec: number | null): Drain {
  if (lagRecords === 0) {
    return { ms: 0 };
  }
  if (lagRecords === null || inPerSec === null || outPerSec === null) {
    return { ms: null, reason: 'the lag or its rates are not known' };
  }
  const surplus = outPerSec - inPerSec;
  return surplus <= 0 ? { ms: null, reason: neverDrains } : { ms: Math.round((lagRecords * 1000) / surplus) };
}

/**
 * A group is as its worst partition. Partitions that were never started do not count beside others that were; they
 * are named in the reason.
 */
function groupStatus(
  group: GroupObservation,
  partitions: readonly PartitionLag[],
): Pick<GroupLag, 'status' | 'reason'> {
  if (group.problem !== null) {
    return { status: 'unknown', reason: group.problem };
  }
  const judged = partitions.filter((partition) => partition.lagRecords !== null);
  const apart = partitions.filter((partition) => partition.lagRecords === null);
  const status = judged.length === 0 ? 'unknown' : worstStatus(judged.map((partition) => partition.status));
  const worst = judged.filter((partition) => partition.status === status && partition.reason !== null);
  const [first] = worst;
  const main = first === undefined ? null : `${where(worst, partitions.length)}: ${first.reason ?? ''}`;
  const [excluded] = apart;
  const beside =
    excluded === undefined
      ? null
      : `${where(apart, partitions.length)}: ${excluded.unknown['lagRecords'] ?? 'not known'}`;
  return {
    status,
    reason:
      [main, beside].filter((text) => text !== null).join('; ') || (partitions.length === 0 ? neverStarted : null),
  };
}

function where(some: readonly PartitionLag[], all: number): string {
  const [first] = some;
  return some.length === 1 && first !== undefined
    ? `partition ${first.topic}-${first.partition}`
    : `${some.length} of ${all} partitions`;
}

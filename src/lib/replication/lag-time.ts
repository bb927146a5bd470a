import { bytesBehind } from './lsn.ts';
import type { PrimaryFacts, StandbyFacts } from './observation.ts';
import type { LagMethod } from './report.ts';

/** Where the primary was when it was looked at before, oldest first. */
export interface LsnSample {
  readonly atMs: number;
  readonly lsn: bigint;
}

export interface LagTime {
  readonly lagMs: number | null;
  readonly method: LagMethod | null;
}

/** What is known of one standby's way behind its primary. */
export interface LagEvidence {
  readonly primary: PrimaryFacts | null;
  readonly standby: StandbyFacts;
  readonly catchUpMs: number | null;
  readonly probeMs: number | null;
  readonly samples: readonly LsnSample[];
  readonly nowMs: number;
}

/**
 * How far a standby is behind in time: the smallest of the upper bounds that there are. None of pg_stat_replication's
 * *_lag columns: they freeze while replay is paused or the receiver is stopped, and are NULL when idle.
 */
export function lagTime(evidence: LagEvidence): LagTime {
  const { primary, standby, catchUpMs, probeMs } = evidence;
  if (probeMs !== null) {
    return { lagMs: probeMs, method: 'probe' };
  }
  if (primary !== null && standby.replayedLsn !== null && bytesBehind(primary.lsn, standby.replayedLsn) === 0) {
    return { lagMs: 0, method: 'none' };
  }
  if (catchUpMs !== null) {
    return { lagMs: catchUpMs, method: 'catch-up' };
  }
  const bounds: readonly { readonly lagMs: number; readonly method: LagMethod }[] = [
    ...bound(historyBound(evidence), 'history'),
    ...bound(heartbeatBound(primary, standby), 'heartbeat'),
    ...bound(standby.replayAgeMs, 'transaction'),
  ];
  return bounds.toSorted((left, right) => left.lagMs - right.lagMs)[0] ?? { lagMs: null, method: null };
}

function bound(ms: number | null, method: LagMethod): readonly { lagMs: number; method: LagMethod }[] {
  return ms === null ? [] : [{ lagMs: Math.max(0, ms), method }];
}

/** Everything up to the newest sample that the standby has replayed was there at that time. */
function historyBound({ standby, samples, nowMs }: LagEvidence): number | null {
  const { replayedLsn } = standby;
  const passed = replayedLsn === null ? undefined : samples.findLast(({ lsn }) => lsn <= replayedLsn);
  return passed === undefined ? null : nowMs - passed.atMs;
}

/** The standby has replayed everything up to the heartbeat that it shows, by the primary's own clock. */
function heartbeatBound(primary: PrimaryFacts | null, standby: StandbyFacts): number | null {
  return primary === null || standby.beatAtMs === null ? null : primary.nowMs - standby.beatAtMs;
}

/** 0 when the standby has the primary's newest beat. */
export function heartbeatLagMs(primary: PrimaryFacts | null, standby: StandbyFacts): number | null {
  if (primary === null || primary.beatAtMs === null || standby.beatAtMs === null) {
    return null;
  }
  return primary.beatAtMs <= standby.beatAtMs ? 0 : Math.max(0, primary.nowMs - standby.beatAtMs);
}

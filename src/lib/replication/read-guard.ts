import type { LsnSample } from './lag-time.ts';

/** What a replica said of itself when it was last asked. */
export interface ReplicaSight {
  /** By the asker's clock. */
  readonly atMs: number;
  readonly inRecovery: boolean;
  readonly systemIdentifier: string;
  readonly database: string;
  readonly replayedLsn: bigint | null;
  /** Age of the last transaction replayed. */
  readonly replayAgeMs: number | null;
}

export interface PrimarySight extends LsnSample {
  readonly systemIdentifier: string;
  readonly database: string;
}

export interface ReadBound {
  readonly maxLagMs: number;
  /** The reader's own write, or what it wants to see at least. */
  readonly after: bigint | null;
}

export type Verdict = { readonly may: true; readonly lagMs: number } | { readonly may: false; readonly reason: string };

/**
 * Whether a replica may answer a read now. Its lag is proven, not guessed: it is past a point at which the primary was seen
 * no longer than `maxLagMs` ago, or its last transaction is that young. An idle primary is no lag.
 */
export function mayRead(
  replica: ReplicaSight,
  primary: readonly PrimarySight[],
  { maxLagMs, after }: ReadBound,
  nowMs: number,
): Verdict {
  const newest = primary.at(-1);
  if (newest !== undefined && newest.systemIdentifier !== replica.systemIdentifier) {
    return { may: false, reason: 'it belongs to another database cluster' };
  }
  if (newest !== undefined && newest.database !== replica.database) {
    return { may: false, reason: `its database is ${replica.database}, not ${newest.database}` };
  }
  if (!replica.inRecovery) {
    return { may: false, reason: 'it is no standby' };
  }
  const { replayedLsn, replayAgeMs } = replica;
  if (replayedLsn === null || (after !== null && replayedLsn < after)) {
    return { may: false, reason: 'it has not replayed what must be seen' };
  }
  const passed = primary.findLast(({ lsn }) => lsn <= replayedLsn);
  const bounds = [
    ...(passed === undefined ? [] : [nowMs - passed.atMs]),
    ...(replayAgeMs === null ? [] : [replayAgeMs + nowMs - replica.atMs]),
  ];
  const lagMs = Math.max(0, Math.min(...bounds));
  return lagMs <= maxLagMs ? { may: true, lagMs } : { may: false, reason: 'it is further behind than its maxLag' };
}

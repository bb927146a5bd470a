import type { PositionSource } from './observation.ts';
import type { LagStatus } from './status.ts';

/**
 * What `kpipe lag` answers; the JSON contract of `lag --json`. Times are ms, rates records a second. A figure that is
 * not known is null, and `unknown` says why under the figure's name; a null is never counted in a sum.
 */
export interface LagReport {
  /** ISO 8601. */
  readonly observedAt: string;
  readonly clusterId: string;
  readonly roles: readonly GroupLag[];
  readonly notes: readonly string[];
  readonly cost: LookCost;
}

/** What the look took. The first one of a command also makes the connections. */
export interface LookCost {
  /** Requests sent to Kafka's brokers. */
  readonly requests: number;
  readonly ms: number;
}

export interface LagFigures {
  /** Offsets between the position and the high watermark; 0 where only control or aborted records are left. */
  readonly lagRecords: number | null;
  /** Age of the first unread record. */
  readonly timeLagMs: number | null;
  /** `record`: read from the record itself; `estimate`: interpolated. */
  readonly timeLagMethod: 'record' | 'estimate' | null;
  readonly inPerSec: number | null;
  readonly outPerSec: number | null;
  /** Until unread records begin to expire. */
  readonly lossInMs: number | null;
  readonly status: LagStatus;
  readonly reason: string | null;
  readonly unknown: Readonly<Record<string, string>>;
}

export interface GroupLag extends LagFigures {
  /** null: a group that is no role of kpipe.yaml. */
  readonly role: string | null;
  readonly group: string;
  readonly protocol: 'classic' | 'consumer' | null;
  readonly state: string | null;
  readonly members: number;
  /** Where the positions come from: the group's commits, or PostgreSQL. */
  readonly positionSource: PositionSource;
  /** At the rates seen; null while the lag does not fall (`unknown.drainMs` is then `never`). */
  readonly drainMs: number | null;
  /** Records that expired before they were read. */
  readonly lostRecords: number;
  readonly partitions: readonly PartitionLag[];
}

export interface PartitionLag extends LagFigures {
  readonly topic: string;
  readonly partition: number;
  readonly committedOffset: bigint | null;
  /** What is read next: PostgreSQL's word for a role that lives there, else the committed offset. */
  readonly position: bigint | null;
  readonly highWatermark: bigint | null;
  readonly logStartOffset: bigint | null;
  readonly lostRecords: number;
  readonly member: string | null;
}

/** The reason in `unknown.drainMs` when the lag does not fall at the rates seen. */
export const neverDrains = 'never';

/** The reason of a group that has nothing to be behind with. */
export const neverStarted = 'never started: nothing committed, nothing assigned';

import type { MeasuredRate, ReplayObservation } from './observation.ts';

/**
 * What a replay would do; the JSON contract of `replay plan --json`. Offsets are text there. A figure that is not known
 * is null, and `unknown` says why under the figure's name.
 */
export interface ReplayPlan {
  readonly clusterId: string;
  /** ISO 8601. */
  readonly observedAt: string;
  readonly role: string;
  readonly group: string;
  readonly topic: string;
  readonly topicId: string;
  /** Where the positions that count are kept. */
  readonly truth: 'postgres' | 'group';
  readonly protocol: ReplayObservation['protocol'];
  readonly state: string;
  readonly members: readonly string[];
  /** As it was asked for: `--to`. */
  readonly to: string;
  readonly partitions: readonly PartitionPlan[];
  readonly totals: {
    /** Offsets that are read again: at most so many records. */
    readonly rereadRecords: number;
    /** Offsets that are never read by this role. */
    readonly skippedRecords: number;
    /** Of what is read again, as it lies on disk. */
    readonly bytes: number | null;
    /** To read it again, at the measured rate. */
    readonly durationMs: number | null;
  };
  readonly recordsMethod: 'offsets';
  readonly bytesMethod: 'share of the log on disk';
  readonly rate: MeasuredRate;
  readonly unknown: Readonly<Record<string, string>>;
  /** Why `replay apply` would refuse. */
  readonly refusals: readonly Refusal[];
  readonly warnings: readonly string[];
  /** What reading again does to what is stored already. */
  readonly effects: readonly string[];
  /** Rows in BigQuery of the offsets that would be read again. */
  readonly rowsThere: number | null;
}

export interface Refusal {
  readonly kind: 'members' | 'outside-log' | 'recreated' | 'no-position';
  readonly text: string;
  readonly next: string;
}

export interface PartitionPlan {
  readonly partition: number;
  readonly position: bigint | null;
  readonly epoch: bigint | null;
  readonly committedOffset: bigint | null;
  readonly logStartOffset: bigint;
  readonly highWatermark: bigint;
  /** What was asked for, before it was fitted into the log. */
  readonly askedOffset: bigint | null;
  /** null: as if the role had never read it. */
  readonly targetOffset: bigint | null;
  /** `unknown`: where to cannot be told. */
  readonly change: 'back' | 'forward' | 'stay' | 'unknown';
  readonly rereadRecords: number;
  readonly skippedRecords: number;
  readonly bytes: number | null;
  /** Offsets below the log's start that were asked for; null: they were asked for by time, so their number is not known. */
  readonly takenByRetention: number | null;
  readonly clamped: 'start' | 'end' | null;
  readonly note: string | null;
}

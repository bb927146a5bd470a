import type { GroupDescription, TopicPartition } from '../ports.ts';

/**
 * What a replay sees before it does anything. The *position* is the truth about where a role reads next: PostgreSQL's for
 * the roles whose sink it is, the group's commit for role analytics. The *committed offset* is the group's in either case;
 * for the first it only mirrors the position.
 */
export interface ReplayObservation {
  readonly observedAtMs: number;
  readonly clusterId: string;
  readonly role: string;
  readonly group: string;
  readonly topic: string;
  readonly topicId: string;
  readonly truth: 'postgres' | 'group';
  readonly protocol: GroupDescription['protocol'];
  readonly state: string;
  /** `clientId@host` of each. */
  readonly members: readonly string[];
  readonly partitions: readonly PartitionSituation[];
  readonly rate: MeasuredRate;
  /** Why sizes are not known, where they are not. */
  readonly sizesProblem: string | null;
}

export interface PartitionSituation extends TopicPartition {
  /** null: never read. */
  readonly position: bigint | null;
  /** Of kpipe.consumer_offset; null where that is not the truth, or has no row. */
  readonly epoch: bigint | null;
  readonly committedOffset: bigint | null;
  /** A batch that is on its way into BigQuery ends there: it is finished before the position is set. */
  readonly openIntentTo: bigint | null;
  /** The position is one of an earlier topic of this name. */
  readonly recreated: boolean;
  /** The replay that set the position, where the store still says so. */
  readonly replayId: string | null;
  readonly logStartOffset: bigint;
  readonly highWatermark: bigint;
  /** On disk; null: not known. */
  readonly logBytes: bigint | null;
}

/** How fast the role has been seen to write. */
export interface MeasuredRate {
  readonly recordsPerSec: number | null;
  /** What was measured, or why nothing is known. */
  readonly basis: string;
}

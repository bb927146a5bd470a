import type { FirstUnread, TopicPartition } from '../ports.ts';

/**
 * What was seen of consumer groups at one instant, before any judgement. Not known is null, and a reason says why.
 *
 * Words: the *committed offset* is the group's, in Kafka. The *position* is what the group really reads next: the same,
 * but for a role whose sink is PostgreSQL, where the truth is `kpipe.consumer_offset` and the commit only mirrors it.
 */
export interface LagObservation {
  readonly observedAtMs: number;
  readonly clusterId: string;
  readonly groups: readonly GroupObservation[];
  readonly topics: ReadonlyMap<string, TopicRetention>;
  /** What could not be seen, for the operator: `PostgreSQL is unreachable: …`. */
  readonly notes: readonly string[];
  /** Sent to Kafka's brokers for it. */
  readonly requests: number;
}

export interface GroupObservation {
  /** null: a group that is no role of kpipe.yaml. */
  readonly role: string | null;
  readonly group: string;
  readonly protocol: 'classic' | 'consumer' | null;
  /** Kafka's name of the state; null when the group could not be described. */
  readonly state: string | null;
  readonly members: number;
  readonly positionSource: PositionSource;
  readonly partitions: readonly PartitionObservation[];
  /** Why the group as a whole could not be seen: no rights, a missing topic. */
  readonly problem: string | null;
}

export type PositionSource = 'group' | 'postgres';

export interface PartitionObservation extends TopicPartition {
  readonly committedOffset: bigint | null;
  readonly position: bigint | null;
  /** When the position was written, where the store says so (PostgreSQL does, Kafka does not). */
  readonly positionWrittenAtMs: number | null;
  /** Why the position is null. */
  readonly positionProblem: string | null;
  readonly highWatermark: bigint | null;
  readonly logStartOffset: bigint | null;
  /** Why the log's start and end are null. */
  readonly logProblem: string | null;
  /** null: nothing lies between the position and the high watermark, or it was not looked at. */
  readonly firstUnread: FirstUnread | null;
  /** Who reads the partition now: `clientId@host`. */
  readonly member: string | null;
}

/** How a topic forgets records. */
export interface TopicRetention {
  /** -1: never by time; null: not known. */
  readonly retentionMs: number | null;
  /** -1: no limit by size; null: not known. */
  readonly retentionBytes: number | null;
  /** Whether records expire at all: false where `cleanup.policy` is only `compact`. */
  readonly expires: boolean;
}

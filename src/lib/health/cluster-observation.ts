/**
 * What was seen of a Kafka cluster at one instant, before any judgement. Not known is null, and a reason says why.
 *
 * Words: the *preferred leader* is a partition's first replica. The *quorum* are the controllers (KRaft): one of them, the
 * active controller, writes the metadata log, the other *voters* copy it; brokers are its *observers*.
 */
export interface ClusterObservation {
  readonly observedAtMs: number;
  readonly clusterId: string;
  readonly brokers: readonly BrokerObservation[];
  readonly quorum: QuorumObservation;
  readonly topics: readonly TopicObservation[];
  readonly notes: readonly string[];
}

export interface BrokerObservation {
  readonly id: number;
  /** null: no broker of that id is registered; replicas name it, so it should be. */
  readonly address: string | null;
  readonly rack: string | null;
  /** Kafka's release as the broker shows it. */
  readonly version: string | null;
  /** Why it did not answer from here; null: it did. */
  readonly problem: string | null;
  /** null: not known. */
  readonly logDirectories: readonly LogDirectory[] | null;
}

export interface LogDirectory {
  readonly path: string;
  /** Why the broker cannot use it; null: it does. */
  readonly problem: string | null;
  /** Of the file system; null where the broker does not say (before Kafka 3.3). */
  readonly totalBytes: number | null;
  readonly usableBytes: number | null;
  readonly replicas: readonly ReplicaSize[];
}

export interface ReplicaSize {
  readonly topic: string;
  readonly partition: number;
  readonly bytes: number;
}

export type QuorumObservation =
  | {
      readonly kind: 'known';
      /** -1: nobody leads. */
      readonly leaderId: number;
      readonly epoch: number;
      readonly highWatermark: bigint;
      readonly voters: readonly QuorumReplica[];
      readonly observers: readonly QuorumReplica[];
    }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface QuorumReplica {
  readonly id: number;
  readonly logEndOffset: bigint;
  /** When it had last copied everything; null: never, as far as the leader knows. */
  readonly lastCaughtUpMs: number | null;
}

export interface TopicObservation {
  readonly name: string;
  readonly internal: boolean;
  /** null: not known. */
  readonly minInsyncReplicas: number | null;
  readonly retention: RetentionBounds | null;
  readonly partitions: readonly PartitionState[];
}

/** What bounds a partition's size on disk. null: nothing does. */
export interface RetentionBounds {
  readonly retentionMs: number | null;
  readonly retentionBytes: number | null;
  readonly segmentBytes: number;
}

export interface PartitionState {
  readonly partition: number;
  /** -1: none. */
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

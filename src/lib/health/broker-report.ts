/** What `kpipe brokers` answers; the JSON contract of `brokers --json`. Not known is null. */
export interface BrokerReport {
  /** ISO 8601. */
  readonly observedAt: string;
  readonly clusterId: string;
  readonly controller: ControllerReport;
  readonly brokers: readonly BrokerLine[];
  readonly partitions: PartitionCounts;
  /** No problem but notices. */
  readonly ok: boolean;
  readonly problems: readonly BrokerProblem[];
  /** What could not be seen. */
  readonly notes: readonly string[];
}

export interface ControllerReport {
  /** The active controller; null: there is none, or it is not known. */
  readonly leader: number | null;
  readonly epoch: number | null;
  readonly voters: readonly VoterReport[];
  /** Why the quorum is not known. */
  readonly reason: string | null;
}

export interface VoterReport {
  readonly id: number;
  /** Offsets of the metadata log that it has not copied. */
  readonly lagRecords: number;
  /** Since it had last copied everything; null: the leader has not seen that. */
  readonly caughtUpMs: number | null;
}

export interface BrokerLine {
  readonly id: number;
  readonly address: string | null;
  readonly rack: string | null;
  readonly version: string | null;
  /** `down`: not registered with the controller; `silent`: registered, and does not answer from here. */
  readonly state: 'up' | 'silent' | 'down';
  /** Why it is not up. */
  readonly reason: string | null;
  readonly controller: boolean;
  readonly leaders: number;
  /** Of the partitions that it leads by the order of their replicas. */
  readonly preferredLeaders: number;
  readonly replicas: number;
  /** Of its replicas, those that are not in sync. */
  readonly outOfSync: number;
  /** What its replicas take; null: not known. */
  readonly bytes: number | null;
  /** Of the leaders against an even share: 1 is even. null: nothing is led. */
  readonly leaderSkew: number | null;
  readonly logDirectories: readonly LogDirectoryReport[];
}

export interface LogDirectoryReport {
  readonly path: string;
  /** Why the broker cannot use it. */
  readonly reason: string | null;
  readonly replicas: number;
  readonly bytes: number;
  readonly totalBytes: number | null;
  readonly usableBytes: number | null;
  readonly usedPercent: number | null;
  readonly growthBytesPerSec: number | null;
  /** Lost on the file system beyond the replicas' growth. */
  readonly otherBytesPerSec: number | null;
  /** Until it is full; null: it lasts at this growth, or `forecastReason` says why it is not known. */
  readonly fullInMs: number | null;
  /** Where the replicas stop growing, by retention at this growth. */
  readonly settlesAtBytes: number | null;
  readonly forecastReason: string | null;
}

export interface PartitionCounts {
  readonly topics: number;
  readonly partitions: number;
  readonly offline: number;
  readonly underMinIsr: number;
  readonly atMinIsr: number;
  readonly underReplicated: number;
  readonly notPreferred: number;
  /** Replicas that left an ISR since the look before; null: there was none. */
  readonly isrShrinks: number | null;
}

/** In the order of how much they need a person now. */
export const brokerProblemCodes = [
  'OFFLINE',
  'UNDER_MIN_ISR',
  'NO_CONTROLLER',
  'LOG_DIR_OFFLINE',
  'BROKER_DOWN',
  'BROKER_SILENT',
  'DISK_FULL_SOON',
  'DISK_USED',
  'QUORUM_BEHIND',
  'AT_MIN_ISR',
  'UNDER_REPLICATED',
  'ISR_SHRINK',
  'NOT_PREFERRED',
  'LEADER_SKEW',
] as const;
export type BrokerProblemCode = (typeof brokerProblemCodes)[number];

export interface BrokerProblem {
  readonly code: BrokerProblemCode;
  /** `notice`: worth doing some time; it fails no gate. */
  readonly level: 'fail' | 'warn' | 'notice';
  /** null: not of one broker. */
  readonly broker: number | null;
  readonly detail: string;
  /** What it means for producers and consumers. */
  readonly consequence: string;
  readonly next: string;
  /** How many partitions, where it is about partitions. */
  readonly partitions: number | null;
}

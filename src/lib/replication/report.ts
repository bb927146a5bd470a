/** The JSON document of `kpipe replica status`. LSNs are text; bytes and ms are counted behind the primary. */
export interface ReplicaReport {
  readonly observedAt: string;
  readonly primary: PrimaryReport;
  /** As kpipe.yaml declares them, then those that stream without being declared. */
  readonly standbys: readonly StandbyReport[];
  readonly probeDeadlineMs: number | null;
  /** No problem was found. */
  readonly ok: boolean;
  readonly problems: readonly ReplicaProblem[];
  /** What could not be judged, and why. */
  readonly notes: readonly string[];
}

export interface PrimaryReport {
  readonly reachable: boolean;
  /** Why it could not be asked. */
  readonly reason: string | null;
  readonly address: string | null;
  readonly version: string | null;
  readonly systemIdentifier: string | null;
  readonly timeline: number | null;
  readonly inRecovery: boolean | null;
  /** The end of its flushed WAL. */
  readonly lsn: string | null;
  readonly heartbeatAgeMs: number | null;
  readonly synchronousStandbyNames: string | null;
}

export interface StandbyReport {
  readonly name: string;
  readonly declared: boolean;
  readonly reachable: boolean;
  readonly reason: string | null;
  readonly address: string | null;
  readonly version: string | null;
  readonly systemIdentifier: string | null;
  readonly timeline: number | null;
  readonly inRecovery: boolean | null;
  /** `primary`, or the standby that it streams from; null: it streams from none of them. */
  readonly upstream: string | null;
  /** Of its sender: streaming, catchup, …; null: there is none. */
  readonly state: string | null;
  readonly syncState: string | null;
  /** Not sent, not written, not flushed, not replayed there yet. */
  readonly sentBytes: number | null;
  readonly writeBytes: number | null;
  readonly flushBytes: number | null;
  readonly replayBytes: number | null;
  /** The sender's last measurements: hints, they freeze. */
  readonly writeLagMs: number | null;
  readonly flushLagMs: number | null;
  readonly replayLagMs: number | null;
  /** How far in time it is behind, at most. */
  readonly lagMs: number | null;
  readonly lagMethod: LagMethod | null;
  readonly heartbeatLagMs: number | null;
  /** Since its last answer to the sender. */
  readonly replyAgeMs: number | null;
  readonly probeMs: number | null;
  readonly replayPaused: boolean | null;
  readonly applyDelayMs: number | null;
  readonly slot: SlotReport | null;
  readonly hotStandbyFeedback: boolean | null;
  /** What its feedback (or its slot) keeps from vacuum, in transactions. */
  readonly heldTransactions: number | null;
  /** Queries cancelled by recovery since its statistics were reset. */
  readonly conflicts: ConflictsReport | null;
  readonly receiver: ReceiverReport | null;
  /** The codes of its problems, the cause first; none: ok. */
  readonly problems: readonly ProblemCode[];
}

/**
 * `none`: nothing is missing · `probe`, `catch-up`: measured until it was replayed · `history`: when the primary was where
 * the standby is now · `heartbeat`, `transaction`: age of the newest one that is replayed.
 */
export type LagMethod = 'none' | 'probe' | 'catch-up' | 'history' | 'heartbeat' | 'transaction';

export interface SlotReport {
  readonly name: string;
  readonly active: boolean;
  readonly walStatus: string | null;
  readonly retainedBytes: number | null;
  readonly safeWalBytes: number | null;
  readonly invalidationReason: string | null;
}

export interface ConflictsReport {
  readonly total: number;
  readonly tablespace: number;
  readonly lock: number;
  readonly snapshot: number;
  readonly bufferpin: number;
  readonly deadlock: number;
  readonly logicalSlot: number;
}

export interface ReceiverReport {
  readonly status: string | null;
  readonly senderHost: string | null;
  readonly senderPort: number | null;
  readonly messageAgeMs: number | null;
}

/** In the order of how much they need a person now. */
export const problemCodes = [
  'PRIMARY_UNREACHABLE',
  'PRIMARY_IN_RECOVERY',
  'NOT_READ_ONLY',
  'SYSTEM_MISMATCH',
  'SLOT_LOST',
  'TIMELINE_MISMATCH',
  'MISSING',
  'UNREACHABLE',
  'RECEIVER_DOWN',
  'PAUSED',
  'NETWORK_STALL',
  'CONFLICT',
  'REPLAY_SLOW',
  'SLOT_AT_RISK',
  'PROBE_TIMEOUT',
  'LAG',
  'UNDECLARED',
] as const;
export type ProblemCode = (typeof problemCodes)[number];

export interface ReplicaProblem {
  readonly code: ProblemCode;
  /** Null: the primary's, or a slot's that belongs to no standby. */
  readonly standby: string | null;
  readonly detail: string;
  readonly next: string;
}

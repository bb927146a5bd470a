/**
 * What both ends of a replication say of themselves and of each other, before anything is made of it.
 *
 * Words: the *primary* takes writes; a *standby* replays its WAL, received by the standby's *receiver* from a *sender* of
 * the server it follows. A *slot* makes that server keep WAL. An LSN is a byte position in the WAL. Null is "not known".
 */

/** A server that was asked: what it said, or why it could not be asked. */
export type Asked<Facts> =
  | { readonly kind: 'answered'; readonly facts: Facts }
  | { readonly kind: 'away'; readonly code: string; readonly reason: string };

/** A row of pg_stat_replication. Without pg_monitor everything but the pid is null. */
export interface Sender {
  readonly pid: number;
  readonly applicationName: string | null;
  readonly clientAddress: string | null;
  /** startup, catchup, streaming, backup or stopping. */
  readonly state: string | null;
  readonly syncState: string | null;
  readonly sentLsn: bigint | null;
  readonly writeLsn: bigint | null;
  readonly flushLsn: bigint | null;
  readonly replayLsn: bigint | null;
  /** The last measurement; it freezes when the standby stops answering, so it is a hint at most. */
  readonly writeLagMs: number | null;
  readonly flushLagMs: number | null;
  readonly replayLagMs: number | null;
  /** Since the standby's last answer. */
  readonly replyAgeMs: number | null;
  /** How many transactions old the row versions are that the standby's feedback holds back from vacuum. */
  readonly xminAge: number | null;
}

export interface Slot {
  readonly name: string;
  readonly type: 'physical' | 'logical';
  readonly active: boolean;
  readonly activePid: number | null;
  /** reserved, extended, unreserved or lost. */
  readonly walStatus: string | null;
  readonly restartLsn: bigint | null;
  /** How much WAL may still be written before the slot is in danger; null: no bound. */
  readonly safeWalBytes: number | null;
  readonly xminAge: number | null;
  /** PostgreSQL 17 and newer. */
  readonly invalidationReason: string | null;
}

/** What a server of either kind says. */
interface ServerFacts {
  /** `host:port`. */
  readonly address: string;
  readonly version: string;
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly inRecovery: boolean;
  /** Who streams from this server: a standby can have standbys of its own. */
  readonly senders: readonly Sender[];
  /** The user may see pg_stat_replication and the like: superuser, or a member of pg_monitor. */
  readonly statisticsVisible: boolean;
  /** kpipe.heartbeat as this server has it, in ms since the epoch. */
  readonly beatAtMs: number | null;
  /** The server's own clock. */
  readonly nowMs: number;
}

export interface PrimaryFacts extends ServerFacts {
  /** The end of the WAL that is flushed: a standby can have no more. Where it is in recovery: what it has replayed. */
  readonly lsn: bigint;
  readonly slots: readonly Slot[];
  /** max_slot_wal_keep_size; null: no bound. */
  readonly slotKeepBytes: number | null;
  readonly synchronousStandbyNames: string;
}

export interface Receiver {
  readonly pid: number;
  /** Null without pg_monitor, as what follows. */
  readonly status: string | null;
  readonly senderHost: string | null;
  readonly senderPort: number | null;
  readonly messageAgeMs: number | null;
}

export interface Conflicts {
  readonly tablespace: number;
  readonly lock: number;
  readonly snapshot: number;
  readonly bufferpin: number;
  readonly deadlock: number;
  /** PostgreSQL 16 and newer. */
  readonly logicalSlot: number;
}

/** Replay waits for a query on the standby. */
export interface ReplayBlock {
  /** As PostgreSQL names it: RecoveryConflictSnapshot, relation, … */
  readonly waitEvent: string;
  /** The oldest transaction on the standby. */
  readonly holder: { readonly pid: number; readonly applicationName: string; readonly forMs: number } | null;
}

export interface StandbyFacts extends ServerFacts {
  readonly receivedLsn: bigint | null;
  readonly replayedLsn: bigint | null;
  readonly replayPaused: boolean;
  /** Age of the last transaction replayed. It grows while the primary is idle. */
  readonly replayAgeMs: number | null;
  readonly receiver: Receiver | null;
  /** wal_receiver_status_interval; 0: the standby answers only when asked. */
  readonly statusIntervalMs: number;
  readonly slotName: string | null;
  readonly hotStandbyFeedback: boolean;
  /** recovery_min_apply_delay. */
  readonly applyDelayMs: number;
  /** It has no primary_conninfo and follows an archive; null: not visible. */
  readonly archiveOnly: boolean | null;
  readonly conflicts: Conflicts;
  readonly blocked: ReplayBlock | null;
}

/** A standby that kpipe.yaml declares. */
export interface StandbyObservation {
  readonly name: string;
  /** Reads go elsewhere beyond it. */
  readonly maxLagMs: number;
  readonly asked: Asked<StandbyFacts>;
  /** How long it took to replay what the primary had flushed when it was asked; null: it had not when we stopped waiting. */
  readonly catchUpMs: number | null;
}

export interface ProbeOutcome {
  readonly standby: string;
  /** From the probe's COMMIT on the primary until the standby had replayed it; null: not within the deadline. */
  readonly ms: number | null;
}

export interface ReplicationObservation {
  readonly observedAtMs: number;
  readonly primary: Asked<PrimaryFacts>;
  readonly standbys: readonly StandbyObservation[];
  /** Null: no probe was sent, or the primary could not take it. */
  readonly probe: { readonly deadlineMs: number; readonly outcomes: readonly ProbeOutcome[] } | null;
}

/** What kpipe.yaml says about it. */
export interface ReplicationExpectations {
  /** alerts.replica.lag; null: each standby's maxLag counts. */
  readonly lagAlarmMs: number | null;
  /** The slot that backups stream WAL on: whoever uses it is no standby. */
  readonly backupSlot: string | null;
}

export function factsOf<Facts>(asked: Asked<Facts>): Facts | null {
  return asked.kind === 'answered' ? asked.facts : null;
}

import type { KpipeError } from '../../errors.ts';

/**
 * Membership of a consumer group, driven by kpipe's own requests, so that what is revoked is drained *before* the group
 * hears that it is free, and what stays is read without a stop.
 *
 * Two protocols, one meaning. A *target* is what the group gives the member. It is reached partition by partition: what
 * is new is assigned at once (the group never gives what somebody else still has), what is no longer in it is drained and
 * then released. Heartbeats go on meanwhile.
 *
 * classic (KIP-429, cooperative-sticky), see classic-membership.ts:
 *
 *     unjoined ──JoinGroup, SyncGroup──▶ stable ──REBALANCE_IN_PROGRESS──▶ JoinGroup with all that is owned ──▶ stable
 *                                          │ the target lacks what is owned: drain it, heartbeats go on
 *                                          └─ drained ──▶ JoinGroup without it: the second rebalance gives it away
 *
 * consumer (KIP-848), see consumer-membership.ts: one request, ConsumerGroupHeartbeat, sends what is owned and answers the
 * target. A partition is free from the heartbeat on that no longer lists it.
 *
 * In both: *lost* (the group says that it does not know us, or has moved on; or nobody could be asked for a whole session)
 * makes every assignment inactive at once, then the member joins afresh. *Fenced* (another process has our instance id)
 * ends it for good. A coordinator that is away is looked for until it is found.
 */
export interface GroupMembership {
  /** Joins, and stays a member until `leave()`. @throws KpipeError when it cannot go on */
  run(): Promise<void>;
  /** Who commits, as of now; null while the member has no valid generation (before and between joins). */
  readonly identity: MemberIdentity | null;
  /** Resolves with the next success or failure in talking to the group. */
  nextContact(): Promise<void>;
  /** The holder has released something. */
  released(): void;
  /** A topic has more partitions than it had: whoever assigns must do so again. */
  topicGrew(): void;
  /** A static member goes without the group being told for good. Never rejects. */
  leave(): Promise<void>;
}

export interface MemberIdentity {
  readonly memberId: string;
  /** Generation of a classic group, member epoch of a consumer group. */
  readonly generation: number;
  readonly instanceId: string | null;
}

/** What a membership says to whoever holds the partitions. */
export interface PartitionHolder {
  /** Everything that is not released yet: also what is drained. */
  readonly held: readonly number[];
  readonly isDraining: boolean;
  /** The group's present answer. Assigns and drains towards it; calls nobody back before it returns. */
  aim(target: readonly number[]): void;
  /** The group may give it all to others already. */
  lose(): void;
}

export interface MembershipOptions {
  readonly group: string;
  readonly topic: string;
  readonly instanceId: string | null;
  readonly sessionTimeoutMs: number;
  /** Longer than draining may take. */
  readonly rebalanceTimeoutMs: number;
  /** Told once when the group has not been reached for a while, and null when it is again. */
  readonly onAway: (reason: string | null) => void;
  /** A line for the operator. */
  readonly notice: (text: string) => void;
  readonly random: () => number;
  readonly now: () => number;
}

/** The brokers decline this protocol for this group. */
export class ProtocolRefused extends Error {
  override readonly name = 'ProtocolRefused';
  readonly described: KpipeError;

  constructor(described: KpipeError) {
    super(described.message, { cause: described });
    this.described = described;
  }
}

/** How often a member asks the group for news: it bounds how long a partition that moves stands still. */
export const heartbeatMs = 500;

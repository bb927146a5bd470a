import { randomUUID } from 'node:crypto';

import { KpipeError } from '../../errors.ts';
import { GroupContact } from './contact.ts';
import type { GroupCoordinator } from './coordinator.ts';
import {
  heartbeatMs,
  ProtocolRefused,
  type GroupMembership,
  type MemberIdentity,
  type MembershipOptions,
  type PartitionHolder,
} from './membership.ts';
import { verdictOn } from './verdict.ts';

/** Member epochs with a meaning (KIP-848). */
const joining = 0;
const leaving = -1;
/** A static member goes and is expected back. */
const leavingForAWhile = -2;

/** Unlike the classic protocol, the brokers alone say how long a session is: 45 s unless they are told otherwise. */
const sessionMs = 45_000;
/** A static member that was killed keeps its instance id for a session. */
const unreleasedPatienceMs = 2 * sessionMs;

/**
 * A member by KIP-848. `run()` is one loop of ConsumerGroupHeartbeat. Each says what is owned whenever that has changed,
 * and everything after a failure, since the coordinator may not have heard it. Each may bring a target:
 *
 * - what it lacks is drained; the heartbeat after the last of a partition no longer lists it, and thereby frees it (the
 *   others stay listed and owned meanwhile). The coordinator evicts who needs longer than `rebalanceTimeoutMs`;
 * - what it adds is ours from now on, and the next heartbeat says so.
 *
 * FENCED_MEMBER_EPOCH and UNKNOWN_MEMBER_ID: lost; join again, as epoch 0, with the same member id.
 */
export class ConsumerMembership implements GroupMembership {
  readonly #coordinator: GroupCoordinator;
  readonly #holder: PartitionHolder;
  readonly #options: MembershipOptions;
  readonly #topicId: string;
  readonly #stop = new AbortController();
  readonly #contact: GroupContact;
  readonly #memberId = randomUUID();
  #epoch = joining;
  /** What the coordinator has been told that we own; null: tell it everything. */
  #told: string | null = null;
  #intervalMs = heartbeatMs;
  #unreleasedSince: number | null = null;
  #hasAsked = false;
  #hasJoined = false;

  constructor(
    coordinator: GroupCoordinator,
    holder: PartitionHolder,
    options: MembershipOptions & { readonly topicId: string },
  ) {
    this.#coordinator = coordinator;
    this.#holder = holder;
    this.#options = options;
    this.#topicId = options.topicId;
    this.#contact = new GroupContact(coordinator, options, this.#stop.signal);
  }

  get identity(): MemberIdentity | null {
    return this.#epoch === joining
      ? null
      : { memberId: this.#memberId, generation: this.#epoch, instanceId: this.#options.instanceId };
  }

  nextContact(): Promise<void> {
    return this.#contact.next();
  }

  released(): void {
    this.#contact.wake();
  }

  /** The coordinator sees that by itself. */
  topicGrew(): void {
    this.#contact.wake();
  }

  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#heartbeat();
        this.#contact.succeeded();
        if (this.#told === this.#owned()) {
          await this.#contact.pause(this.#intervalMs);
        }
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /** A text that is equal for equal ownership. */
  #owned(): string {
    return this.#holder.held.toSorted((left, right) => left - right).join(',');
  }

  async #heartbeat(): Promise<void> {
    const { group, topic, instanceId, rebalanceTimeoutMs } = this.#options;
    const isWhole = this.#told === null;
    const owned = this.#owned();
    const held = this.#epoch === joining ? [] : [...this.#holder.held];
    this.#hasAsked = true;
    const topicPartitions = held.length === 0 ? [] : [{ topicId: this.#topicId, partitions: held }];
    const response = await this.#coordinator.send(
      'quick',
      [this.#coordinator.driver.consumerGroupHeartbeatV1.api],
      group,
      this.#memberId,
      this.#epoch,
      instanceId,
      null,
      isWhole ? rebalanceTimeoutMs : -1,
      isWhole ? [topic] : null,
      null,
      null,
      isWhole || owned !== this.#told ? topicPartitions : null,
    );
    if (this.#stop.signal.aborted) {
      return;
    }
    this.#told = owned;
    this.#epoch = response.memberEpoch;
    this.#hasJoined = true;
    this.#unreleasedSince = null;
    this.#intervalMs = Math.min(heartbeatMs, response.heartbeatIntervalMs);
    if (response.assignment !== null) {
      // Another topic id under our topic's name is a topic that was made again: the topic watch tells of it.
      const ours = response.assignment.topicPartitions.filter(({ topicId }) => topicId === this.#topicId);
      this.#holder.aim(ours.flatMap(({ partitions }) => partitions));
    }
  }

  async #recover(error: unknown): Promise<void> {
    const { group, instanceId } = this.#options;
    this.#told = null;
    const verdict = verdictOn(error, group, instanceId);
    switch (verdict.kind) {
      case 'refused':
        this.#lose();
        throw this.#hasJoined ? verdict.error : new ProtocolRefused(verdict.error);
      case 'fatal':
        this.#lose();
        throw verdict.error;
      case 'unreleased':
        await this.#awaitRelease(error);
        return;
      case 'lost':
        this.#lose();
        await this.#contact.breathe();
        return;
      case 'rebalance':
      case 'retry':
        if (this.#epoch !== joining && this.#contact.isExpired(sessionMs)) {
          this.#lose();
        }
        await this.#contact.failed(error);
    }
  }

  /** The process that had our instance id was killed, or is still there: its session decides. */
  async #awaitRelease(error: unknown): Promise<void> {
    const { group, instanceId, now, notice } = this.#options;
    this.#lose();
    if (this.#unreleasedSince === null) {
      this.#unreleasedSince = now();
      notice(`another member of group ${group} has the instance id ${instanceId}; waiting for its session to end`);
    }
    if (now() - this.#unreleasedSince > unreleasedPatienceMs) {
      throw new KpipeError('KPIPE_KAFKA_FAILED', `another process has joined group ${group} as ${instanceId}`, {
        where: { group },
        next: 'give each process of a role its own kafka.group.instanceId, or stop one of the two',
        cause: error,
      });
    }
    await this.#contact.pause(1000);
  }

  #lose(): void {
    this.#epoch = joining;
    this.#told = null;
    this.#holder.lose();
  }

  async leave(): Promise<void> {
    this.#stop.abort();
    const { group, instanceId } = this.#options;
    if (!this.#hasAsked) {
      return;
    }
    const epoch = instanceId === null ? leaving : leavingForAWhile;
    const { api } = this.#coordinator.driver.consumerGroupHeartbeatV1;
    await this.#coordinator
      .send('quick', [api], group, this.#memberId, epoch, instanceId, null, -1, null, null, null, null)
      .catch(() => undefined);
  }
}

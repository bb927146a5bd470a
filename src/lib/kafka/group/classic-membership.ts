import { metadata } from '../topic-requests.ts';
import { KpipeError } from '../../errors.ts';
import { refusalsOf } from '../failures.ts';
import { GroupContact } from './contact.ts';
import type { GroupCoordinator } from './coordinator.ts';
import { assignCooperatively } from './cooperative-sticky.ts';
import {
  heartbeatMs,
  type GroupMembership,
  type MemberIdentity,
  type MembershipOptions,
  type PartitionHolder,
} from './membership.ts';
import { assignorName, decodeAssignment, decodeMember, encodeAssignments, encodeSubscription } from './subscription.ts';
import { verdictOn } from './verdict.ts';

const protocolType = 'consumer';
const noGeneration = -1;

/**
 * A member by the classic protocol. `run()` is one loop: join (JoinGroup, SyncGroup), aim at what the generation gives,
 * then heartbeats until there is a reason to join again:
 *
 * - the group rebalances: at once, with everything that is owned, unless something is being drained;
 * - what this generation took away is drained: this is the rebalance that gives it to others. A rebalance that begins
 *   while it drains waits for us as long as `rebalanceTimeoutMs`, and the others go on reading meanwhile;
 * - the topic grew, and we are the leader, who assigns.
 *
 * Between JoinGroup's answer and SyncGroup's the member has no identity: commits wait. Before, the old generation still
 * commits, so what is kept never stops for a rebalance.
 */
export class ClassicMembership implements GroupMembership {
  readonly #coordinator: GroupCoordinator;
  readonly #holder: PartitionHolder;
  readonly #options: MembershipOptions;
  readonly #stop = new AbortController();
  readonly #contact: GroupContact;
  #memberId = '';
  #generation = noGeneration;
  #isLeader = false;
  #mustRejoin = false;
  #identity: MemberIdentity | null = null;

  constructor(coordinator: GroupCoordinator, holder: PartitionHolder, options: MembershipOptions) {
    this.#coordinator = coordinator;
    this.#holder = holder;
    this.#options = options;
    this.#contact = new GroupContact(coordinator, options, this.#stop.signal);
  }

  get identity(): MemberIdentity | null {
    return this.#identity;
  }

  nextContact(): Promise<void> {
    return this.#contact.next();
  }

  released(): void {
    this.#contact.wake();
  }

  topicGrew(): void {
    if (this.#isLeader) {
      this.#mustRejoin = true;
      this.#contact.wake();
    }
  }

  async run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        const target = await this.#join();
        if (this.#stop.signal.aborted) {
          return;
        }
        this.#contact.succeeded();
        this.#holder.aim(target);
        await this.#stay();
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /** Answers what the new generation gives. */
  async #join(): Promise<readonly number[]> {
    const { driver } = this.#coordinator;
    const { group, topic, instanceId, sessionTimeoutMs, rebalanceTimeoutMs } = this.#options;
    this.#mustRejoin = false;
    const owned = this.#generation === noGeneration ? [] : this.#holder.held;
    const subscription = encodeSubscription(driver, { topic, owned, generation: this.#generation });
    const joined = await this.#coordinator
      .send(
        'patient',
        [driver.joinGroupV9.api],
        group,
        sessionTimeoutMs,
        rebalanceTimeoutMs,
        this.#memberId,
        instanceId,
        protocolType,
        [{ name: assignorName, metadata: subscription }],
        null,
      )
      .catch((error: unknown) => {
        this.#memberId = newMemberId(error) ?? this.#memberId;
        throw error;
      });
    this.#identity = null;
    this.#memberId = joined.memberId;
    this.#isLeader = joined.leader === joined.memberId;
    const assignments =
      this.#isLeader && !joined.skipAssignment ? encodeAssignments(driver, await this.#assign(joined.members)) : [];
    const { generationId: generation, protocolName } = joined;
    const synced = await this.#coordinator.send(
      'patient',
      [driver.syncGroupV5.api],
      group,
      generation,
      this.#memberId,
      instanceId,
      protocolType,
      protocolName,
      assignments,
    );
    this.#generation = generation;
    this.#identity = { memberId: this.#memberId, generation, instanceId };
    return decodeAssignment(driver, synced.assignment, topic);
  }

  /** Of the leader: what everybody gets. */
  async #assign(
    joined: readonly { readonly memberId: string; readonly metadata: Buffer }[],
  ): Promise<ReturnType<typeof assignCooperatively>> {
    const { driver, anyBroker } = this.#coordinator;
    const members = joined.map((member) => decodeMember(driver, member.memberId, member.metadata));
    const names = [...new Set(members.flatMap(({ topics }) => topics))];
    const { topics } = await metadata(anyBroker, { names });
    const partitionsOf = new Map(topics.map((topic) => [topic.name ?? '', topic.partitions.length]));
    if (!partitionsOf.has(this.#options.topic)) {
      // A broker that has not heard of the topic yet must not make the group drop every partition.
      throw new KpipeError('KPIPE_KAFKA_UNREACHABLE', `no broker knows topic ${this.#options.topic} at the moment`);
    }
    return assignCooperatively(members, partitionsOf);
  }

  /** Heartbeats until it is time to join again. */
  async #stay(): Promise<void> {
    const { driver } = this.#coordinator;
    const { group, instanceId, sessionTimeoutMs } = this.#options;
    const intervalMs = Math.min(heartbeatMs, sessionTimeoutMs / 3);
    let draining = this.#holder.isDraining;
    while (!this.#stop.signal.aborted) {
      await this.#contact.pause(intervalMs);
      if (this.#stop.signal.aborted || (draining && !this.#holder.isDraining) || this.#mustRejoin) {
        return;
      }
      draining = this.#holder.isDraining;
      try {
        const versions = [driver.heartbeatV4.api];
        await this.#coordinator.send('quick', versions, group, this.#generation, this.#memberId, instanceId);
        this.#contact.succeeded();
      } catch (error) {
        const verdict = verdictOn(error, group, instanceId);
        if (verdict.kind === 'rebalance' && draining) {
          // The rebalance waits for us.
          this.#contact.succeeded();
          continue;
        }
        if (verdict.kind !== 'retry') {
          throw error;
        }
        this.#loseIfExpired();
        await this.#contact.failed(error);
      }
    }
  }

  async #recover(error: unknown): Promise<void> {
    const verdict = verdictOn(error, this.#options.group, this.#options.instanceId);
    if (newMemberId(error) !== undefined) {
      return;
    }
    switch (verdict.kind) {
      case 'fatal':
      case 'refused':
        this.#lose();
        throw verdict.error;
      case 'rebalance':
        return;
      case 'lost':
        this.#lose();
        if (verdict.forget) {
          this.#memberId = '';
        }
        await this.#contact.breathe();
        return;
      case 'unreleased':
      case 'retry':
        this.#loseIfExpired();
        await this.#contact.failed(error);
    }
  }

  #loseIfExpired(): void {
    if (this.#generation !== noGeneration && this.#contact.isExpired(this.#options.sessionTimeoutMs)) {
      this.#lose();
    }
  }

  #lose(): void {
    this.#identity = null;
    this.#generation = noGeneration;
    this.#isLeader = false;
    this.#holder.lose();
  }

  /** A static member is expected back: its partitions wait for it until its session ends. */
  async leave(): Promise<void> {
    this.#stop.abort();
    const { group, instanceId } = this.#options;
    if (this.#memberId === '' || instanceId !== null) {
      return;
    }
    const members = [{ memberId: this.#memberId, groupInstanceId: null, reason: 'kpipe stops' }];
    await this.#coordinator
      .send('quick', [this.#coordinator.driver.leaveGroupV5.api], group, members)
      .catch(() => undefined);
  }
}

/** Who joins for the first time is only given a name, to join with (KIP-394). */
function newMemberId(error: unknown): string | undefined {
  const isNaming = refusalsOf(error).some(({ id }) => id === 'MEMBER_ID_REQUIRED');
  const response: unknown = isNaming ? Reflect.get(Object(error), 'response') : undefined;
  return typeof response === 'object' && response !== null && 'memberId' in response
    ? String(response.memberId)
    : undefined;
}

import type { KafkaConfig } from '../../config/load.ts';
import { withDeadline } from '../../deadline.ts';
import { KpipeError } from '../../errors.ts';
import type { Assignment, SourceListener } from '../../ports.ts';
import { isTransient } from '../failures.ts';
import { chooseProtocol, type GroupProtocol } from './choose-protocol.ts';
import { ClassicMembership } from './classic-membership.ts';
import { AssignmentCommits } from './commits.ts';
import { ConsumerMembership } from './consumer-membership.ts';
import { GroupCoordinator } from './coordinator.ts';
import { Holdings, type PartitionReader } from './holdings.ts';
import { ProtocolRefused, type GroupMembership, type MembershipOptions } from './membership.ts';
import { TopicWatch } from './topic-watch.ts';

export interface GroupMemberOptions {
  readonly topic: string;
  readonly group: string;
  readonly clientId: string;
  /** Static membership (KIP-345): the partitions of a member that restarts wait for it. */
  readonly instanceId: string | null;
  /** Told once when the group has not been reached for a while, and null when it is again. */
  readonly onAway: (reason: string | null) => void;
  readonly notice: (text: string) => void;
}

const rebalanceTimeoutMs = 60_000;
/** Less than a rebalance may take: who drains for longer would be evicted. */
const drainMs = 30_000;
const leaveDeadlineMs = 4000;
/** For a topic that was just made, and brokers that were just started. */
const startPatienceMs = 10_000;
/** For the coordinators of a cluster that no group has used yet: they are made when the first one is asked for. */
const coordinatorPatienceMs = 60_000;
const startRetryMs = 250;

/** A member of a group, with its partitions, its commits and an eye on the topic; how they are read is another's business. */
export class GroupMember {
  readonly #config: KafkaConfig;
  readonly #options: GroupMemberOptions;
  readonly #coordinator: GroupCoordinator;
  #holdings: Holdings | null = null;
  #membership: GroupMembership | null = null;
  #watch: TopicWatch | null = null;
  #stopped = false;

  private constructor(config: KafkaConfig, options: GroupMemberOptions, coordinator: GroupCoordinator) {
    this.#config = config;
    this.#options = options;
    this.#coordinator = coordinator;
  }

  static async open(config: KafkaConfig, options: GroupMemberOptions): Promise<GroupMember> {
    const { group, clientId } = options;
    const patienceMs = rebalanceTimeoutMs + 10_000;
    return new GroupMember(
      config,
      options,
      await GroupCoordinator.open(config, { group, clientId, patienceMs, now: Date.now }),
    );
  }

  /** Until `stop()`. @throws KpipeError when the member cannot go on, and what the listener throws */
  async run(listener: SourceListener, reader: PartitionReader): Promise<void> {
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => undefined);
    const commits = new AssignmentCommits(this.#coordinator, this.#options.group, () => this.#membership, Date.now);
    this.#holdings = new Holdings({
      topic: this.#options.topic,
      drainMs,
      listener,
      reader,
      commit: (assignment, offset, metadata) => commits.commit(assignment, offset, metadata),
      onReleased: () => this.#membership?.released(),
      onFailed: failed.reject,
    });
    await Promise.race([this.#join(this.#holdings, failed.reject), failed.promise]);
  }

  async #join(holdings: Holdings, onFailed: (error: unknown) => void): Promise<void> {
    const watch = await this.#watchTopic(onFailed);
    if (watch === null) {
      return;
    }
    this.#watch = watch;
    const { protocol: wanted } = this.#config.group;
    const protocol = wanted === 'auto' ? await this.#choose() : wanted;
    if (protocol === null) {
      return;
    }
    try {
      await this.#runAs(protocol, watch.topicId, holdings);
    } catch (error) {
      if (!(error instanceof ProtocolRefused)) {
        throw error;
      }
      if (wanted !== 'auto') {
        throw error.described;
      }
      await this.#runAs('classic', watch.topicId, holdings);
    }
  }

  async #runAs(protocol: GroupProtocol, topicId: string, holdings: Holdings): Promise<void> {
    if (this.#stopped) {
      return;
    }
    const options: MembershipOptions = {
      ...this.#options,
      sessionTimeoutMs: this.#config.sessionTimeout,
      rebalanceTimeoutMs,
      random: Math.random,
      now: Date.now,
    };
    this.#membership =
      protocol === 'classic'
        ? new ClassicMembership(this.#coordinator, holdings, options)
        : new ConsumerMembership(this.#coordinator, holdings, { ...options, topicId });
    await this.#membership.run();
  }

  /** Null: it was stopped meanwhile. */
  async #watchTopic(onFailed: (error: unknown) => void): Promise<TopicWatch | null> {
    const events = { grown: () => this.#membership?.topicGrew(), failed: onFailed };
    const start = () => TopicWatch.start(this.#coordinator.anyBroker, this.#options.topic, events);
    return this.#patiently(start, startPatienceMs);
  }

  /** Null: as above. */
  async #choose(): Promise<GroupProtocol | null> {
    const { anyBroker } = this.#coordinator;
    const choose = () => chooseProtocol(anyBroker, this.#options.group, this.#config.sessionTimeout);
    return this.#patiently(choose, coordinatorPatienceMs);
  }

  /** Null: it was stopped meanwhile. */
  async #patiently<Result>(attempt: () => Promise<Result>, patienceMs: number): Promise<Result | null> {
    const deadline = Date.now() + patienceMs;
    while (!this.#stopped) {
      try {
        return await attempt();
      } catch (error) {
        if (Date.now() > deadline || !isPassing(error)) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, startRetryMs));
      }
    }
    return null;
  }

  assignment(partition: number): Assignment | undefined {
    return this.#holdings?.assignment(partition);
  }

  quiesce(): void {
    this.#holdings?.quiesce();
  }

  /** Leaves, also where no broker answers: within 5 s. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#holdings?.end();
    this.#watch?.stop();
    const left = this.#membership?.leave() ?? Promise.resolve();
    await withDeadline(left, leaveDeadlineMs, 'not left').catch(() => undefined);
    await this.#coordinator.close();
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof KpipeError
    ? error.code === 'KPIPE_TOPIC_MISSING' || error.code === 'KPIPE_KAFKA_UNREACHABLE'
    : isTransient(error);
}

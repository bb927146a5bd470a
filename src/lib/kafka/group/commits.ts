import { DeadlineExpired, withDeadline } from '../../deadline.ts';
import { AssignmentLostError, type Assignment } from '../../ports.ts';
import { isAccessFailure } from '../access-failures.ts';
import { isConnectionLoss, isTransient, refusalsOf } from '../failures.ts';
import { codeOf, KpipeError, messageOf } from '../../errors.ts';
import type { GroupCoordinator } from './coordinator.ts';
import type { GroupMembership, MemberIdentity } from './membership.ts';

/** The group has moved on from the member: it may not commit, whatever the assignment believes. */
const lost = new Set(['UNKNOWN_MEMBER_ID', 'FENCED_INSTANCE_ID', 'FENCED_MEMBER_EPOCH']);
/** The generation or epoch that it was sent with is not the present one. If the assignment still stands, it has a newer one. */
const outdated = new Set(['REBALANCE_IN_PROGRESS', 'ILLEGAL_GENERATION', 'STALE_MEMBER_EPOCH']);

const patienceMs = 30_000;
const newsMs = 2000;

/**
 * Commits with metadata (OffsetCommit), as the member that the assignment belongs to. An assignment that is kept through
 * a rebalance has its new generation: a commit that came too early for it is sent again, as long as the assignment is
 * active; one that is not can't commit.
 */
export class AssignmentCommits {
  readonly #coordinator: GroupCoordinator;
  readonly #group: string;
  readonly #membership: () => GroupMembership | null;
  readonly #now: () => number;

  constructor(
    coordinator: GroupCoordinator,
    group: string,
    membership: () => GroupMembership | null,
    now: () => number,
  ) {
    this.#coordinator = coordinator;
    this.#group = group;
    this.#membership = membership;
    this.#now = now;
  }

  /** @throws AssignmentLostError; after 30 s without an answer KPIPE_KAFKA_UNREACHABLE */
  async commit(assignment: Assignment, offset: bigint, metadata: string): Promise<void> {
    const deadline = this.#now() + patienceMs;
    for (;;) {
      const membership = this.#membership();
      if (!assignment.active || membership === null) {
        throw new AssignmentLostError(`the assignment of partition ${assignment.partition} has ended`);
      }
      const failure = await this.#attempt(membership.identity, assignment, offset, metadata);
      if (failure === null) {
        return;
      }
      if (this.#now() > deadline) {
        throw new KpipeError('KPIPE_KAFKA_UNREACHABLE', `offset ${offset} was not committed: ${messageOf(failure)}`, {
          where: { topic: assignment.topic, partition: assignment.partition, group: this.#group },
          cause: failure,
        });
      }
      // With the next heartbeat more is known: a new generation, a new coordinator, or that the assignment is lost.
      await withDeadline(membership.nextContact(), newsMs, 'no news').catch((error: unknown) => {
        if (!(error instanceof DeadlineExpired)) {
          throw error;
        }
      });
    }
  }

  /** Null: it is committed. @throws what another attempt would not change */
  async #attempt(
    identity: MemberIdentity | null,
    assignment: Assignment,
    offset: bigint,
    metadata: string,
  ): Promise<unknown> {
    if (identity === null) {
      return new KpipeError('KPIPE_KAFKA_UNREACHABLE', `the member is joining group ${this.#group}`);
    }
    try {
      await this.#send(identity, assignment, offset, metadata);
      return null;
    } catch (error) {
      const ids = refusalsOf(error).map(({ id }) => id);
      if (ids.some((id) => lost.has(id))) {
        throw new AssignmentLostError(`group ${this.#group} has moved on`, { cause: error });
      }
      if (ids.some((id) => outdated.has(id)) || isAway(error)) {
        return error;
      }
      throw error;
    }
  }

  async #send(
    { memberId, generation, instanceId }: MemberIdentity,
    { topic, partition }: Assignment,
    offset: bigint,
    metadata: string,
  ): Promise<void> {
    const { driver } = this.#coordinator;
    const entry = {
      partitionIndex: partition,
      committedOffset: offset,
      committedLeaderEpoch: -1,
      committedMetadata: metadata,
    };
    const topics = [{ name: topic, partitions: [entry] }];
    const versions = [driver.offsetCommitV9.api, driver.offsetCommitV8.api];
    await this.#coordinator.send('commits', versions, this.#group, generation, memberId, instanceId, topics);
  }
}

function isAway(error: unknown): boolean {
  return (
    isTransient(error) ||
    isAccessFailure(error) ||
    isConnectionLoss(error) ||
    (error instanceof KpipeError ? error.code === 'KPIPE_KAFKA_UNREACHABLE' : /^E[A-Z]+$/.test(codeOf(error) ?? ''))
  );
}

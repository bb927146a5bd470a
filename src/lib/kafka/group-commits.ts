import type { KafkaConfig } from '../config/load.ts';
import { AssignmentLostError, type GroupCommit } from '../ports.ts';
import { KafkaConnections } from './connections.ts';
import { isConnectionLoss, isTransient, refusalsOf } from './failures.ts';
import { coordinator } from './group-requests.ts';

/** Who commits: the broker refuses any generation but the group's present one. */
export interface Membership {
  readonly memberId: string;
  readonly generation: number;
}

/** What the coordinator answers to a member that the group has moved on from. */
const movedOn = new Set([
  'ILLEGAL_GENERATION',
  'UNKNOWN_MEMBER_ID',
  'REBALANCE_IN_PROGRESS',
  'FENCED_INSTANCE_ID',
  'STALE_MEMBER_EPOCH',
]);

const attempts = 20;

/** OffsetCommit with metadata, sent as exactly the member and generation given: a later one lends it no right. */
export class GroupCommits {
  readonly #kafka: KafkaConnections;
  readonly #group: string;

  private constructor(kafka: KafkaConnections, group: string) {
    this.#kafka = kafka;
    this.#group = group;
  }

  static async open(config: KafkaConfig, group: string): Promise<GroupCommits> {
    return new GroupCommits(await KafkaConnections.prepare(config, 10_000), group);
  }

  /** @throws AssignmentLostError when the membership is not the group's any more; else what the broker or network says */
  async commit(membership: Membership, commits: readonly GroupCommit[]): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await commitRequest(this.#kafka, this.#group, membership, commits);
        return;
      } catch (error) {
        const refusals = refusalsOf(error);
        if (refusals.some(({ id }) => movedOn.has(id))) {
          throw new AssignmentLostError(`the group ${this.#group} has moved on`, { cause: error });
        }
        if (attempt === attempts || !(isTransient(error) || isConnectionLoss(error))) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, 50 * attempt));
      }
    }
  }

  close(): Promise<void> {
    return this.#kafka.close();
  }
}

/** One OffsetCommit, in the name of the membership. Throws what the broker or the network says. */
export async function commitRequest(
  kafka: KafkaConnections,
  group: string,
  membership: Membership,
  commits: readonly GroupCommit[],
): Promise<void> {
  const { driver } = kafka;
  const broker = await coordinator(kafka, group);
  const topics = [...Map.groupBy(commits, ({ topic }) => topic)].map(([name, entries]) => ({
    name,
    partitions: entries.map(({ partition, offset, metadata }) => ({
      partitionIndex: partition,
      committedOffset: offset,
      committedLeaderEpoch: -1,
      committedMetadata: metadata ?? '',
    })),
  }));
  const versions = [driver.offsetCommitV9.api, driver.offsetCommitV8.api];
  await kafka.request(broker, versions, group, membership.generation, membership.memberId, null, topics);
}

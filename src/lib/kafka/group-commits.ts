import type { GroupCommit } from '../ports.ts';
import type { KafkaConnections } from './connections.ts';
import { coordinator } from './group-requests.ts';

/** Who commits: the broker refuses any generation but the group's present one. */
export interface Membership {
  readonly memberId: string;
  readonly generation: number;
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

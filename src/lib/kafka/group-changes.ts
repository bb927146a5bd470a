import { KpipeError } from '../errors.ts';
import type { GroupCommit, TopicPartition } from '../ports.ts';
import type { KafkaConnections } from './connections.ts';
import { refusalsOf } from './failures.ts';
import { commitRequest } from './group-commits.ts';
import { coordinator } from './group-requests.ts';

/** Changes of groups from outside, as nobody's member: the coordinator lets that be done to groups without members only. */
const noMember = { memberId: '', generation: -1 } as const;

/** How a coordinator says that the group has members (or that a member reads the topic). */
const hasMembers = new Set([
  'UNKNOWN_MEMBER_ID',
  'ILLEGAL_GENERATION',
  'STALE_MEMBER_EPOCH',
  'REBALANCE_IN_PROGRESS',
  'NON_EMPTY_GROUP',
  'GROUP_SUBSCRIBED_TO_TOPIC',
]);
const isUnknown = new Set(['GROUP_ID_NOT_FOUND']);

/** Commits in one request, classic and KIP-848 groups alike. @throws KPIPE_REFUSED when the group has members */
export async function commitOffsets(
  kafka: KafkaConnections,
  group: string,
  commits: readonly GroupCommit[],
): Promise<void> {
  await refusing(group, () => commitRequest(kafka, group, noMember, commits));
}

/** As if the group had never committed them. @throws KPIPE_REFUSED when a member reads the topic */
export async function forgetOffsets(
  kafka: KafkaConnections,
  group: string,
  partitions: readonly TopicPartition[],
): Promise<void> {
  const topics = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, ofTopic]) => ({
    name,
    partitions: ofTopic.map(({ partition }) => ({ partitionIndex: partition })),
  }));
  await refusing(group, async () => {
    const { offsetDeleteV0 } = kafka.driver;
    await kafka.request(await coordinator(kafka, group), [offsetDeleteV0.api], group, topics);
  });
}

/** @throws KPIPE_REFUSED when the group has members; KPIPE_USAGE when there is none of that name */
export async function deleteGroup(kafka: KafkaConnections, group: string): Promise<void> {
  await refusing(group, async () => {
    const { driver } = kafka;
    const versions = [driver.deleteGroupsV2.api, driver.deleteGroupsV1.api];
    await kafka.request(await coordinator(kafka, group), versions, [group]);
  });
}

async function refusing(group: string, change: () => Promise<unknown>): Promise<void> {
  try {
    await change();
  } catch (error) {
    const ids = refusalsOf(error).map(({ id }) => id);
    if (ids.some((id) => hasMembers.has(id))) {
      throw new KpipeError('KPIPE_REFUSED', `the group ${group} has members`, {
        where: { group },
        next: `stop its consumers; \`kpipe groups describe ${group}\` shows them`,
        cause: error,
      });
    }
    if (ids.some((id) => isUnknown.has(id))) {
      throw new KpipeError('KPIPE_USAGE', `there is no consumer group ${group}`, {
        next: '`kpipe groups list` shows what there is',
        cause: error,
      });
    }
    throw error;
  }
}

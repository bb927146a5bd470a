import type { CommittedOffset, GroupDescription, TopicPartition } from '../ports.ts';
import { understands, type BrokerConnection, type KafkaConnections, type KafkaDriver } from './connections.ts';
import { refusalsOf } from './failures.ts';
import { metadata } from './topic-requests.ts';

/** Requests about consumer groups: of the classic protocol, and of KIP-848 (`consumer`). */

/** Every broker knows the groups that it coordinates. */
export async function listGroups(
  kafka: KafkaConnections,
): Promise<readonly { readonly group: string; readonly protocol: string; readonly state: string }[]> {
  const { driver } = kafka;
  const { brokers } = await metadata(kafka, { names: [] });
  const versions = [driver.listGroupsV5.api, driver.listGroupsV4.api];
  const lists = await Promise.all(
    brokers.map(async (address) => kafka.request(await kafka.to(address), versions, [], [])),
  );
  return lists
    .flatMap(({ groups }) => groups)
    .map(({ groupId, groupType, groupState }) => ({
      group: groupId,
      // Version 4 does not say: there were only classic groups.
      protocol: groupType === undefined || groupType === '' ? 'classic' : groupType.toLowerCase(),
      state: groupState,
    }))
    .toSorted((left, right) => (left.group < right.group ? -1 : 1));
}

/** The broker that coordinates the group. */
export async function coordinator(kafka: KafkaConnections, group: string): Promise<BrokerConnection> {
  const { driver } = kafka;
  const versions = [driver.findCoordinatorV6.api, driver.findCoordinatorV5.api, driver.findCoordinatorV4.api];
  const response = await kafka.request(await kafka.any(), versions, driver.FindCoordinatorKeyTypes.GROUP, [group]);
  const found = response.coordinators[0];
  return found === undefined ? kafka.any() : kafka.to(found);
}

/** ConsumerGroupDescribe first: the classic request says of a live KIP-848 group that it is Dead. */
export async function describeGroup(kafka: KafkaConnections, group: string): Promise<GroupDescription> {
  const broker = await coordinator(kafka, group);
  return (await describeConsumerGroup(kafka, broker, group)) ?? describeClassicGroup(kafka, broker, group);
}

/** What the new request answers for groups that are not its own, and where it is switched off. */
const notItsOwn = new Set(['GROUP_ID_NOT_FOUND', 'UNSUPPORTED_VERSION']);

async function describeConsumerGroup(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  group: string,
): Promise<GroupDescription | undefined> {
  const { api } = kafka.driver.consumerGroupDescribeV0;
  if (!understands(broker, api)) {
    return undefined;
  }
  try {
    const response = await kafka.request(broker, [api], [group], false);
    const found = response.groups[0];
    return found === undefined ? undefined : consumerGroup(found);
  } catch (error) {
    const refusals = refusalsOf(error);
    if (refusals.length > 0 && refusals.every(({ id }) => notItsOwn.has(id))) {
      return undefined;
    }
    throw error;
  }
}

type Described<Request extends 'consumerGroupDescribeV0' | 'describeGroupsV5'> = Awaited<
  ReturnType<KafkaDriver[Request]['api']['async']>
>['groups'][number];

/** A group of KIP-848 out of an answer without an error. */
export function consumerGroup(found: Described<'consumerGroupDescribeV0'>): GroupDescription {
  return {
    group: found.groupId,
    protocol: 'consumer',
    state: found.groupState,
    members: found.members.map((member) => ({
      memberId: member.memberId,
      instanceId: member.instanceId ?? null,
      clientId: member.clientId,
      host: member.clientHost.replace(/^\//, ''),
      assignment: member.assignment.topicPartitions.flatMap(({ topicName, partitions }) =>
        partitions.map((partition) => ({ topic: topicName, partition })),
      ),
    })),
  };
}

async function describeClassicGroup(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  group: string,
): Promise<GroupDescription> {
  const response = await kafka.request(broker, [kafka.driver.describeGroupsV5.api], [group], false);
  const found = response.groups[0];
  return found === undefined ? deadGroup(group) : classicGroup(kafka, found);
}

/** A classic group out of an answer without an error; Kafka says Dead of what it does not know. */
export function classicGroup(kafka: KafkaConnections, found: Described<'describeGroupsV5'>): GroupDescription {
  if (found.groupState === 'Dead') {
    return deadGroup(found.groupId);
  }
  return {
    group: found.groupId,
    protocol: 'classic',
    state: found.groupState,
    members: found.members.map((member) => ({
      memberId: member.memberId,
      instanceId: member.groupInstanceId ?? null,
      clientId: member.clientId,
      host: member.clientHost.replace(/^\//, ''),
      assignment: found.protocolType === 'consumer' ? classicAssignment(kafka, member.memberAssignment) : [],
    })),
  };
}

function deadGroup(group: string): GroupDescription {
  return { group, protocol: null, state: 'Dead', members: [] };
}

/** A member's own bytes: another client may have written anything, which is no reason not to show the group. */
function classicAssignment(kafka: KafkaConnections, bytes: Buffer): readonly TopicPartition[] {
  try {
    return kafka.driver
      .decodeConsumerProtocolAssignment(bytes)
      .assignedPartitions.flatMap(({ topic, partitions }) => partitions.map((partition) => ({ topic, partition })));
  } catch {
    return [];
  }
}

/** Empty for a group that never committed or does not exist. */
export async function committedOffsets(kafka: KafkaConnections, group: string): Promise<readonly CommittedOffset[]> {
  const { driver } = kafka;
  const broker = await coordinator(kafka, group);
  const request = { groupId: group, memberId: null, memberEpoch: -1, topics: null };
  try {
    const versions = [driver.offsetFetchV9.api, driver.offsetFetchV8.api];
    const response = await kafka.request(broker, versions, [request], false);
    return response.groups.flatMap(({ topics }) => committedBy(topics));
  } catch (error) {
    const refusals = refusalsOf(error);
    if (refusals.length > 0 && refusals.every(({ id }) => id === 'GROUP_ID_NOT_FOUND')) {
      return [];
    }
    throw error;
  }
}

type CommittedTopic = Awaited<
  ReturnType<KafkaDriver['offsetFetchV9']['api']['async']>
>['groups'][number]['topics'][number];

export function committedBy(topics: readonly CommittedTopic[]): readonly CommittedOffset[] {
  return topics.flatMap(({ name, partitions }) =>
    partitions
      .filter(({ committedOffset }) => committedOffset >= 0n)
      .map(({ partitionIndex, committedOffset, metadata: text }) => ({
        topic: name,
        partition: partitionIndex,
        offset: committedOffset,
        metadata: text ?? '',
      })),
  );
}

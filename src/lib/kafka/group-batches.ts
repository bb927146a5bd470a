import type { CommittedOffset, GroupDescription } from '../ports.ts';
import { answered, partly, type Answered } from './answers.ts';
import type { NamedBroker } from './broker-calls.ts';
import { understands, type BrokerConnection, type KafkaConnections } from './connections.ts';
import { classicGroup, committedBy, consumerGroup } from './group-requests.ts';

/** The questions of group-requests.ts for many groups at once: each request carries all that one broker can answer. */

/** Who coordinates each group; any broker knows. */
export async function findCoordinators(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  groups: readonly string[],
): Promise<ReadonlyMap<string, Answered<NamedBroker>>> {
  const { driver } = kafka;
  const versions = [driver.findCoordinatorV6.api, driver.findCoordinatorV5.api, driver.findCoordinatorV4.api];
  const { coordinators } = await partly(
    kafka.request(broker, versions, driver.FindCoordinatorKeyTypes.GROUP, [...groups]),
  );
  return new Map(
    coordinators.map((found) => [
      found.key,
      answered(kafka, found, () => ({ nodeId: found.nodeId, host: found.host, port: found.port })),
    ]),
  );
}

/** Both protocols are asked at once: only the answers tell which of them a group speaks. */
export async function describeGroupsAt(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  groups: readonly string[],
): Promise<ReadonlyMap<string, Answered<GroupDescription>>> {
  const [consumer, classic] = await Promise.all([
    describeConsumerGroups(kafka, broker, groups),
    describeClassicGroups(kafka, broker, groups),
  ]);
  return new Map([...classic].map(([group, answer]) => [group, ofEither(consumer.get(group), answer)]));
}

/** What the new request answers for groups that are not its own, and where it is switched off. */
const notItsOwn = new Set(['GROUP_ID_NOT_FOUND', 'UNSUPPORTED_VERSION']);

/** The new request goes first: the classic one says of a live KIP-848 group that it is Dead. */
function ofEither(
  consumer: Answered<GroupDescription> | undefined,
  classic: Answered<GroupDescription>,
): Answered<GroupDescription> {
  return consumer === undefined || (consumer.kind === 'refused' && notItsOwn.has(consumer.refusal.id))
    ? classic
    : consumer;
}

async function describeConsumerGroups(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  names: readonly string[],
): Promise<ReadonlyMap<string, Answered<GroupDescription>>> {
  const { api } = kafka.driver.consumerGroupDescribeV0;
  if (!understands(broker, api)) {
    return new Map();
  }
  const { groups } = await partly(kafka.request(broker, [api], [...names], false));
  return new Map(groups.map((found) => [found.groupId, answered(kafka, found, () => consumerGroup(found))]));
}

async function describeClassicGroups(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  names: readonly string[],
): Promise<ReadonlyMap<string, Answered<GroupDescription>>> {
  const { api } = kafka.driver.describeGroupsV5;
  const { groups } = await partly(kafka.request(broker, [api], [...names], false));
  return new Map(groups.map((found) => [found.groupId, answered(kafka, found, () => classicGroup(kafka, found))]));
}

/** Empty for a group that never committed or does not exist. */
export async function committedOffsetsAt(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  names: readonly string[],
): Promise<ReadonlyMap<string, Answered<readonly CommittedOffset[]>>> {
  const { driver } = kafka;
  const requests = names.map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics: null }));
  const versions = [driver.offsetFetchV9.api, driver.offsetFetchV8.api];
  const { groups } = await partly(kafka.request(broker, versions, requests, false));
  return new Map(
    groups.map((found) => {
      const answer = answered(kafka, found, () => committedBy(found.topics));
      const isAbsent = answer.kind === 'refused' && answer.refusal.id === 'GROUP_ID_NOT_FOUND';
      return [found.groupId, isAbsent ? { kind: 'known', value: [] } : answer];
    }),
  );
}

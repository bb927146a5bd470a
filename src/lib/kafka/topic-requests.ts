import type { ClusterDescription, ConfigAlteration, NewTopic, TopicConfigEntry, TopicDescription } from '../ports.ts';
import { partly } from './answers.ts';
import type { BrokerConnection, KafkaConnections, MetadataResponse } from './connections.ts';
import { refusalsOf } from './failures.ts';

/** Requests about topics. Whatever a broker refuses is thrown as the driver throws it. */

/** Error code of a topic that does not exist. */
export const unknownTopic = 3;

interface MetadataOptions {
  /** null: every topic. Empty: none, only the cluster. */
  readonly names: readonly string[] | null;
  readonly rights?: boolean;
}

/** Cluster metadata; topics that don't exist are left out. Never creates a topic, whatever the broker's default is. */
export async function metadata(kafka: KafkaConnections, options: MetadataOptions): Promise<MetadataResponse> {
  const request = requestMetadata(kafka, await kafka.any(), options);
  try {
    return await request;
  } catch (error) {
    const refusals = refusalsOf(error);
    // LEADER_NOT_AVAILABLE is a state to be shown (leader -1), not a failure to look.
    if (!refusals.every(({ id }) => id === 'UNKNOWN_TOPIC_OR_PARTITION' || id === 'LEADER_NOT_AVAILABLE')) {
      throw error;
    }
    const response = await partly(request);
    return { ...response, topics: response.topics.filter((topic) => topic.errorCode !== unknownTopic) };
  }
}

/** The same of one broker, as it answers: each topic and partition has an error code. */
export function requestMetadata(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  { names, rights = false }: MetadataOptions,
): Promise<MetadataResponse> {
  const { driver } = kafka;
  const versions = [driver.metadataV12.api, driver.metadataV11.api, driver.metadataV10.api];
  return kafka.request(broker, versions, names === null ? null : [...names], false, rights);
}

export async function describeCluster(kafka: KafkaConnections): Promise<ClusterDescription> {
  const response = await metadata(kafka, { names: [] });
  const brokers = response.brokers
    .map(({ nodeId, host, port, rack }) => ({ id: nodeId, host, port, rack: rack ?? null }))
    .toSorted((left, right) => left.id - right.id);
  return { clusterId: response.clusterId ?? '', controllerId: response.controllerId, brokers };
}

export async function listTopics(kafka: KafkaConnections): Promise<readonly { name: string; internal: boolean }[]> {
  const response = await metadata(kafka, { names: null });
  return response.topics.toSorted(byName).map((topic) => ({ name: topic.name ?? '', internal: topic.isInternal }));
}

type TopicMetadata = MetadataResponse['topics'][number];

function byName(left: TopicMetadata, right: TopicMetadata): number {
  return (left.name ?? '') < (right.name ?? '') ? -1 : 1;
}

export async function describeTopics(
  kafka: KafkaConnections,
  names: readonly string[] | null,
): Promise<readonly TopicDescription[]> {
  if (names?.length === 0) {
    return [];
  }
  const response = await metadata(kafka, { names });
  const topics = names === null ? response.topics.toSorted(byName) : response.topics;
  return topics.map((topic) => ({
    name: topic.name ?? '',
    id: topic.topicId,
    internal: topic.isInternal,
    partitions: topic.partitions
      .map((partition) => ({
        partition: partition.partitionIndex,
        leader: partition.leaderId,
        replicas: partition.replicaNodes,
        isr: partition.isrNodes,
      }))
      .toSorted((left, right) => left.partition - right.partition),
  }));
}

const configSources: Readonly<Record<number, TopicConfigEntry['source']>> = { 1: 'topic', 5: 'default' };
const brokerSources: Readonly<Record<number, NonNullable<TopicConfigEntry['brokerSource']>>> = {
  2: 'broker dynamic',
  3: 'cluster dynamic',
  4: 'broker file',
};

export async function topicConfigs(
  kafka: KafkaConnections,
  names: readonly string[],
): Promise<ReadonlyMap<string, ReadonlyMap<string, TopicConfigEntry>>> {
  if (names.length === 0) {
    return new Map();
  }
  const { driver } = kafka;
  const resources = names.map((resourceName) => ({ resourceType: driver.ConfigResourceTypes.TOPIC, resourceName }));
  const versions = [driver.describeConfigsV4.api, driver.describeConfigsV3.api];
  const request = kafka.request(await kafka.any(), versions, resources, false, false);
  const { results } = await request.catch(async (error: unknown) => {
    // A topic that does not exist is one error among the answers.
    if (!refusalsOf(error).every(({ id }) => id === 'UNKNOWN_TOPIC_OR_PARTITION')) {
      throw error;
    }
    return partly(request);
  });
  return new Map(
    results
      .filter(({ errorCode }) => errorCode !== unknownTopic)
      .map((result) => [
        result.resourceName,
        new Map(
          result.configs.map((entry) => [
            entry.name,
            {
              value: entry.value ?? null,
              source: configSources[entry.configSource] ?? 'broker',
              sensitive: entry.isSensitive,
              ...brokerSource(entry.configSource),
            },
          ]),
        ),
      ]),
  );
}

function brokerSource(source: number): Pick<TopicConfigEntry, 'brokerSource'> {
  const named = brokerSources[source];
  return named === undefined ? {} : { brokerSource: named };
}

/** What Kafka lets this user do with a topic. Without an authorizer, everything. */
export interface TopicRights {
  readonly read: boolean;
  readonly write: boolean;
  readonly alter: boolean;
}

/** Bits of `topic_authorized_operations` (AclOperation's codes); the sign bit alone means: not told. */
const operationBits = { read: 3, write: 4, alter: 7 } as const;
const notTold = -2_147_483_648;

export async function topicRights(
  kafka: KafkaConnections,
  names: readonly string[],
): Promise<ReadonlyMap<string, TopicRights>> {
  if (names.length === 0) {
    return new Map();
  }
  const response = await metadata(kafka, { names, rights: true });
  return new Map(
    response.topics
      .filter((topic) => topic.topicAuthorizedOperations !== notTold)
      .map((topic) => {
        const has = (bit: number): boolean => (topic.topicAuthorizedOperations & (1 << bit)) !== 0;
        const rights = {
          read: has(operationBits.read),
          write: has(operationBits.write),
          alter: has(operationBits.alter),
        };
        return [topic.name ?? '', rights];
      }),
  );
}

/** Changes go to the controller where there is ZooKeeper; with KRaft any broker passes them on. */
export async function controller(kafka: KafkaConnections): Promise<BrokerConnection> {
  const response = await metadata(kafka, { names: [] });
  const address = response.brokers.find(({ nodeId }) => nodeId === response.controllerId);
  return address === undefined ? kafka.any() : kafka.to(address);
}

export async function createTopic(
  kafka: KafkaConnections,
  topic: NewTopic,
  validateOnly: boolean,
  timeoutMs: number,
): Promise<void> {
  const { driver } = kafka;
  const request = {
    name: topic.name,
    numPartitions: topic.partitions,
    replicationFactor: topic.replicationFactor,
    assignments: [],
    configs: Object.entries(topic.config).map(([name, value]) => ({ name, value })),
  };
  const versions = [driver.createTopicsV7.api, driver.createTopicsV6.api, driver.createTopicsV5.api];
  await kafka.request(await controller(kafka), versions, [request], timeoutMs, validateOnly);
}

export async function createPartitions(
  kafka: KafkaConnections,
  topic: string,
  count: number,
  validateOnly: boolean,
  timeoutMs: number,
): Promise<void> {
  const { driver } = kafka;
  const request = { name: topic, count, assignments: null };
  const versions = [driver.createPartitionsV3.api, driver.createPartitionsV2.api];
  await kafka.request(await controller(kafka), versions, [request], timeoutMs, validateOnly);
}

/** Incremental only: the older AlterConfigs resets every key that it is not given. */
export async function alterConfigs(
  kafka: KafkaConnections,
  alteration: ConfigAlteration,
  validateOnly: boolean,
): Promise<void> {
  const { driver } = kafka;
  const { SET, DELETE } = driver.IncrementalAlterConfigOperationTypes;
  const resource = {
    resourceType: driver.ConfigResourceTypes.TOPIC,
    resourceName: alteration.topic,
    configs: Object.entries(alteration.set).map(([name, value]) =>
      value === null ? { name, configOperation: DELETE } : { name, configOperation: SET, value },
    ),
  };
  const versions = [driver.incrementalAlterConfigsV1.api, driver.incrementalAlterConfigsV0.api];
  await kafka.request(await controller(kafka), versions, [resource], validateOnly);
}

export async function deleteTopic(kafka: KafkaConnections, name: string, timeoutMs: number): Promise<void> {
  await kafka.request(await controller(kafka), [kafka.driver.deleteTopicsV6.api], [{ name }], timeoutMs);
}

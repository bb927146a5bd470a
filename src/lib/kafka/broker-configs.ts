import { KpipeError } from '../errors.ts';
import type { BrokerConnection, KafkaConnections } from './connections.ts';
import { metadata } from './topic-requests.ts';

/** Of DescribeConfigs: a value that was set for this one broker at run time. */
const dynamicBrokerConfig = 2;

/** What was set for this broker at run time, of these keys. */
export async function brokerConfig(
  kafka: KafkaConnections,
  broker: number,
  keys: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const { driver } = kafka;
  const resource = {
    resourceType: driver.ConfigResourceTypes.BROKER,
    resourceName: String(broker),
    configurationKeys: [...keys],
  };
  const versions = [driver.describeConfigsV4.api, driver.describeConfigsV3.api];
  const { results } = await kafka.request(await brokerById(kafka, broker), versions, [resource], false, false);
  return Object.fromEntries(
    results.flatMap(({ configs }) =>
      configs.flatMap(({ name, value, configSource }) =>
        configSource === dynamicBrokerConfig && value !== null && value !== undefined ? [[name, value] as const] : [],
      ),
    ),
  );
}

/** A broker takes changes of its own configuration only from itself. */
export async function alterBrokerConfig(
  kafka: KafkaConnections,
  broker: number,
  set: Readonly<Record<string, string | null>>,
): Promise<void> {
  const { driver } = kafka;
  const { SET, DELETE } = driver.IncrementalAlterConfigOperationTypes;
  const resource = {
    resourceType: driver.ConfigResourceTypes.BROKER,
    resourceName: String(broker),
    configs: Object.entries(set).map(([name, value]) =>
      value === null ? { name, configOperation: DELETE } : { name, configOperation: SET, value },
    ),
  };
  const versions = [driver.incrementalAlterConfigsV1.api, driver.incrementalAlterConfigsV0.api];
  await kafka.request(await brokerById(kafka, broker), versions, [resource], false);
}

async function brokerById(kafka: KafkaConnections, broker: number): Promise<BrokerConnection> {
  const { brokers } = await metadata(kafka, { names: [] });
  const address = brokers.find(({ nodeId }) => nodeId === broker);
  if (address === undefined) {
    throw new KpipeError('KPIPE_KAFKA_UNREACHABLE', `broker ${broker} is down`, {
      where: { broker },
      next: `start broker ${broker}`,
    });
  }
  return kafka.to(address);
}

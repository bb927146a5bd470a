import { understands, type KafkaConnections } from '../connections.ts';
import { isTransient } from '../failures.ts';
import { describeGroup } from '../group-requests.ts';

export type GroupProtocol = 'classic' | 'consumer';

/**
 * Which protocol to join a group with when nobody has said: the one that its living members speak, so that no group is
 * converted under them. For a group without members KIP-848's, where the brokers know it and would miss a silent member
 * as soon as the classic protocol does: with KIP-848 the session is theirs to set (45 s unless they were told otherwise).
 * @throws KPIPE_KAFKA_UNREACHABLE, or what the broker refuses with
 */
export async function chooseProtocol(
  kafka: KafkaConnections,
  group: string,
  sessionTimeoutMs: number,
): Promise<GroupProtocol> {
  const { protocol, members } = await describeGroup(kafka, group);
  if (protocol !== null && members.length > 0) {
    return protocol;
  }
  if (!understands(await kafka.any(), kafka.driver.consumerGroupHeartbeatV1.api)) {
    return 'classic';
  }
  const theirs = await consumerSessionMs(kafka, group);
  return theirs !== null && theirs <= sessionTimeoutMs ? 'consumer' : 'classic';
}

/** For how long the brokers wait for a silent member of a KIP-848 group; null: they do not tell this user. */
async function consumerSessionMs(kafka: KafkaConnections, group: string): Promise<number | null> {
  const { driver } = kafka;
  const key = 'consumer.session.timeout.ms';
  const resource = {
    resourceType: driver.ConfigResourceTypes.GROUP,
    resourceName: group,
    configurationKeys: [key],
  };
  try {
    const { results } = await kafka.request(
      await kafka.any(),
      [driver.describeConfigsV4.api, driver.describeConfigsV3.api],
      [resource],
      false,
      false,
    );
    const value = results[0]?.configs.find(({ name }) => name === key)?.value;
    return value === undefined || value === null ? null : Number(value);
  } catch (error) {
    if (isTransient(error)) {
      throw error;
    }
    return null;
  }
}

import { understands, type KafkaConnections } from '../connections.ts';
import { describeGroup } from '../group-requests.ts';

export type GroupProtocol = 'classic' | 'consumer';

/**
 * Which protocol to join a group with when nobody has said: the one that its living members speak, so that no group is
 * converted under them; for a group without members KIP-848's, where the broker knows it.
 * @throws KPIPE_KAFKA_UNREACHABLE, or what the broker refuses with
 */
export async function chooseProtocol(kafka: KafkaConnections, group: string): Promise<GroupProtocol> {
  const { protocol, members } = await describeGroup(kafka, group);
  if (protocol !== null && members.length > 0) {
    return protocol;
  }
  return understands(await kafka.any(), kafka.driver.consumerGroupHeartbeatV1.api) ? 'consumer' : 'classic';
}

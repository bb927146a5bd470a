import type { Reassignment, ReplicaAssignment } from '../ports.ts';
import type { KafkaConnections } from './connections.ts';
import { controller } from './topic-requests.ts';

/** Starts moves of replicas. The controller answers when it has written them down; the brokers copy afterwards. */
export async function reassign(
  kafka: KafkaConnections,
  assignments: readonly ReplicaAssignment[],
  timeoutMs: number,
): Promise<void> {
  const { driver } = kafka;
  const request = [...Map.groupBy(assignments, ({ topic }) => topic)].map(([name, ofTopic]) => ({
    name,
    partitions: ofTopic.map(({ partition, replicas }) => ({ partitionIndex: partition, replicas: [...replicas] })),
  }));
  const versions = [driver.alterPartitionReassignmentsV1.api, driver.alterPartitionReassignmentsV0.api];
  await kafka.request(await controller(kafka), versions, timeoutMs, true, request);
}

/** Every move of the cluster that is not finished. */
export async function listReassignments(kafka: KafkaConnections, timeoutMs: number): Promise<readonly Reassignment[]> {
  const versions = [kafka.driver.listPartitionReassignmentsV0.api];
  const { topics } = await kafka.request(await controller(kafka), versions, timeoutMs, null);
  return topics.flatMap(({ name, partitions }) =>
    partitions.map(({ partitionIndex, replicas, addingReplicas, removingReplicas }) => ({
      topic: name,
      partition: partitionIndex,
      replicas,
      adding: addingReplicas,
      removing: removingReplicas,
    })),
  );
}

import type { PartitionPosition } from '../ports.ts';
import type { KafkaConnections } from './connections.ts';
import { groupByLeader } from './offset-requests.ts';

/**
 * Deletes the records below the positions, for good. Answers where the logs begin then.
 * @throws KPIPE_TOPIC_MISSING; KPIPE_KAFKA_FAILED for a partition without a leader; what the driver throws
 */
export async function deleteRecords(
  kafka: KafkaConnections,
  positions: readonly PartitionPosition[],
  timeoutMs: number,
): Promise<readonly PartitionPosition[]> {
  const { driver } = kafka;
  const byLeader = await groupByLeader(kafka, positions);
  const answers = await Promise.all(
    [...byLeader].map(async ([leader, wanted]) => {
      const request = [...Map.groupBy(wanted, ({ topic }) => topic)].map(([name, ofTopic]) => ({
        name,
        partitions: ofTopic.map(({ partition, position }) => ({ partitionIndex: partition, offset: position })),
      }));
      const versions = [driver.deleteRecordsV2.api, driver.deleteRecordsV1.api];
      const { topics } = await kafka.request(await kafka.to(leader), versions, request, timeoutMs);
      return topics.flatMap(({ name, partitions }) =>
        partitions.map(({ partitionIndex, lowWatermark }) => ({
          topic: name,
          partition: partitionIndex,
          position: lowWatermark,
        })),
      );
    }),
  );
  return answers.flat();
}

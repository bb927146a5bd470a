import type { KafkaConnections } from './connections.ts';
import { metadata } from './topic-requests.ts';

/** Bytes on disk of each partition of a topic, of its largest replica; partitions that no broker tells of are absent. */
export async function partitionSizes(kafka: KafkaConnections, topic: string): Promise<ReadonlyMap<number, bigint>> {
  const { driver } = kafka;
  const { brokers, topics } = await metadata(kafka, { names: [topic] });
  const partitions = topics.flatMap((found) => found.partitions.map(({ partitionIndex }) => partitionIndex));
  const versions = [driver.describeLogDirsV4.api, driver.describeLogDirsV3.api];
  const answers = await Promise.all(
    brokers.map(async (address) => kafka.request(await kafka.to(address), versions, [{ name: topic, partitions }])),
  );
  const sizes = new Map<number, bigint>();
  const replicas = answers.flatMap(({ results }) =>
    results.flatMap(({ topics: held }) => held.flatMap((of) => of.partitions)),
  );
  for (const { partitionIndex, partitionSize } of replicas) {
    const known = sizes.get(partitionIndex);
    sizes.set(partitionIndex, known === undefined || partitionSize > known ? partitionSize : known);
  }
  return sizes;
}

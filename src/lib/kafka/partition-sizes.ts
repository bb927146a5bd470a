import { partitionKey } from '../ports.ts';
import type { KafkaConnections } from './connections.ts';
import { metadata } from './topic-requests.ts';

/** Bytes on disk of each partition of a topic, of its largest replica; partitions that no broker tells of are absent. */
export async function partitionSizes(kafka: KafkaConnections, topic: string): Promise<ReadonlyMap<number, bigint>> {
  const sizes = new Map<number, bigint>();
  for (const { partition, bytes } of await replicas(kafka, [topic])) {
    const known = sizes.get(partition);
    sizes.set(partition, known === undefined || bytes > known ? bytes : known);
  }
  return sizes;
}

/** Bytes on disk of every replica, by partition and broker. Brokers that are down tell nothing. */
export async function replicaSizes(
  kafka: KafkaConnections,
  topics: readonly string[],
): Promise<ReadonlyMap<string, ReadonlyMap<number, bigint>>> {
  const sizes = new Map<string, Map<number, bigint>>();
  for (const replica of topics.length === 0 ? [] : await replicas(kafka, topics)) {
    const key = partitionKey(replica);
    const ofPartition = sizes.get(key) ?? new Map<number, bigint>();
    sizes.set(key, ofPartition.set(replica.broker, replica.bytes));
  }
  return sizes;
}

interface Replica {
  readonly topic: string;
  readonly partition: number;
  readonly broker: number;
  readonly bytes: bigint;
}

async function replicas(kafka: KafkaConnections, names: readonly string[]): Promise<readonly Replica[]> {
  const { driver } = kafka;
  const { brokers, topics } = await metadata(kafka, { names });
  const request = topics.map(({ name, partitions }) => ({
    name: name ?? '',
    partitions: partitions.map(({ partitionIndex }) => partitionIndex),
  }));
  const versions = [driver.describeLogDirsV4.api, driver.describeLogDirsV3.api];
  const answers = await Promise.all(
    brokers.map(async (address) => ({
      broker: address.nodeId,
      answer: await kafka.request(await kafka.to(address), versions, request),
    })),
  );
  return answers.flatMap(({ broker, answer }) =>
    answer.results.flatMap((directory) =>
      directory.topics.flatMap(({ name, partitions }) =>
        // A future replica is a copy that is being made in another directory of the same broker.
        partitions
          .filter(({ isFutureKey }) => !isFutureKey)
          .map(({ partitionIndex, partitionSize }) => ({
            topic: name,
            partition: partitionIndex,
            broker,
            bytes: partitionSize,
          })),
      ),
    ),
  );
}

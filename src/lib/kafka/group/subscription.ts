import type { TopicPartition } from '../../ports.ts';
import type { KafkaDriver } from '../connections.ts';
import type { GroupAssignment, SubscribedMember } from './cooperative-sticky.ts';

/**
 * The bytes that members of a classic group of protocol type `consumer` exchange. Java's cooperative-sticky assignor reads
 * the owner's generation from the subscription (version 2) or, where it is older, from the user data: both carry it.
 */
export const assignorName = 'cooperative-sticky';
const version = 2;
const noGeneration = -1;

export interface Ownership {
  readonly topic: string;
  readonly owned: readonly number[];
  readonly generation: number;
}

export function encodeSubscription(driver: KafkaDriver, { topic, owned, generation }: Ownership): Buffer {
  const userData = Buffer.alloc(4);
  userData.writeInt32BE(generation);
  return driver.encodeConsumerProtocolSubscription({
    version,
    topics: [topic],
    userData,
    ownedPartitions: owned.length === 0 ? [] : [{ topic, partitions: [...owned] }],
    generationId: generation,
  });
}

export function decodeMember(driver: KafkaDriver, memberId: string, metadata: Buffer): SubscribedMember {
  const { topics, ownedPartitions, generationId, userData } = driver.decodeConsumerProtocolSubscription(metadata);
  const generation =
    generationId !== noGeneration || userData === null
      ? generationId
      : driver.decodeCooperativeStickyGeneration(userData);
  const owned = ownedPartitions.flatMap(({ topic, partitions }) =>
    partitions.map((partition): TopicPartition => ({ topic, partition })),
  );
  return { memberId, topics, owned, generation };
}

export function encodeAssignments(
  driver: KafkaDriver,
  assignment: GroupAssignment,
): { readonly memberId: string; readonly assignment: Buffer }[] {
  return [...assignment].map(([memberId, partitions]) => ({
    memberId,
    assignment: driver.encodeConsumerProtocolAssignment({
      version,
      assignedPartitions: [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
        topic,
        partitions: ofTopic.map(({ partition }) => partition),
      })),
      userData: null,
    }),
  }));
}

/** The partitions of our topic. */
export function decodeAssignment(driver: KafkaDriver, bytes: Buffer, topic: string): readonly number[] {
  return driver
    .decodeConsumerProtocolAssignment(bytes)
    .assignedPartitions.flatMap((entry) => (entry.topic === topic ? entry.partitions : []));
}

import { KpipeError } from '../errors.ts';
import { partitionKey, type OffsetAnswer, type OffsetQuery, type TopicPartition } from '../ports.ts';
import { answered, partly, type Answered } from './answers.ts';
import type { BrokerConnection, KafkaConnections, KafkaDriver } from './connections.ts';
import { metadata } from './topic-requests.ts';

const latest = -1n;
const earliest = -2n;
const maxTimestamp = -3n;
const readUncommitted = 0;
const readCommitted = 1;
/** Asks as a client, not as a replica; no leader epoch to compare. */
const noReplica = -1;
const noEpoch = -1;

/**
 * Offsets by position or time, each asked of its partition's leader. `latest` is the high watermark.
 * @throws KPIPE_TOPIC_MISSING; KPIPE_KAFKA_UNREACHABLE for a partition without a leader
 */
export async function listOffsets(
  kafka: KafkaConnections,
  partitions: readonly TopicPartition[],
  query: OffsetQuery,
): Promise<readonly OffsetAnswer[]> {
  const timestamp = timestampOf(query);
  const isolation = query === 'lastStable' ? readCommitted : readUncommitted;
  const byLeader = await groupByLeader(kafka, partitions);
  const answers = await Promise.all(
    [...byLeader].map(async ([leader, wanted]) => {
      const response = await requestOffsets(kafka, await kafka.to(leader), wanted, { timestamp, isolation });
      return response.topics.flatMap((topic) =>
        topic.partitions.map((answer) => ({
          topic: topic.name,
          partition: answer.partitionIndex,
          // -1: no record at or after that time.
          offset: answer.offset < 0n ? null : answer.offset,
          timestampMs: answer.timestamp < 0n ? null : Number(answer.timestamp),
        })),
      );
    }),
  );
  return inOrderOf(partitions, answers.flat());
}

type OffsetsResponse = Awaited<ReturnType<KafkaDriver['listOffsetsV9']['api']['async']>>;

/** One ListOffsets of all these partitions, which the broker leads. */
function requestOffsets(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  partitions: readonly TopicPartition[],
  { timestamp, isolation }: { readonly timestamp: bigint; readonly isolation: 0 | 1 },
): Promise<OffsetsResponse> {
  const { driver } = kafka;
  const versions = [driver.listOffsetsV9.api, driver.listOffsetsV8.api, driver.listOffsetsV7.api];
  const request = [...Map.groupBy(partitions, ({ topic }) => topic)].map(([name, ofTopic]) => ({
    name,
    partitions: ofTopic.map(({ partition }) => ({
      partitionIndex: partition,
      currentLeaderEpoch: noEpoch,
      timestamp,
    })),
  }));
  return kafka.request(broker, versions, noReplica, isolation, request);
}

/** Where logs begin or end, by `partitionKey`; the broker leads them, or says that it does not. */
export async function logEndsAt(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  partitions: readonly TopicPartition[],
  query: 'earliest' | 'latest',
): Promise<ReadonlyMap<string, Answered<bigint>>> {
  const asked = { timestamp: timestampOf(query), isolation: readUncommitted } as const;
  const { topics } = await partly(requestOffsets(kafka, broker, partitions, asked));
  return new Map(
    topics.flatMap(({ name, partitions: ofTopic }) =>
      ofTopic.map((answer) => [
        partitionKey({ topic: name, partition: answer.partitionIndex }),
        answered(kafka, answer, () => answer.offset),
      ]),
    ),
  );
}

function timestampOf(query: OffsetQuery): bigint {
  switch (query) {
    case 'latest':
    case 'lastStable':
      return latest;
    case 'earliest':
      return earliest;
    case 'newest':
      return maxTimestamp;
    default:
      return BigInt(Math.trunc(query.timestampMs));
  }
}

type LeaderAddress = { readonly host: string; readonly port: number };

/** What is asked of partitions, by the broker that leads them. @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_UNREACHABLE */
export async function groupByLeader<Asked extends TopicPartition>(
  kafka: KafkaConnections,
  partitions: readonly Asked[],
): Promise<ReadonlyMap<LeaderAddress, readonly Asked[]>> {
  const names = [...new Set(partitions.map(({ topic }) => topic))];
  if (names.length === 0) {
    return new Map();
  }
  const { brokers, topics } = await metadata(kafka, { names });
  const byName = new Map(topics.map((found) => [found.name, found.partitions]));
  return Map.groupBy(partitions, ({ topic, partition }) => {
    const known = byName.get(topic)?.find((entry) => entry.partitionIndex === partition);
    if (known === undefined) {
      throw new KpipeError('KPIPE_TOPIC_MISSING', `there is no partition ${partition} of topic ${topic}`, {
        where: { topic, partition },
        next: '`kpipe topics list` shows what exists, `kpipe topics plan` what kpipe.yaml declares',
      });
    }
    const leader = brokers.find(({ nodeId }) => nodeId === known.leaderId);
    if (leader === undefined) {
      throw new KpipeError('KPIPE_KAFKA_UNREACHABLE', `partition ${partition} of topic ${topic} has no leader`, {
        where: { topic, partition, replicas: known.replicaNodes.join(',') },
        next: 'start the brokers that hold its replicas',
      });
    }
    return leader;
  });
}

function inOrderOf(asked: readonly TopicPartition[], answers: readonly OffsetAnswer[]): readonly OffsetAnswer[] {
  const byPartition = new Map(answers.map((answer) => [`${answer.topic}/${answer.partition}`, answer]));
  return asked.flatMap(({ topic, partition }) => byPartition.get(`${topic}/${partition}`) ?? []);
}

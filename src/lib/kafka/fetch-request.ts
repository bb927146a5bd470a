import type { Reader } from '@platformatic/kafka';

import type { PartitionPosition } from '../ports.ts';
import type { BrokerConnection, KafkaConnections } from './connections.ts';
import type { AbortedTransaction } from './record-scan.ts';

/** What a broker answers of one partition; the records are left as bytes. */
export interface FetchedBytes {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: bigint;
  readonly lastStableOffset: bigint;
  readonly aborted: readonly AbortedTransaction[];
  readonly bytes: Buffer;
}

export interface FetchBounds {
  readonly maxBytes: number;
  /** The first batch of the first partition that has one comes whole, whatever this says (KIP-74). */
  readonly partitionMaxBytes: number;
}

const readCommitted = 1;
const noWait = 0;
/** No fetch session: every request stands alone. */
const noSession = 0;
const finalEpoch = -1;
const noEpoch = -1;
/** Of the Fetch request's versions the newest that names topics by name. */
const version = 12;
const fetchKey = 1;

/**
 * One Fetch, read committed, of partitions that the broker leads. The driver's own parser is not used: it throws for the
 * whole answer when one partition has an error, and unpacks every batch without a bound.
 */
export async function fetchBytes(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  positions: readonly PartitionPosition[],
  bounds: FetchBounds,
): Promise<readonly FetchedBytes[]> {
  const { createAPI, fetchV12 } = kafka.driver;
  const api = createAPI<Parameters<typeof fetchV12.createRequest>, readonly FetchedBytes[]>(
    fetchKey,
    version,
    fetchV12.createRequest,
    (_correlationId, _key, _version, reader) => readResponse(reader),
  );
  const topics = [...Map.groupBy(positions, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
    // The driver calls it topicId in every version; up to 12 it is the name.
    topicId: topic,
    partitions: ofTopic.map(({ partition, position }) => ({
      partition,
      currentLeaderEpoch: noEpoch,
      fetchOffset: position,
      lastFetchedEpoch: noEpoch,
      partitionMaxBytes: bounds.partitionMaxBytes,
    })),
  }));
  return kafka.request(broker, [api], noWait, 0, bounds.maxBytes, readCommitted, noSession, finalEpoch, topics, [], '');
}

/** throttle_time_ms, error_code, session_id, [topic [partition …]]; each array element ends with tagged fields. */
function readResponse(reader: Reader): readonly FetchedBytes[] {
  reader.skip(4 + 2 + 4);
  return reader
    .readArray((ofTopic) => {
      const topic = ofTopic.readString();
      return ofTopic.readArray((ofPartition) => readPartition(topic, ofPartition));
    })
    .flat();
}

function readPartition(topic: string, reader: Reader): FetchedBytes {
  const partition = reader.readInt32();
  const errorCode = reader.readInt16();
  const highWatermark = reader.readInt64();
  const lastStableOffset = reader.readInt64();
  const logStartOffsetBytes = 8;
  reader.skip(logStartOffsetBytes);
  const aborted = reader.readNullableArray((entry) => ({
    producerId: entry.readInt64(),
    firstOffset: entry.readInt64(),
  }));
  const preferredReplicaBytes = 4;
  reader.skip(preferredReplicaBytes);
  const bytes = reader.readNullableBytes() ?? Buffer.alloc(0);
  return { topic, partition, errorCode, highWatermark, lastStableOffset, aborted: aborted ?? [], bytes };
}

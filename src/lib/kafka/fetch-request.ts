import type { Reader } from '@platformatic/kafka';

import type { PartitionPosition } from '../ports.ts';
import { understands, type BrokerConnection, type KafkaConnections, type KafkaDriver } from './connections.ts';
import type { AbortedTransaction } from './fetch/aborted-transactions.ts';

/** What is asked of one partition. */
export interface FetchQuestion extends PartitionPosition {
  /** From version 13 on a request names topics by id: one that was deleted and created again is not taken for the old. */
  readonly topicId: string;
  /** The epoch of the leader that we take the broker for; it refuses when it knows of another. -1: don't compare. */
  readonly leaderEpoch: number;
  /** Of the record before the position; the broker tells when its log has another history. -1: don't compare. */
  readonly lastFetchedEpoch: number;
}

export interface FetchBounds {
  readonly maxBytes: number;
  /** The first batch of the first partition that has one comes whole, whatever this says (KIP-74). */
  readonly partitionMaxBytes: number;
  readonly minBytes: number;
  readonly maxWaitMs: number;
}

/** What a broker answers of one partition; the records are left as bytes. */
export interface FetchedBytes {
  readonly partition: number;
  readonly topic: string;
  readonly errorCode: number;
  readonly highWatermark: bigint;
  readonly lastStableOffset: bigint;
  readonly aborted: readonly AbortedTransaction[];
  /** Record batches, one each: out of the socket's own buffers, and copied only where one spans several. */
  readonly batches: readonly Buffer[];
  /** Where the log parts from the one that the position was read in; null while it is the same. */
  readonly divergesAt: bigint | null;
  /** Who leads the partition instead, where the broker knows (KIP-951). */
  readonly leader: NewLeader | null;
}

export interface NewLeader {
  readonly host: string;
  readonly port: number;
  readonly leaderEpoch: number;
}

export interface FetchAnswer {
  /** Of the request as a whole. */
  readonly errorCode: number;
  readonly partitions: readonly FetchedBytes[];
}

const readCommitted = 1;
/** No fetch session: every request stands alone, so a partition joins or leaves without a word. */
const noSession = 0;
const finalEpoch = -1;
const fetchKey = 1;

/** The versions whose answers are laid out alike. Topics have ids from 13 on; 12 is what Kafka 3.0 has. */
function versionsOf(driver: KafkaDriver) {
  return [
    { key: fetchKey, version: 17, createRequest: driver.fetchV17.createRequest },
    { key: fetchKey, version: 16, createRequest: driver.fetchV16.createRequest },
    { key: fetchKey, version: 13, createRequest: driver.fetchV13.createRequest },
    { key: fetchKey, version: 12, createRequest: driver.fetchV12.createRequest },
  ] as const;
}

/**
 * One Fetch, read committed, of partitions that the broker leads. The driver's own parser is not used: it throws for the
 * whole answer when one partition has an error, and unpacks every batch without a bound.
 */
export async function fetchBytes(
  kafka: KafkaConnections,
  broker: BrokerConnection,
  questions: readonly FetchQuestion[],
  bounds: FetchBounds,
): Promise<FetchAnswer> {
  const { driver } = kafka;
  const { version, createRequest } =
    versionsOf(driver).find((candidate) => understands(broker, candidate)) ?? versionsOf(driver)[3];
  const named = version < 13;
  const topicOf = ({ topic, topicId }: FetchQuestion): string => (named ? topic : topicId);
  const names = new Map(questions.map((question) => [topicOf(question), question.topic]));
  const api = driver.createAPI<Parameters<typeof createRequest>, FetchAnswer>(
    fetchKey,
    version,
    createRequest,
    (_correlationId, _key, _version, reader) => readAnswer(reader, named, names),
  );
  const topics = [...Map.groupBy(questions, topicOf)].map(([topicId, ofTopic]) => ({
    // The driver calls it topicId in every version; up to 12 it is the name.
    topicId,
    partitions: ofTopic.map(({ partition, position, leaderEpoch, lastFetchedEpoch }) => ({
      partition,
      currentLeaderEpoch: leaderEpoch,
      fetchOffset: position,
      lastFetchedEpoch,
      partitionMaxBytes: bounds.partitionMaxBytes,
    })),
  }));
  const { maxWaitMs, minBytes, maxBytes } = bounds;
  const session = [noSession, finalEpoch] as const;
  return kafka.request(broker, [api], maxWaitMs, minBytes, maxBytes, readCommitted, ...session, topics, [], '');
}

/** A partition as it stands in the answer: its leader's address comes at the very end. */
interface ReadPartition extends Omit<FetchedBytes, 'leader'> {
  readonly leaderId: number;
  readonly leaderEpoch: number;
}

/** throttle_time_ms, error_code, session_id, [topic [partition …]], tagged fields. */
function readAnswer(reader: Reader, named: boolean, names: ReadonlyMap<string, string>): FetchAnswer {
  const throttleTimeBytes = 4;
  reader.skip(throttleTimeBytes);
  const errorCode = reader.readInt16();
  const sessionIdBytes = 4;
  reader.skip(sessionIdBytes);
  const read = reader
    .readArray((ofTopic) => {
      const key = named ? ofTopic.readString() : ofTopic.readUUID();
      const topic = names.get(key) ?? key;
      return ofTopic.readArray((ofPartition) => readPartition(topic, ofPartition), true, false);
    })
    .flat();
  const addresses = new Map<number, { readonly host: string; readonly port: number }>();
  readTagged(reader, (tag) => {
    if (tag === 0) {
      reader.readArray((entry) => {
        const nodeId = entry.readInt32();
        addresses.set(nodeId, { host: entry.readString(), port: entry.readInt32() });
        entry.readNullableString();
      });
    }
  });
  const partitions = read.map(({ leaderId, leaderEpoch, ...partition }): FetchedBytes => {
    const address = addresses.get(leaderId);
    return { ...partition, leader: address === undefined ? null : { ...address, leaderEpoch } };
  });
  return { errorCode, partitions };
}

function readPartition(topic: string, reader: Reader): ReadPartition {
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
  const batches = readBatches(reader);
  let divergesAt: bigint | null = null;
  let leaderId = -1;
  let leaderEpoch = -1;
  readTagged(reader, (tag) => {
    if (tag === 0) {
      const epochBytes = 4;
      divergesAt = reader.skip(epochBytes).readInt64();
    } else if (tag === 1) {
      leaderId = reader.readInt32();
      leaderEpoch = reader.readInt32();
    }
  });
  const offsets = { highWatermark, lastStableOffset, divergesAt };
  return { topic, partition, errorCode, ...offsets, aborted: aborted ?? [], batches, leaderId, leaderEpoch };
}

/** COMPACT_RECORDS: their length plus one, or 0 for null. Each batch is an offset, the length of what follows, and that. */
function readBatches(reader: Reader): readonly Buffer[] {
  const end = Math.max(0, reader.readUnsignedVarInt() - 1) + reader.position;
  const lengthAt = 8;
  const prefixBytes = 12;
  const batches: Buffer[] = [];
  while (reader.position + prefixBytes <= end) {
    const length = reader.peekInt32(reader.position + lengthAt);
    const next = length < 0 ? end : Math.min(end, reader.position + prefixBytes + length);
    batches.push(reader.buffer.slice(reader.position, next));
    reader.position = next;
  }
  reader.position = end;
  return batches;
}

/** Tagged fields say their size: what `take` leaves of one is passed over. */
function readTagged(reader: Reader, take: (tag: number) => void): void {
  const count = reader.readUnsignedVarInt();
  for (let index = 0; index < count; index += 1) {
    const tag = reader.readUnsignedVarInt();
    const end = reader.readUnsignedVarInt() + reader.position;
    take(tag);
    reader.position = end;
  }
}

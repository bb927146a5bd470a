import type { Message, Offsets, Producer, RecordMetadata, Transaction } from 'kafkajs';

import type { KafkaConfig } from '../config/load.ts';
import { withDeadline } from '../deadline.ts';
import { KpipeError, messageOf } from '../errors.ts';
import type { OutgoingRecord, PartitionPosition } from '../ports.ts';
import { Connections, createKafkaJs } from './kafkajs.ts';
import { classifySendFailure, connectFailure, recordRefused, refused, topicMissing } from './produce-errors.ts';
import { coordinatorRefusal } from './transaction-coordinator.ts';
import { wireHeaders } from './wire-headers.ts';

export interface AddressedRecord extends OutgoingRecord {
  readonly topic: string;
  readonly partition: number;
}

/** Offsets of a group that are committed with the records, or not at all. */
export interface CommittedWith {
  readonly group: string;
  readonly offsets: readonly PartitionPosition[];
}

/** Writing failed. Whether any of it is there: `none`; or `unknown`, until a new writer has opened and the log is read. */
export class WriteFailed extends Error {
  override readonly name = 'WriteFailed';
  readonly outcome: 'none' | 'unknown';
  /** No retry helps. */
  readonly isFinal: boolean;
  readonly failure: KpipeError;

  constructor(outcome: 'none' | 'unknown', isFinal: boolean, failure: KpipeError) {
    super(failure.message, { cause: failure });
    this.outcome = outcome;
    this.isFinal = isFinal;
    this.failure = failure;
  }
}

/** An open transaction holds back every read-committed reader of its partitions: a dead writer's is given up soon. */
const transactionTimeoutMs = 15_000;
const answerMs = 10_000;
const openMs = 30_000;

/**
 * Writes records to several topics, all or none, as the one writer of its transactional id: opening it ends whatever a
 * writer before it left open, and that one can write no more. After a failure it is of no further use.
 */
export class TransactionalWriter {
  readonly #producer: Producer;
  readonly #connections: Connections;

  private constructor(producer: Producer, connections: Connections) {
    this.#producer = producer;
    this.#connections = connections;
  }

  /** @throws KPIPE_KAFKA_UNREACHABLE, KPIPE_KAFKA_FAILED (authentication, rights to the transactional id) */
  static async open(config: KafkaConfig, transactionalId: string): Promise<TransactionalWriter> {
    const connections = new Connections();
    const kafka = await createKafkaJs(config, config.clientId, connections);
    const producer = kafka.producer({
      transactionalId,
      idempotent: true,
      maxInFlightRequests: 1,
      transactionTimeout: transactionTimeoutMs,
      allowAutoTopicCreation: false,
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 1000, factor: 0.2, multiplier: 2 },
    });
    try {
      await withDeadline(begin(producer), openMs, 'no producer id');
    } catch (error) {
      connections.cut();
      const refusal = await coordinatorRefusal(config, transactionalId).catch(() => null);
      throw refusal ?? connectFailure(config, error, { transactionalId });
    }
    return new TransactionalWriter(producer, connections);
  }

  /**
   * Writes one transaction; of each partition the records are one batch. Answers their offsets, in order. With
   * `committedWith`, a group's offsets are part of it.
   * @throws WriteFailed
   */
  async write(records: readonly AddressedRecord[], committedWith?: CommittedWith): Promise<readonly bigint[]> {
    let committing = false;
    let transaction: Transaction | undefined;
    try {
      transaction = await withDeadline(this.#producer.transaction(), answerMs, 'no transaction');
      const topicMessages = [...Map.groupBy(records, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
        topic,
        messages: ofTopic.map(messageOfRecord),
      }));
      const metadata = await withDeadline(
        transaction.sendBatch({ topicMessages, acks: -1, timeout: answerMs }),
        answerMs,
        'not acknowledged',
      );
      if (committedWith !== undefined) {
        const offsets = { consumerGroupId: committedWith.group, topics: offsetTopics(committedWith.offsets) };
        await withDeadline(transaction.sendOffsets(offsets), answerMs, 'the offsets were not acknowledged');
      }
      committing = true;
      await withDeadline(transaction.commit(), answerMs, 'the commit was not acknowledged');
      return offsetsOf(records, metadata);
    } catch (error) {
      if (!committing && transaction !== undefined) {
        // Where it fails, whoever opens a writer of this id next ends it, or the coordinator does after its time-out.
        await withDeadline(transaction.abort(), 3000, 'not aborted').catch(() => undefined);
      }
      throw new WriteFailed(committing ? 'unknown' : 'none', ...verdict(error, records));
    }
  }

  async close(): Promise<void> {
    await withDeadline(this.#producer.disconnect(), 1000, 'still connected').catch(() => undefined);
    this.#connections.cut();
  }
}

function offsetTopics(offsets: readonly PartitionPosition[]): Offsets['topics'] {
  return [...Map.groupBy(offsets, ({ topic }) => topic)].map(([topic, ofTopic]) => ({
    topic,
    partitions: ofTopic.map(({ partition, position }) => ({ partition, offset: position.toString() })),
  }));
}

/**
 * kafkajs asks for the transactional producer id, which ends the writer before us, with the first transaction only. The
 * coordinator gives it out when that writer's last transaction has come to its end, so that the log then shows all of it.
 */
async function begin(producer: Producer): Promise<void> {
  await producer.connect();
  const empty = await producer.transaction();
  await empty.abort();
}

function messageOfRecord({ key, value, headers, partition, timestampMs }: AddressedRecord): Message {
  return {
    key,
    value,
    partition,
    ...(headers === undefined || headers.length === 0 ? {} : { headers: wireHeaders(headers) }),
    ...(timestampMs === undefined ? {} : { timestamp: String(timestampMs) }),
  };
}

/** A partition's records follow each other from the offset that the broker gave the first. */
function offsetsOf(records: readonly AddressedRecord[], metadata: readonly RecordMetadata[]): readonly bigint[] {
  const next = new Map(
    metadata.map(({ topicName, partition, baseOffset }) => [`${topicName}/${partition}`, BigInt(baseOffset ?? -1)]),
  );
  return records.map(({ topic, partition }) => {
    const key = `${topic}/${partition}`;
    const offset = next.get(key) ?? -1n;
    next.set(key, offset + 1n);
    return offset;
  });
}

function verdict(error: unknown, records: readonly AddressedRecord[]): readonly [boolean, KpipeError] {
  const topics = [...new Set(records.map(({ topic }) => topic))].join(', ');
  if (/fenced|INVALID_PRODUCER_EPOCH/i.test(typeOf(error))) {
    return [
      true,
      new KpipeError('KPIPE_REFUSED', 'another redrive of the same dead letters has begun and goes on in our place', {
        where: { topics },
        next: 'let it end; what it leaves is found by the next one',
        cause: error,
      }),
    ];
  }
  const failure = classifySendFailure(error);
  switch (failure.kind) {
    case 'missing':
      return [true, topicMissing(topics, error)];
    case 'record':
      return [true, recordRefused(largest(records), failure.tooLarge, { topics }, error)];
    case 'fatal':
      return [true, refused(`records for ${topics}`, { topics }, error)];
    case 'retry':
      return [
        false,
        new KpipeError('KPIPE_PRODUCE_FAILED', `the transaction failed: ${messageOf(error)}`, {
          where: { topics },
          next: 'run it again: what was written is known and not written twice',
          cause: error,
        }),
      ];
  }
}

function typeOf(error: unknown): string {
  const type: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'type') : undefined;
  return typeof type === 'string' ? type : '';
}

function largest(records: readonly AddressedRecord[]): number {
  return Math.max(0, ...records.map(({ key, value }) => (key?.length ?? 0) + (value?.length ?? 0)));
}

import type { Message } from 'kafkajs';

import type { KafkaConfig } from '../config/load.ts';
import { messageOf, type KpipeError } from '../errors.ts';
import type { OutgoingRecord } from '../ports.ts';
import { backoffMs, wait } from '../runtime/backoff.ts';
import { DeadlineExpired, withDeadline } from '../deadline.ts';
import { accessFailure, accessGraceMs } from './access-failures.ts';
import { unreachable } from './failures.ts';
import {
  anyOf,
  brokerIn,
  classifySendFailure,
  notAcked,
  recordRefused,
  refused,
  topicMissing,
  type SendFailure,
} from './produce-errors.ts';
import type { LeasedProducer, ProducerLease } from './producer-lease.ts';
import { wireHeaders } from './wire-headers.ts';

/** What became of a record. `offset` is null where the broker did not say (a repeat that it recognised). */
export type Delivery =
  | { readonly kind: 'acked'; readonly partition: number; readonly offset: bigint | null }
  /** `record`: this record is refused, others are not. `topic`: it and what follows cannot be sent now. */
  | { readonly kind: 'failed'; readonly scope: 'record' | 'topic'; readonly error: KpipeError };

/** A send failed and is tried again. */
export interface SendTrouble {
  readonly topic: string;
  readonly partition: number;
  readonly attempt: number;
  readonly reason: string;
}

export interface LaneSettings {
  readonly config: KafkaConfig;
  readonly deliveryTimeoutMs: number;
  readonly stallMs: number;
  /** Aborts: no more attempts. */
  readonly closing: AbortSignal;
  readonly onTrouble?: (trouble: SendTrouble) => void;
}

/** A record on its way, and the call that waits for it. */
interface Waiting {
  readonly message: Message;
  readonly bytes: number;
  readonly settle: (delivery: Delivery) => void;
}

/** Half of Kafka's default max.message.bytes, so that a batch is refused for its size only when one record is too large. */
const maxBatchBytes = 500_000;
const maxBatchRecords = 2000;
/** A producer that failed this often in a row is taken for broken. */
const sameProducerAttempts = 3;
const backoff = { baseMs: 100, capMs: 3000 };
const missingGraceMs = 5000;
/** A broker's socket.request.max.bytes: it would hang up on a larger request without a word. */
const maxRecordBytes = 100_000_000;

/** The records for one partition: sent in their order, one batch at a time, each batch again until it is acked. */
export class PartitionLane {
  readonly #topic: string;
  readonly #partition: number;
  readonly #lease: ProducerLease;
  readonly #settings: LaneSettings;
  #queue: Waiting[] = [];
  #draining: Promise<void> | undefined;
  /** The one of the last attempt. */
  #producer: LeasedProducer | undefined;

  constructor(topic: string, partition: number, lease: ProducerLease, settings: LaneSettings) {
    this.#topic = topic;
    this.#partition = partition;
    this.#lease = lease;
    this.#settings = settings;
  }

  /** Resolves when `deliveries` says of each of these records what became of it. */
  enqueue(records: readonly OutgoingRecord[], indexes: readonly number[], deliveries: Delivery[]): Promise<void> {
    return new Promise((resolve) => {
      let left = indexes.length;
      for (const index of indexes) {
        const record = records[index];
        if (record !== undefined) {
          const settle = (delivery: Delivery): void => {
            deliveries[index] = delivery;
            left -= 1;
            if (left === 0) {
              resolve();
            }
          };
          this.#queue.push({ message: this.#message(record), bytes: sizeOf(record), settle });
        }
      }
      this.#draining ??= this.#drain();
    });
  }

  /** Resolves when nothing waits or is under way. */
  async idle(): Promise<void> {
    await this.#draining;
  }

  #message(record: OutgoingRecord): Message {
    const { key, value, headers, timestampMs } = record;
    return {
      key,
      value,
      partition: this.#partition,
      ...(headers === undefined || headers.length === 0 ? {} : { headers: wireHeaders(headers) }),
      ...(timestampMs === undefined ? {} : { timestamp: String(timestampMs) }),
    };
  }

  async #drain(): Promise<void> {
    // Calls made in the same turn share a batch.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      await this.#deliver(this.#nextBatch(), Date.now());
    }
    this.#draining = undefined;
  }

  #nextBatch(): readonly Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#queue) {
      bytes += waiting.bytes;
      if (count > 0 && (bytes > maxBatchBytes || count >= maxBatchRecords)) {
        break;
      }
      count += 1;
    }
    const batch = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    return batch;
  }

  /** Sends a batch until it is acked, refused, or out of time. Never rejects. */
  async #deliver(batch: readonly Waiting[], startedAt: number): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      const failure = await this.#attempt(batch, attempt);
      if (failure === undefined) {
        return;
      }
      if (failure.kind === 'record' && batch.length > 1) {
        const half = batch.length >> 1;
        await this.#deliver(batch.slice(0, half), startedAt);
        await this.#deliver(batch.slice(half), startedAt);
        return;
      }
      const error = this.#verdict(failure, batch, Date.now() - startedAt);
      if (error !== undefined) {
        if (failure.kind === 'retry') {
          // Its fate is open: the next batch must not come under the same sequence numbers.
          await this.#giveUpProducer();
        }
        for (const { settle } of batch) {
          settle({ kind: 'failed', scope: failure.kind === 'record' ? 'record' : 'topic', error });
        }
        return;
      }
      this.#settings.onTrouble?.({
        topic: this.#topic,
        partition: this.#partition,
        attempt: attempt + 1,
        reason: messageOf(failure.cause),
      });
      await wait(backoffMs(attempt, backoff, Math.random), this.#settings.closing);
    }
  }

  /** One send. Undefined: acked, and told so. */
  async #attempt(batch: readonly Waiting[], attempt: number): Promise<SendFailure | undefined> {
    const [first] = batch;
    if (first !== undefined && first.bytes > maxRecordBytes) {
      return { kind: 'record', tooLarge: true, cause: new Error('larger than any request may be') };
    }
    this.#producer = undefined;
    try {
      const producer = await withDeadline(this.#lease.acquire(), this.#settings.stallMs, 'no producer id');
      this.#producer = producer;
      const messages = batch.map(({ message }) => message);
      const [metadata] = await withDeadline(
        this.#abortable(producer.send(this.#topic, messages)),
        this.#settings.stallMs,
        'no answer',
      );
      const base = metadata?.baseOffset === undefined ? -1n : BigInt(metadata.baseOffset);
      for (const [index, { settle }] of batch.entries()) {
        settle({ kind: 'acked', partition: this.#partition, offset: base < 0n ? null : base + BigInt(index) });
      }
      return undefined;
    } catch (error) {
      const failure = classifySendFailure(error);
      const lost =
        error instanceof DeadlineExpired ||
        (failure.kind === 'retry' && failure.rebuild) ||
        attempt >= sameProducerAttempts;
      if (lost) {
        await this.#giveUpProducer();
      }
      return failure;
    }
  }

  async #giveUpProducer(): Promise<void> {
    if (this.#producer !== undefined) {
      await this.#lease.giveUp(this.#producer);
    }
  }

  #abortable<Value>(promise: Promise<Value>): Promise<Value> {
    const { closing } = this.#settings;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new Error('the producer was closed'));
      closing.addEventListener('abort', stop, { once: true });
      void promise.then(resolve, reject).finally(() => closing.removeEventListener('abort', stop));
    });
  }

  /** The error that ends the batch, or undefined while another attempt may help. */
  #verdict(failure: SendFailure, batch: readonly Waiting[], elapsedMs: number): KpipeError | undefined {
    const where = { topic: this.#topic, partition: this.#partition };
    switch (failure.kind) {
      case 'record':
        return recordRefused(batch[0]?.bytes ?? 0, failure.tooLarge, where, failure.cause);
      case 'fatal': {
        const { config, closing } = this.#settings;
        const access = accessFailure(config, brokerIn(failure.cause) ?? anyOf(config), failure.cause);
        if (access === null) {
          return refused(`records for ${this.#topic}`, where, failure.cause);
        }
        // They were good when the producer was opened: the new ones may be on their way.
        return elapsedMs < accessGraceMs && !closing.aborted ? undefined : access;
      }
      case 'missing':
        return elapsedMs > missingGraceMs || this.#settings.closing.aborted
          ? topicMissing(this.#topic, failure.cause)
          : undefined;
      case 'retry':
        if (elapsedMs < this.#settings.deliveryTimeoutMs && !this.#settings.closing.aborted) {
          return undefined;
        }
        return failure.unreachable
          ? unreachable(this.#settings.config, [messageOf(failure.cause)], failure.cause)
          : notAcked(elapsedMs, where, failure.cause);
    }
  }
}

function sizeOf({ key, value, headers }: OutgoingRecord): number {
  const headerBytes = (headers ?? []).reduce((sum, [name, bytes]) => sum + name.length + (bytes?.length ?? 0) + 2, 0);
  return (key?.length ?? 0) + (value?.length ?? 0) + headerBytes + 20;
}

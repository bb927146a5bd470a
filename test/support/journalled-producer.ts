import { createHash } from 'node:crypto';

import type { Kafka, Producer } from 'kafkajs';

import type { Meaning, RecordMaker } from './fault-records.ts';
import type { Seeded } from './seeded.ts';

/** One record as it was sent, and where Kafka said that it is. */
export interface JournalEntry {
  readonly partition: number;
  readonly key: string | null;
  /** Of the value; null for none. */
  readonly valueHash: string | null;
  readonly meaning: Meaning;
  /** Null until acked. */
  offset: bigint | null;
}

export interface JournalledProducerOptions {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly partitions: number;
  readonly random: Seeded;
  readonly make: RecordMaker;
}

/** Writes down each send before it is made, and each ack. One request at a time, so a key's records keep their order. */
export class JournalledProducer {
  readonly topic: string;
  readonly partitions: number;
  readonly #kafka: Kafka;
  #producer: Producer;
  readonly #random: Seeded;
  readonly #make: RecordMaker;
  #sent = 0;
  #unanswered = 0;
  readonly #acked: JournalEntry[][];

  private constructor(options: JournalledProducerOptions) {
    this.topic = options.topic;
    this.partitions = options.partitions;
    this.#random = options.random;
    this.#make = options.make;
    this.#acked = Array.from({ length: options.partitions }, () => []);
    this.#kafka = options.kafka;
    this.#producer = this.#open();
  }

  static async open(options: JournalledProducerOptions): Promise<JournalledProducer> {
    const producer = new JournalledProducer(options);
    await producer.#producer.connect();
    return producer;
  }

  /** Idempotent: a retry inside the client makes no second record that the journal would not know of. */
  #open(): Producer {
    return this.#kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry: { retries: 20 } });
  }

  /**
   * Goes on as another producer. After brokers died kafkajs may count its sequence anew, and the broker then takes new
   * records for old ones: acked, and not there.
   */
  async renew(): Promise<void> {
    await this.#producer.disconnect();
    this.#producer = this.#open();
    await this.#producer.connect();
  }

  get sent(): number {
    return this.#sent;
  }

  /** Acked records of a partition, by offset. @throws while sends are under way */
  acked(partition: number): readonly JournalEntry[] {
    if (this.#unanswered > 0) {
      throw new Error(`${this.#unanswered} sends have no answer yet: the journal is not complete`);
    }
    return this.#acked[partition] ?? [];
  }

  /** Sends so many records in bursts of a seeded size; resolves when all are acked. */
  async produce(count: number): Promise<void> {
    for (let left = count; left > 0;) {
      const size = Math.min(left, 20 + this.#random.below(200));
      await this.#send(size);
      left -= size;
    }
  }

  async #send(size: number): Promise<void> {
    const made = Array.from({ length: size }, () => this.#make());
    const entries = made.map(({ partition, key, value, meaning }): JournalEntry => {
      return { partition, key, valueHash: value === null ? null : hashOf(value), meaning, offset: null };
    });
    this.#sent += size;
    this.#unanswered += size;
    const messages = made.map(({ partition, key, value }) => ({ partition, key, value }));
    const answers = await this.#producer.send({ topic: this.topic, messages, acks: -1 });
    for (const { partition, baseOffset, errorCode } of answers) {
      if (errorCode !== 0 || baseOffset === undefined || BigInt(baseOffset) < 0n) {
        throw new Error(`partition ${partition} did not say where the records are (error ${errorCode})`);
      }
      for (const [index, entry] of entries.filter((candidate) => candidate.partition === partition).entries()) {
        entry.offset = BigInt(baseOffset) + BigInt(index);
        this.#acked[partition]?.push(entry);
        this.#unanswered -= 1;
      }
    }
  }

  close(): Promise<void> {
    return this.#producer.disconnect();
  }
}

export function hashOf(bytes: Buffer): string {
  return createHash('sha1').update(bytes).digest('base64');
}

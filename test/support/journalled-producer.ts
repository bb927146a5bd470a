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
  meaning: Meaning;
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

  async #send(size: number, through: Pick<Producer, 'send'> = this.#producer): Promise<readonly JournalEntry[]> {
    const made = Array.from({ length: size }, () => this.#make());
    const entries = made.map(({ partition, key, value, meaning }): JournalEntry => {
      return { partition, key, valueHash: value === null ? null : hashOf(value), meaning, offset: null };
    });
    this.#sent += size;
    this.#unanswered += size;
    const messages = made.map(({ partition, key, value }) => ({ partition, key, value }));
    const answers = await through.send({ topic: this.topic, messages, acks: -1 });
    for (const { partition, baseOffset, errorCode } of answers) {
      if (errorCode !== 0 || baseOffset === undefined || BigInt(baseOffset) < 0n) {
        throw new Error(`partition ${partition} did not say where the records are (error ${errorCode})`);
      }
      for (const [index, entry] of entries.filter((candidate) => candidate.partition === partition).entries()) {
        this.#place(entry, Number(baseOffset) + index);
        this.#unanswered -= 1;
      }
    }
    return entries;
  }

  /** An entry stands at its offset; what Kafka put between two is no record. */
  #place(entry: JournalEntry, offset: number): void {
    const log = this.#acked[entry.partition] ?? [];
    while (log.length < offset) {
      log.push(gapAt(entry.partition, log.length));
    }
    if (log.length > offset) {
      throw new Error(`partition ${entry.partition} gave offset ${offset} twice`);
    }
    entry.offset = BigInt(offset);
    log.push(entry);
  }

  /** The log ends there: what the journal does not know of before that are control records. */
  fillTo(partition: number, end: bigint): void {
    const log = this.#acked[partition] ?? [];
    while (log.length < end) {
      log.push(gapAt(partition, log.length));
    }
  }

  /** The records from `from` to before `to` are not to be read any more: nobody has seen them. */
  forget(partition: number, from: number, to: number): void {
    (this.#acked[partition] ?? []).slice(from, to).forEach(toGap);
  }

  /**
   * Sends so many records in one transaction and leaves it open. What it answers ends it; an aborted one's records have no
   * effect. The control records' places are known when `fillTo` says how far the log goes.
   */
  async openTransaction(id: string, count: number): Promise<OpenTransaction> {
    const producer = this.#kafka.producer({ transactionalId: id, idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    const transaction = await producer.transaction();
    const entries = await this.#send(count, transaction);
    return {
      partitions: [...new Set(entries.map(({ partition }) => partition))],
      commit: async () => {
        await transaction.commit();
        await producer.disconnect();
      },
      abort: async () => {
        await transaction.abort();
        entries.forEach(toGap);
        await producer.disconnect();
      },
    };
  }

  close(): Promise<void> {
    return this.#producer.disconnect();
  }
}

export interface OpenTransaction {
  /** Each gets one control record when it ends, soon after that is acked. */
  readonly partitions: readonly number[];
  readonly commit: () => Promise<void>;
  readonly abort: () => Promise<void>;
}

function gapAt(partition: number, offset: number): JournalEntry {
  return { partition, key: null, valueHash: null, meaning: { kind: 'gap' }, offset: BigInt(offset) };
}

function toGap(entry: JournalEntry): void {
  entry.meaning = { kind: 'gap' };
}

export function hashOf(bytes: Buffer): string {
  return createHash('sha1').update(bytes).digest('base64');
}

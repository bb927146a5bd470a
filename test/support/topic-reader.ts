import { randomBytes } from 'node:crypto';

import type { Admin, Consumer, Kafka } from 'kafkajs';
import { vi } from 'vitest';

import { hashOf } from './journalled-producer.ts';

export interface ReadRecord {
  readonly partition: number;
  readonly offset: bigint;
  readonly key: string | null;
  readonly valueHash: string | null;
  readonly headers: ReadonlyMap<string, string>;
}

/** Reads a whole topic as it grows, by kafkajs in a group of its own. */
export class TopicReader {
  readonly records: ReadRecord[] = [];
  readonly #topic: string;
  readonly #admin: Admin;
  readonly #consumer: Consumer;
  readonly #group = `reader-${randomBytes(4).toString('hex')}`;
  readonly #read = new Map<number, bigint>();

  private constructor(kafka: Kafka, admin: Admin, topic: string) {
    this.#topic = topic;
    this.#admin = admin;
    this.#consumer = kafka.consumer({ groupId: this.#group, maxWaitTimeInMs: 100, retry: { retries: 20 } });
  }

  static async open(kafka: Kafka, admin: Admin, topic: string): Promise<TopicReader> {
    const reader = new TopicReader(kafka, admin, topic);
    await reader.#consumer.connect();
    await reader.#consumer.subscribe({ topic, fromBeginning: true });
    await reader.#consumer.run({ autoCommit: false, eachMessage: (payload) => Promise.resolve(reader.#take(payload)) });
    return reader;
  }

  #take({
    partition,
    message,
  }: {
    partition: number;
    message: { offset: string; key: Buffer | null; value: Buffer | null; headers?: object };
  }): void {
    const headers = Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)] as const);
    const offset = BigInt(message.offset);
    if (offset < (this.#read.get(partition) ?? 0n)) {
      return;
    }
    this.#read.set(partition, offset + 1n);
    this.records.push({
      partition,
      offset,
      key: message.key?.toString() ?? null,
      valueHash: message.value === null ? null : hashOf(message.value),
      headers: new Map(headers),
    });
  }

  /** Resolves when everything that the topic holds at the time of the call has been read. */
  async caughtUp(): Promise<void> {
    const ends = await this.#admin.fetchTopicOffsets(this.#topic);
    await vi.waitUntil(() => ends.every(({ partition, high }) => (this.#read.get(partition) ?? 0n) >= BigInt(high)), {
      timeout: 90_000,
      interval: 20,
    });
  }

  async close(): Promise<void> {
    await this.#consumer.disconnect();
    await this.#admin.deleteGroups([this.#group]).catch(() => undefined);
  }
}

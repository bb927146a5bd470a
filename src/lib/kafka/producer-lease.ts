import type { Kafka, Message, Producer, RecordMetadata } from 'kafkajs';

import { withDeadline } from '../deadline.ts';
import type { Connections } from './kafkajs.ts';

/** A kafkajs client and its connections. */
export interface KafkaClient {
  readonly kafka: Kafka;
  readonly connections: Connections;
}

/** How long kafkajs may take to disconnect before its sockets are cut. */
const disconnectMs = 1000;

/** One idempotent producer: a producer id, its sequence numbers, its connections. */
export class LeasedProducer {
  readonly #producer: Producer;
  readonly #connections: Connections;
  readonly #connected: Promise<void>;
  #retired = false;
  #sending = 0;

  constructor({ kafka, connections }: KafkaClient) {
    this.#connections = connections;
    this.#producer = kafka.producer({
      idempotent: true,
      allowAutoTopicCreation: false,
      maxInFlightRequests: 5,
      // The lanes choose partitions, so that a retry goes where the first attempt went. A retired producer must not send:
      // kafkajs reconnects inside a send that was abandoned, and would deliver it after its repeat.
      createPartitioner:
        () =>
        ({ message }) => {
          if (this.#retired || message.partition === undefined) {
            throw new TypeError('this producer was given up');
          }
          return message.partition;
        },
      // At least one, says kafkajs; the real retries are the lanes'.
      retry: { retries: 1, initialRetryTime: 50, maxRetryTime: 50, factor: 0, multiplier: 1 },
    });
    this.#connected = this.#producer.connect();
    this.#connected.catch(() => undefined);
  }

  connected(): Promise<void> {
    return this.#connected;
  }

  async send(topic: string, messages: Message[]): Promise<readonly RecordMetadata[]> {
    this.#sending += 1;
    try {
      return await this.#producer.send({ topic, messages, acks: -1, timeout: 10_000 });
    } finally {
      this.#sending -= 1;
      if (this.#retired && this.#sending === 0) {
        await this.#disconnect();
      }
    }
  }

  get idle(): boolean {
    return this.#sending === 0;
  }

  /** Sends under way may still finish; none begins. Its connections close with the last one, or at once with `now`. */
  async retire({ now }: { readonly now: boolean }): Promise<void> {
    this.#retired = true;
    if (now || this.#sending === 0) {
      await this.#disconnect();
    }
  }

  async #disconnect(): Promise<void> {
    // Fails when the connections are gone already, or don't go in time: they are cut either way.
    await withDeadline(this.#producer.disconnect(), disconnectMs, 'still connected').catch(() => undefined);
    this.#connections.cut();
  }
}

/** The producer in use. Who finds it lost gives it up; the next one to ask gets a new one. */
export class ProducerLease {
  readonly #createClient: () => Promise<KafkaClient>;
  readonly #retired = new Set<LeasedProducer>();
  #current: Promise<LeasedProducer> | undefined;
  #closed = false;

  constructor(createClient: () => Promise<KafkaClient>) {
    this.#createClient = createClient;
  }

  /** Resolves when it is connected and has its producer id. Rejects as kafkajs does; the next call tries again. */
  async acquire(): Promise<LeasedProducer> {
    if (this.#closed) {
      throw new Error('the producer is closed');
    }
    const current = (this.#current ??= this.#createClient().then((client) => new LeasedProducer(client)));
    const producer = await current;
    try {
      await producer.connected();
      return producer;
    } catch (error) {
      this.#replace(current, producer);
      throw error;
    }
  }

  /** No send begins on it any more; the ones under way may finish. */
  async giveUp(producer: LeasedProducer): Promise<void> {
    const current = this.#current;
    if (current !== undefined && (await current) === producer) {
      this.#replace(current, producer);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const current = await this.#current?.catch(() => undefined);
    await Promise.all(
      [...this.#retired, ...(current === undefined ? [] : [current])].map((producer) => producer.retire({ now: true })),
    );
  }

  #replace(current: Promise<LeasedProducer>, producer: LeasedProducer): void {
    if (this.#current === current) {
      this.#current = undefined;
      this.#retired.add(producer);
      void producer.retire({ now: false }).then(() => {
        if (producer.idle) {
          this.#retired.delete(producer);
        }
      });
    }
  }
}

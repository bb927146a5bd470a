import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { OutgoingRecord, RecordPublisher } from '../ports.ts';
import { withDeadline } from '../deadline.ts';
import { Connections, createKafkaJs } from './kafkajs.ts';
import { PartitionLane, type Delivery, type LaneSettings, type SendTrouble } from './partition-lane.ts';
import { partitionOfKey } from './partitioner.ts';
import { connectFailure } from './produce-errors.ts';
import { ProducerLease, type KafkaClient } from './producer-lease.ts';
import { TopicPartitions } from './topic-partitions.ts';

export type { Delivery, SendTrouble } from './partition-lane.ts';

export interface PublisherOptions {
  /** Default: `kafka.clientId`. */
  readonly clientId?: string;
  /** How long a record is tried before it counts as not acked. Default 120 s, as in Kafka's own producer. */
  readonly deliveryTimeoutMs?: number;
  /** How long an unanswered send may take before the producer is given up for a new one. Default 15 s. */
  readonly stallMs?: number;
  /** Until the first contact is made. Default 7 s. */
  readonly connectDeadlineMs?: number;
  /** How long `close()` waits for what is in flight. Default 10 s. */
  readonly closeDeadlineMs?: number;
  /** Is told of sends that failed and are tried again. */
  readonly onTrouble?: (trouble: SendTrouble) => void;
}

/**
 * Connects a producer with acks=all.
 * @throws KPIPE_KAFKA_UNREACHABLE within 10 s, KPIPE_KAFKA_FAILED (authentication), KPIPE_CONFIG_INVALID
 */
export async function openPublisher(config: KafkaConfig, options: PublisherOptions = {}): Promise<KafkaPublisher> {
  const createClient = async (): Promise<KafkaClient> => {
    const connections = new Connections();
    return { kafka: await createKafkaJs(config, options.clientId ?? config.clientId, connections), connections };
  };
  const lease = new ProducerLease(createClient);
  try {
    await withDeadline(lease.acquire(), options.connectDeadlineMs ?? 7000, 'no answer');
  } catch (error) {
    await lease.close();
    throw connectFailure(config, error);
  }
  return new KafkaPublisher(config, lease, new TopicPartitions(config, createClient), options);
}

/**
 * A producer with acks=all on kafkajs. Each partition has a lane with one batch in flight: kafkajs rolls its sequence
 * numbers back when a send fails, so with two batches under way the broker could take the second for a repeat of the
 * first and acknowledge what it never stored. For the same reason a batch whose fate is unknown ends its producer.
 * A repeat after that can store a record twice: a record's identity makes it harmless downstream.
 */
export class KafkaPublisher implements RecordPublisher {
  readonly #lease: ProducerLease;
  readonly #settings: LaneSettings;
  readonly #closeDeadlineMs: number;
  readonly #lanes = new Map<string, PartitionLane>();
  readonly #partitions: TopicPartitions;
  readonly #closing = new AbortController();
  #nextKeyless = 0;

  constructor(config: KafkaConfig, lease: ProducerLease, partitions: TopicPartitions, options: PublisherOptions) {
    this.#lease = lease;
    this.#partitions = partitions;
    this.#closeDeadlineMs = options.closeDeadlineMs ?? 10_000;
    this.#settings = {
      config,
      deliveryTimeoutMs: options.deliveryTimeoutMs ?? 120_000,
      stallMs: options.stallMs ?? 15_000,
      closing: this.#closing.signal,
      ...(options.onTrouble === undefined ? {} : { onTrouble: options.onTrouble }),
    };
  }

  async publish(topic: string, records: readonly OutgoingRecord[]): Promise<void> {
    const deliveries = await this.deliver(topic, records);
    const failures = deliveries.filter((delivery) => delivery.kind === 'failed');
    const [first] = failures;
    if (first === undefined) {
      return;
    }
    if (failures.length === records.length) {
      throw first.error;
    }
    throw new KpipeError(
      'KPIPE_PRODUCE_FAILED',
      `${failures.length} of ${records.length} records for ${topic} were not acknowledged: ${first.error.message}`,
      {
        ...(first.error.next === undefined ? {} : { next: first.error.next }),
        where: { topic, ...first.error.where },
        cause: first.error,
      },
    );
  }

  /**
   * What became of each record, in their order. The order of a partition's records is kept, also over several calls.
   * @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_UNREACHABLE: nothing was sent
   */
  async deliver(topic: string, records: readonly OutgoingRecord[]): Promise<readonly Delivery[]> {
    if (this.#closing.signal.aborted) {
      throw new KpipeError('KPIPE_PRODUCE_FAILED', `nothing was sent to ${topic}: the producer is closed`, {
        where: { topic },
      });
    }
    const count = await this.partitionCount(topic);
    // Records without a key fill one partition a call, which keeps batches whole.
    const keyless = this.#nextKeyless++ % count;
    const byPartition = new Map<number, number[]>();
    for (const [index, { key, partition }] of records.entries()) {
      const target = partition ?? (key === null ? keyless : partitionOfKey(key, count));
      const indexes = byPartition.get(target);
      if (indexes === undefined) {
        byPartition.set(target, [index]);
      } else {
        indexes.push(index);
      }
    }
    const deliveries: Delivery[] = [];
    await Promise.all(
      Array.from(byPartition, ([partition, indexes]) =>
        this.#lane(topic, partition).enqueue(records, indexes, deliveries),
      ),
    );
    return deliveries;
  }

  /** How many partitions the topic has. @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_UNREACHABLE */
  partitionCount(topic: string): Promise<number> {
    return this.#partitions.count(topic);
  }

  /** Waits for what is in flight, up to its deadline; what is not acked by then fails. Idempotent. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#closing.abort(), this.#closeDeadlineMs);
    await Promise.all(Array.from(this.#lanes.values(), (lane) => lane.idle()));
    clearTimeout(timer);
    this.#closing.abort();
    await this.#lease.close();
  }

  #lane(topic: string, partition: number): PartitionLane {
    const name = `${topic}-${partition}`;
    const lane = this.#lanes.get(name) ?? new PartitionLane(topic, partition, this.#lease, this.#settings);
    this.#lanes.set(name, lane);
    return lane;
  }
}

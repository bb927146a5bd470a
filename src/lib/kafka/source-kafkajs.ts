import type { Socket } from 'node:net';

import type { Consumer, EachBatchPayload, KafkaMessage } from 'kafkajs';

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';
import {
  AssignmentLostError,
  type Assignment,
  type RecordHeader,
  type Source,
  type SourceListener,
  type SourceRecord,
  type TopicPartition,
} from '../ports.ts';
import { maxUnpackedBytes, unpackers } from './codecs.ts';
import { GroupCommits } from './group-commits.ts';
import { createKafkaJs } from './kafkajs.ts';

export interface KafkajsSourceOptions {
  readonly topic: string;
  readonly group: string;
  readonly clientId: string;
  /** What one fetch brings of one partition at most. */
  readonly maxBytesPerPartition: number;
  /** How long a broker may wait for the first byte: the price of an idle topic, paid in latency. */
  readonly maxWaitMs: number;
}

const heartbeatMs = 1000;
const stopDeadlineMs = 5000;

/** Reads a topic as a member of a group, by kafkajs: eager rebalances, positions given by the listener. */
export async function openKafkajsSource(config: KafkaConfig, options: KafkajsSourceOptions): Promise<Source> {
  const sockets = new Set<Socket>();
  const kafka = await createKafkaJs(config, options.clientId, sockets);
  await registerCodecs();
  const consumer = kafka.consumer({
    groupId: options.group,
    sessionTimeout: config.sessionTimeout,
    rebalanceTimeout: 30_000,
    heartbeatInterval: heartbeatMs,
    maxBytesPerPartition: options.maxBytesPerPartition,
    maxBytes: 1024 * 1024,
    minBytes: 1,
    maxWaitTimeInMs: options.maxWaitMs,
    // kafkajs' defaults give up after a few seconds and then stay silent for ever.
    retry: { retries: 60, initialRetryTime: 100, maxRetryTime: 1000, restartOnFailure: () => Promise.resolve(true) },
  });
  return new KafkajsSource(consumer, await GroupCommits.open(config, options.group), options, sockets);
}

async function registerCodecs(): Promise<void> {
  const { default: kafkajs } = await import('kafkajs');
  const { CompressionCodecs: registry, CompressionTypes: types } = kafkajs;
  const codec = (type: number) => () => ({ decompress: (bytes: Buffer) => unpackOrFail(type, bytes) });
  registry[types.GZIP] = codec(types.GZIP);
  registry[types.Snappy] = codec(types.Snappy);
  registry[types.LZ4] = codec(types.LZ4);
  registry[types.ZSTD] = codec(types.ZSTD);
}

async function unpackOrFail(codec: number, compressed: Buffer): Promise<Buffer> {
  const unpacked = await unpackers[codec]?.(compressed, maxUnpackedBytes);
  if (unpacked === null || unpacked === undefined) {
    throw new KpipeError(
      'KPIPE_KAFKA_FAILED',
      `a record batch holds more than ${maxUnpackedBytes} bytes uncompressed`,
      {
        next: 'find its producer; `kpipe replay` can step over the batch',
      },
    );
  }
  return unpacked;
}

interface PartitionState {
  readonly assignment: Assignment;
  /** The position of the next batch, once the listener has named where to begin. */
  readonly begun: Promise<void>;
  next: bigint | null;
  /** Sought since the last batch that fitted; a second misfit is no race but records that are gone. */
  sought: boolean;
}

/**
 * States of a membership: a generation begins with GROUP_JOIN and ends with the next REBALANCING or GROUP_JOIN. kafkajs
 * awaits nobody there, so an assignment of an ended generation is made inactive at once, and what is in hand is fenced by
 * the sink.
 */
class KafkajsSource implements Source {
  readonly #consumer: Consumer;
  readonly #commits: GroupCommits;
  readonly #options: KafkajsSourceOptions;
  readonly #sockets: ReadonlySet<Socket>;
  readonly #partitions = new Map<number, PartitionState>();
  readonly #ended = Promise.withResolvers<void>();
  #generation = new Generation('');
  #listener: SourceListener | null = null;
  #stopping: Promise<void> | null = null;

  constructor(consumer: Consumer, commits: GroupCommits, options: KafkajsSourceOptions, sockets: ReadonlySet<Socket>) {
    this.#consumer = consumer;
    this.#commits = commits;
    this.#options = options;
    this.#sockets = sockets;
  }

  async run(listener: SourceListener): Promise<void> {
    this.#listener = listener;
    this.#listen();
    // Not awaited: joining goes on trying for a minute, and a stop must not wait for it.
    this.#read().catch((error: unknown) => this.#fail(error));
    await this.#ended.promise;
  }

  async #read(): Promise<void> {
    await this.#consumer.connect();
    await this.#consumer.subscribe({ topic: this.#options.topic, fromBeginning: true });
    if (this.#stopping !== null) {
      return;
    }
    await this.#consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      // A partition that waits for room must not stop the others.
      partitionsConsumedConcurrently: 1000,
      eachBatch: (payload) => this.#onBatch(payload),
    });
  }

  #listen(): void {
    const { events } = this.#consumer;
    this.#consumer.on(events.GROUP_JOIN, ({ payload }) => {
      this.#join(payload.memberId, payload.memberAssignment[this.#options.topic] ?? []);
    });
    this.#consumer.on(events.REBALANCING, () => this.#endGeneration());
    this.#consumer.on(events.HEARTBEAT, ({ payload }) => {
      this.#generation.confirm(payload.memberId, payload.groupGenerationId);
    });
    // Batches of control or aborted records alone are only told of here.
    this.#consumer.on(events.END_BATCH_PROCESS, ({ payload }) => {
      if (payload.batchSize === 0) {
        this.#skip(payload.partition, payload.firstOffset, BigInt(payload.lastOffset) + 1n);
      }
    });
    this.#consumer.on(events.CRASH, ({ payload }) => {
      this.#endGeneration();
      if (!payload.restart) {
        this.#fail(payload.error);
      }
    });
  }

  #join(memberId: string, partitions: readonly number[]): void {
    this.#endGeneration();
    this.#generation = new Generation(memberId);
    this.#listener?.joined(partitions.length);
    for (const partition of partitions) {
      const assignment = this.#assignment(partition);
      const state: PartitionState = { assignment, begun: this.#begin(assignment), next: null, sought: false };
      this.#partitions.set(partition, state);
    }
  }

  #assignment(partition: number): Assignment {
    const generation = this.#generation;
    const commits = this.#commits;
    const { topic } = this.#options;
    return {
      topic,
      partition,
      get active() {
        return generation.active;
      },
      commit: async (offset, metadata) => {
        const membership = await generation.membership();
        await commits.commit(membership, [
          { topic, partition, offset, ...(metadata === undefined ? {} : { metadata }) },
        ]);
      },
    };
  }

  async #begin(assignment: Assignment): Promise<void> {
    try {
      const position = await this.#listener?.assigned(assignment);
      const state = this.#partitions.get(assignment.partition);
      if (position !== undefined && state?.assignment === assignment) {
        this.#seekTo(state, position);
      }
    } catch (error) {
      if (!(error instanceof AssignmentLostError) && assignment.active) {
        this.#fail(error);
      }
    }
  }

  #seekTo(state: PartitionState, position: bigint): void {
    state.next = position;
    const { topic, partition } = state.assignment;
    this.#consumer.seek({ topic, partition, offset: position.toString() });
  }

  seek({ partition }: TopicPartition, position: bigint): void {
    const state = this.#partitions.get(partition);
    if (state !== undefined) {
      this.#seekTo(state, position);
    }
  }

  #endGeneration(): void {
    this.#generation.end();
    const held = [...this.#partitions.values()].map(({ assignment }) => assignment);
    this.#partitions.clear();
    if (held.length > 0) {
      void this.#listener?.revoked(held);
    }
  }

  async #onBatch(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const heartbeat = (): Promise<void> => payload.heartbeat();
    const state = this.#partitions.get(batch.partition);
    if (state === undefined) {
      return;
    }
    await beating(state.begun, heartbeat);
    const from = fetchedFrom(batch);
    if (!state.assignment.active || state.next === null || payload.isStale()) {
      return;
    }
    if (from !== state.next) {
      this.#realign(state, from);
      return;
    }
    const nextPosition = BigInt(batch.lastOffset()) + 1n;
    state.next = nextPosition;
    state.sought = false;
    const records = batch.messages.map(recordOf);
    const fetched = {
      topic: batch.topic,
      partition: batch.partition,
      position: from,
      nextPosition,
      highWatermark: BigInt(batch.highWatermark),
      records,
      recordCount: records.length,
      bytes: records.reduce((sum, record) => sum + sizeOf(record), 0),
    };
    await beating(this.#listener?.fetched(fetched) ?? Promise.resolve(), heartbeat);
    if (state.assignment.active && !payload.isStale()) {
      payload.resolveOffset(batch.lastOffset());
    }
  }

  /** The fetch began elsewhere: a race with a seek, or the log no longer holds the position. */
  #realign(state: PartitionState, from: bigint): void {
    const expected = state.next ?? 0n;
    if (state.sought && from > expected) {
      // The listener checks the log's start when it claims; what is missing was deleted since.
      const { topic, partition } = state.assignment;
      this.#fail(
        new KpipeError('KPIPE_RECORDS_LOST', `offsets ${expected} to ${from - 1n} cannot be read any more`, {
          where: { topic, partition },
          next: 'start the role again: it tells exactly what retention took',
        }),
      );
      return;
    }
    state.sought = true;
    this.#seekTo(state, expected);
  }

  #skip(partition: number, firstOffset: string | null, nextPosition: bigint): void {
    const state = this.#partitions.get(partition);
    if (state === undefined || state.next === null || firstOffset === null || BigInt(firstOffset) !== state.next) {
      return;
    }
    const { topic } = state.assignment;
    const position = state.next;
    state.next = nextPosition;
    const empty = {
      topic,
      partition,
      position,
      nextPosition,
      highWatermark: nextPosition,
      records: [],
      recordCount: 0,
      bytes: 0,
    };
    void this.#listener?.fetched(empty);
  }

  quiesce(): void {
    const partitions = [...this.#partitions.keys()];
    if (partitions.length > 0) {
      this.#consumer.pause([{ topic: this.#options.topic, partitions }]);
    }
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#leave();
    return this.#stopping;
  }

  async #leave(): Promise<void> {
    this.#generation.end();
    this.#partitions.clear();
    // kafkajs waits for requests that are never answered; destroyed sockets end them.
    const deadline = setTimeout(() => {
      for (const socket of this.#sockets) {
        socket.destroy();
      }
    }, stopDeadlineMs);
    const left = this.#consumer.disconnect().catch(() => undefined);
    const giveUp = Promise.withResolvers<void>();
    const last = setTimeout(giveUp.resolve, stopDeadlineMs + 1000);
    await Promise.race([left, giveUp.promise]);
    clearTimeout(deadline);
    clearTimeout(last);
    await this.#commits.close();
    this.#ended.resolve();
  }

  #fail(error: unknown): void {
    const failure =
      error instanceof KpipeError
        ? error
        : new KpipeError('KPIPE_KAFKA_UNREACHABLE', `reading ${this.#options.topic} failed: ${messageOf(error)}`, {
            where: { topic: this.#options.topic, group: this.#options.group },
            next: '`kpipe doctor` looks at every store',
            cause: error,
          });
    this.#ended.reject(failure);
    void this.stop();
  }
}

/** One generation of the group; its number is known from the first heartbeat on. */
class Generation {
  readonly #memberId: string;
  readonly #membership = Promise.withResolvers<{ memberId: string; generation: number }>();
  active = true;

  constructor(memberId: string) {
    this.#memberId = memberId;
    // Whoever waits hears of it; nobody may.
    this.#membership.promise.catch(() => undefined);
  }

  confirm(memberId: string, generation: number): void {
    if (memberId === this.#memberId) {
      this.#membership.resolve({ memberId, generation });
    }
  }

  end(): void {
    this.active = false;
    this.#membership.reject(new AssignmentLostError('the assignment has ended'));
  }

  async membership(): Promise<{ memberId: string; generation: number }> {
    const membership = await this.#membership.promise;
    if (!this.active) {
      throw new AssignmentLostError('the assignment has ended');
    }
    return membership;
  }
}

/** Waits and keeps the membership alive. @throws when the group is rebalancing */
async function beating(work: Promise<void>, heartbeat: () => Promise<void>): Promise<void> {
  let beat: NodeJS.Timeout | undefined;
  const rebalancing = new Promise<never>((_, reject) => {
    beat = setInterval(() => void heartbeat().catch(reject), heartbeatMs);
  });
  try {
    await Promise.race([work, rebalancing]);
  } finally {
    clearInterval(beat);
  }
}

/** The offset that was asked for; kafkajs has it, its type does not. */
function fetchedFrom(batch: EachBatchPayload['batch']): bigint {
  const fetchedOffset: unknown = Reflect.get(batch, 'fetchedOffset');
  return BigInt(typeof fetchedOffset === 'string' || typeof fetchedOffset === 'number' ? fetchedOffset : -1);
}

function recordOf(message: KafkaMessage): SourceRecord {
  return {
    offset: BigInt(message.offset),
    timestampMs: Number(message.timestamp),
    key: message.key,
    value: message.value,
    headers: message.headers === undefined ? [] : headersOf(message.headers),
  };
}

/** kafkajs builds an object of names; an inherited one (`constructor`) brings what it inherits along. */
function headersOf(headers: NonNullable<KafkaMessage['headers']>): readonly RecordHeader[] {
  return Object.keys(headers).flatMap((name): RecordHeader[] => {
    const value = headers[name];
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    return values.flatMap((item): RecordHeader[] =>
      Buffer.isBuffer(item) ? [[name, item]] : item === null || item === undefined ? [[name, null]] : [],
    );
  });
}

function sizeOf(record: SourceRecord): number {
  return (record.key?.length ?? 0) + (record.value?.length ?? 0) + 40;
}

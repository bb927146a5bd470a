import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import {
  partitionKey,
  type ClusterAdmin,
  type FetchedBatch,
  type SourceRecord,
  type TopicPartition,
} from '../ports.ts';
import { Deliveries } from './deliveries.ts';
import { PartitionFetcher } from './fetch/partition-fetcher.ts';
import type { RangeBatch } from './range-batch.ts';
import { TimeMerge, type RangeItem } from './time-merge.ts';

/** Offsets [from, to) of a partition; without `to` it never ends. */
export interface PartitionRange extends TopicPartition {
  readonly from: bigint;
  readonly to: bigint | null;
}

export interface BoundedRange extends PartitionRange {
  readonly to: bigint;
}

export interface RangeReaderOptions {
  readonly topic: string;
  /** Default: `kafka.clientId`. */
  readonly clientId?: string;
  /** A read fails when nothing has come for so long, though more was waited for. Default: it waits on. */
  readonly silenceMs?: number;
  /** Told once when the cluster has been away for a while, and null when it answers again. */
  readonly onTrouble?: (reason: KpipeError | null) => void;
}

/** The ends that a bounded, read-committed read can reach now: nothing behind an open transaction. */
export async function stableRanges<Range extends PartitionRange>(
  admin: ClusterAdmin,
  ranges: readonly Range[],
): Promise<readonly (Omit<Range, 'to'> & BoundedRange)[]> {
  const answers = await admin.listOffsets(ranges, 'lastStable');
  const ends = new Map(answers.map((answer) => [partitionKey(answer), answer.offset ?? 0n]));
  return ranges.map((range) => {
    const end = ends.get(partitionKey(range)) ?? 0n;
    return { ...range, to: range.to === null || range.to > end ? end : range.to };
  });
}

/**
 * Reads ranges of a topic's partitions, read committed, as nobody's member: it joins no group and commits nothing. One
 * read at a time. What the log loses before it is read is told, not fatal.
 */
export class RangeReader {
  readonly #config: KafkaConfig;
  readonly #options: RangeReaderOptions;
  #fetcher: PartitionFetcher | null = null;
  #deliveries: Deliveries | null = null;

  constructor(config: KafkaConfig, options: RangeReaderOptions) {
    this.#config = config;
    this.#options = options;
  }

  /**
   * In the order in which Kafka answers; ends when every range is read, or at the signal. More is read when the batch has
   * been dealt with.
   * @throws KPIPE_TOPIC_MISSING, KPIPE_TOPIC_RECREATED, KPIPE_KAFKA_FAILED; KPIPE_KAFKA_UNREACHABLE after `silenceMs`
   */
  async *read(ranges: readonly PartitionRange[], signal: AbortSignal): AsyncGenerator<RangeBatch, void> {
    for await (const { batch, taken } of this.#items(ranges, signal)) {
      yield batch;
      taken();
    }
  }

  /**
   * Merged by the records' timestamps; of each partition in its own order. The ranges must have ends that can be reached
   * (`stableRanges`).
   * @throws as `read` does
   */
  async *readByTime(ranges: readonly BoundedRange[], signal: AbortSignal): AsyncGenerator<RangeBatch, void> {
    const merge = new TimeMerge(ranges);
    for await (const item of this.#items(ranges, signal)) {
      merge.add(item);
      yield* merge.ready();
    }
    yield* merge.rest();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#deliveries?.end();
    await this.#fetcher?.close();
    this.#fetcher = null;
  }

  async *#items(ranges: readonly PartitionRange[], signal: AbortSignal): AsyncGenerator<RangeItem, void> {
    const open = new Map(
      ranges
        .filter(({ from, to }) => to === null || from < to)
        .map((range) => [partitionKey(range), { range, position: range.from }]),
    );
    while (open.size > 0 && !signal.aborted) {
      try {
        yield* this.#deliveredItems(open, signal);
      } catch (error) {
        // The fetcher has ended with it; the next round opens another.
        const loss = lossOf(error);
        const reading = loss === null ? undefined : open.get(loss.key);
        if (loss === null || reading === undefined) {
          throw error;
        }
        const { position, range } = reading;
        // Under the position: cut off. At it: expired. Behind it the fetcher was ahead of us, and what is before is there.
        reading.position = loss.from < position ? loss.from : loss.from === position ? loss.to + 1n : position;
        const isLast = range.to !== null && reading.position >= range.to;
        if (isLast) {
          open.delete(loss.key);
        }
        if (loss.from <= position) {
          const { topic, partition } = range;
          const lost = { from: loss.from, to: loss.to };
          const batch = { topic, partition, records: [], nextPosition: reading.position, lost };
          yield { batch, isLast, taken: () => undefined };
        }
      }
    }
  }

  async *#deliveredItems(open: Map<string, Reading>, signal: AbortSignal): AsyncGenerator<RangeItem, void> {
    const deliveries = new Deliveries(signal, this.#options);
    this.#deliveries = deliveries;
    const reads = [...open.values()];
    const fetcher = await this.#running();
    try {
      for (const { range, position } of reads) {
        fetcher.add(range, position, (batch) => deliveries.push(batch));
      }
      for await (const { batch, taken } of deliveries.items()) {
        const reading = open.get(partitionKey(batch));
        if (reading === undefined) {
          continue;
        }
        const { range } = reading;
        const isLast = range.to !== null && batch.nextPosition >= range.to;
        reading.position = batch.nextPosition;
        if (isLast) {
          fetcher.remove([range]);
          open.delete(partitionKey(range));
        }
        yield { batch: withinRange(batch, range), isLast, taken };
        if (open.size === 0) {
          return;
        }
      }
    } finally {
      deliveries.end();
      fetcher.remove(reads.map(({ range }) => range));
    }
  }

  async #running(): Promise<PartitionFetcher> {
    if (this.#fetcher !== null) {
      return this.#fetcher;
    }
    const { topic, clientId = this.#config.clientId, onTrouble } = this.#options;
    const fetcher = await PartitionFetcher.open(this.#config, {
      ...fetchBounds,
      topic,
      clientId,
      ...(onTrouble === undefined ? {} : { onTrouble }),
    });
    this.#fetcher = fetcher;
    fetcher.run().catch((error: unknown) => {
      this.#fetcher = null;
      this.#deliveries?.fail(error);
    });
    return fetcher;
  }
}

const fetchBounds = { maxBytesPerPartition: 1_048_576, maxBytes: 16_777_216, minBytes: 1, maxWaitMs: 500 } as const;

interface Reading {
  readonly range: PartitionRange;
  position: bigint;
}

function withinRange(batch: FetchedBatch, { from, to }: PartitionRange): RangeBatch {
  const { topic, partition, nextPosition, unreadable } = batch;
  const records: SourceRecord[] = [];
  for (const record of batch.records) {
    if (record.offset >= from && (to === null || record.offset < to)) {
      records.push(record);
    }
  }
  return {
    topic,
    partition,
    records,
    nextPosition: to !== null && nextPosition > to ? to : nextPosition,
    ...(unreadable === undefined ? {} : { unreadable }),
  };
}

/** The offsets that a fetcher says are gone from the log: expired, or cut off with a leader that never had them. */
function lossOf(error: unknown): { readonly key: string; readonly from: bigint; readonly to: bigint } | null {
  if (!(error instanceof KpipeError) || error.code !== 'KPIPE_RECORDS_LOST') {
    return null;
  }
  const { topic, partition, lostFrom: from, lostTo: to } = error.where;
  return typeof topic === 'string' &&
    typeof partition === 'number' &&
    typeof from === 'bigint' &&
    typeof to === 'bigint'
    ? { key: partitionKey({ topic, partition }), from, to }
    : null;
}

import { partitionKey, type TopicPartition } from '../ports.ts';
import type { RangeBatch } from './range-batch.ts';

/** A batch that waits to be dealt with; `taken` lets the partition be read on. */
export interface RangeItem {
  readonly batch: RangeBatch;
  /** The range ends with it. */
  readonly isLast: boolean;
  readonly taken: () => void;
}

interface Head {
  readonly item: RangeItem;
  /** Of the next record of the batch. */
  index: number;
}

/**
 * Merges partitions by the timestamps of their records: the earliest of all heads goes first, once every partition that
 * has not ended shows its head. Holds one batch of each partition.
 */
export class TimeMerge {
  readonly #heads = new Map<string, Head>();
  /** Partitions that will bring more than what is held. */
  readonly #unended: Set<string>;

  constructor(ranges: readonly (TopicPartition & { readonly from: bigint; readonly to: bigint })[]) {
    this.#unended = new Set(ranges.filter(({ from, to }) => from < to).map(partitionKey));
  }

  add(item: RangeItem): void {
    const key = partitionKey(item.batch);
    this.#heads.set(key, { item, index: 0 });
    if (item.isLast) {
      this.#unended.delete(key);
    }
  }

  /** What can go already. */
  *ready(): Generator<RangeBatch> {
    while (this.#heads.size > 0 && [...this.#unended].every((key) => this.#heads.has(key))) {
      yield* this.#next();
    }
  }

  /** What is held when nothing more comes. */
  *rest(): Generator<RangeBatch> {
    while (this.#heads.size > 0) {
      yield* this.#next();
    }
  }

  /** The run of records of the partition whose head is earliest, up to where another partition's is. */
  *#next(): Generator<RangeBatch> {
    const [key, head, limitMs] = this.#earliest();
    const { records, ...rest } = head.item.batch;
    let end = head.index;
    for (let record = records[end]; record !== undefined && record.timestampMs <= limitMs; record = records[end]) {
      end += 1;
    }
    const isWhole = end >= records.length;
    const last = records[end - 1];
    const { topic, partition } = rest;
    const run = records.slice(head.index, end);
    head.index = end;
    if (isWhole) {
      this.#heads.delete(key);
      yield { ...rest, records: run };
      head.item.taken();
    } else if (last !== undefined) {
      yield { topic, partition, records: run, nextPosition: last.offset + 1n };
    }
  }

  /** The partition to go first, and the time of the second. A batch without records goes at once. */
  #earliest(): readonly [string, Head, number] {
    let first: readonly [string, Head] | undefined;
    let firstMs = Number.POSITIVE_INFINITY;
    let secondMs = Number.POSITIVE_INFINITY;
    for (const [key, head] of this.#heads) {
      const timestampMs = head.item.batch.records[head.index]?.timestampMs ?? Number.NEGATIVE_INFINITY;
      if (first === undefined || timestampMs < firstMs) {
        secondMs = first === undefined ? secondMs : firstMs;
        firstMs = timestampMs;
        first = [key, head];
      } else {
        secondMs = Math.min(secondMs, timestampMs);
      }
    }
    if (first === undefined) {
      throw new TypeError('nothing is held');
    }
    return [first[0], first[1], secondMs];
  }
}

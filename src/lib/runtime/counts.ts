import { partitionKey, type TopicPartition } from '../ports.ts';
import type { ClosedBatch } from './batch.ts';
import type { OffsetRow } from './sink.ts';

/** What a run did with one partition: `nextOffset - firstOffset` covers records, and gaps beside them. */
export interface PartitionCounts extends TopicPartition {
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  readonly records: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLetters: number;
  readonly skipped: number;
}

export interface Totals {
  readonly records: number;
  readonly stored: number;
  readonly duplicates: number;
  readonly deadLetters: number;
  readonly skipped: number;
}

/** Counts what was written, per partition, for reports. */
export class RunCounts {
  readonly #partitions = new Map<string, PartitionCounts>();

  add(batch: ClosedBatch<OffsetRow>, outcome: { readonly stored: number; readonly duplicates: number }): void {
    const { topic, partition, position, nextPosition, deadLetters, skipped } = batch.sink;
    const key = partitionKey(batch.sink);
    const before = this.#partitions.get(key);
    this.#partitions.set(key, {
      topic,
      partition,
      // The position may have been turned back between two batches (a replay, an older backup).
      firstOffset: before === undefined || position < before.firstOffset ? position : before.firstOffset,
      nextOffset: nextPosition,
      records: (before?.records ?? 0) + batch.recordCount,
      stored: (before?.stored ?? 0) + outcome.stored,
      duplicates: (before?.duplicates ?? 0) + outcome.duplicates,
      deadLetters: (before?.deadLetters ?? 0) + deadLetters,
      skipped: (before?.skipped ?? 0) + skipped,
    });
  }

  /** A partition that was claimed and from which nothing was written yet. */
  claimed({ topic, partition }: TopicPartition, position: bigint): void {
    const key = partitionKey({ topic, partition });
    if (!this.#partitions.has(key)) {
      this.#partitions.set(key, {
        topic,
        partition,
        firstOffset: position,
        nextOffset: position,
        records: 0,
        stored: 0,
        duplicates: 0,
        deadLetters: 0,
        skipped: 0,
      });
    }
  }

  partitions(): readonly PartitionCounts[] {
    return [...this.#partitions.values()].toSorted((left, right) => left.partition - right.partition);
  }

  totals(): Totals {
    const sum = (of: (counts: PartitionCounts) => number): number =>
      this.partitions().reduce((total, counts) => total + of(counts), 0);
    return {
      records: sum((counts) => counts.records),
      stored: sum((counts) => counts.stored),
      duplicates: sum((counts) => counts.duplicates),
      deadLetters: sum((counts) => counts.deadLetters),
      skipped: sum((counts) => counts.skipped),
    };
  }
}

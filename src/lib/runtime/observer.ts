import type { ClosedBatch } from './batch.ts';
import type { OffsetRow } from './sink.ts';

/** A batch that is durable. */
export interface WrittenBatch {
  readonly batch: ClosedBatch<OffsetRow>;
  readonly stored: number;
  readonly duplicates: number;
  /** From the first attempt until it was durable: dead letters, retries and pauses included. */
  readonly writeMs: number;
  readonly atMs: number;
}

/** Is told what a run does; it must not throw, and costs the run its time. */
export interface RunObserver {
  wrote(written: WrittenBatch): void;
  /** A generation of the group began, and gave this member so many partitions. */
  joined(partitions: number): void;
}

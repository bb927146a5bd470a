import type { Decode, BatchLimits, RowBytes } from './batch.ts';
import type { OffsetRow, Sink } from './sink.ts';

/** A role, ready to run: how its records are read, where they go, what bounds it. */
export interface Role<Row extends OffsetRow> {
  readonly name: string;
  readonly topic: string;
  readonly deadLetterTopic: string;
  readonly decode: Decode<Row>;
  readonly sink: Sink<Row>;
  readonly batch: BatchLimits;
  /** Where a row is not objects. */
  readonly rowBytes?: RowBytes<Row>;
  readonly breaker: { readonly share: number; readonly of: number };
  readonly drainDeadlineMs: number;
  /** What all partitions may hold, where the run's default is not enough. */
  readonly memoryBytes?: number;
  /** Batches written at once, where the sink bounds itself. */
  readonly concurrency?: number;
}

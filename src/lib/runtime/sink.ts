import type { KpipeError } from '../errors.ts';
import type { Assignment, TopicPartition } from '../ports.ts';

/**
 * What a role writes through. A sink owns the truth about positions: the runtime asks it where to read from, and hands it
 * batches that begin there. Effect and position move together or not at all; how, is the sink's business (a
 * transaction in PostgreSQL, an intent in the group's commit for BigQuery).
 */
export interface Sink<Row extends OffsetRow> {
  /**
   * Takes the partition over from whoever had it, finishes what that one left half done, and answers where to go on.
   * @throws KpipeError KPIPE_TOPIC_RECREATED, KPIPE_SCHEMA_MISSING, …
   */
  claim(assignment: Assignment): Promise<Claim>;
  /** Writes rows and position. Throws only what a retry may cure or what ends the role (see `classify`). */
  write(claim: Claim, batch: SinkBatch<Row>): Promise<WriteOutcome>;
  /**
   * Of partitions in which nothing is being written, those that the store no longer has where we left them: an older
   * backup, or a standby that lagged. The next write would find out; without records to write there is none.
   */
  strayed?<Standing extends { readonly claim: Claim; readonly position: bigint }>(
    standings: readonly Standing[],
  ): Promise<readonly Standing[]>;
  /** Runs after the write, never before; its failure is counted and costs nothing else. */
  afterCommit?(batch: SinkBatch<Row>): Promise<void>;
  /** The sink commits to the group itself; otherwise the runtime mirrors positions there for lag tools. */
  readonly commitsToGroup: boolean;
  /** What the sink's own failures mean: `retry` (it is away, or busy) or `fatal` (configuration, or a bug). */
  classify(error: unknown): 'retry' | 'fatal';
  /** Such a failure for the operator: with a code, without row data. */
  describe(error: unknown): KpipeError;
  /** The partition goes away: a write that waits, and has begun nothing yet, ends at once and as fenced. */
  release?(claim: Claim): void;
  /** What the store may bill or ration, since the sink was opened; without it, nothing. */
  usage?(): SinkUsage;
  /** Asks the store for a sign of life. @throws what it fails with; without it, only writing tells */
  ping?(): Promise<void>;
  close(): Promise<void>;
}

export interface SinkUsage {
  /** Requests that carried rows; a load job is one. */
  readonly requests: number;
  /** Of the rows in them, as sent. Attempts that failed count too. */
  readonly bytes: number;
  readonly loadJobs: number;
  /** By list prices. */
  readonly dollars: number;
  readonly sinceMs: number;
}

/** The right to write a partition, until somebody else claims it. */
export interface Claim extends TopicPartition {
  /** Where to read from. */
  readonly position: bigint;
  /** Rises with each claim of the partition; fences the ones before. */
  readonly epoch: bigint;
}

/** A row knows the record that it came from. */
export interface OffsetRow {
  readonly offset: bigint;
}

export interface SinkBatch<Row extends OffsetRow> extends TopicPartition {
  /** The position that the batch was read from: the claim's, or the `nextPosition` of the batch before. */
  readonly position: bigint;
  readonly nextPosition: bigint;
  readonly rows: readonly Row[];
  /** How many records of the range became dead letters or were skipped: stored with the position, for `kpipe verify`. */
  readonly deadLetters: number;
  readonly skipped: number;
  /** Offsets in the range that hold no record for us: compacted, aborted, control. */
  readonly gaps: number;
}

export type WriteOutcome =
  /** Rows and position are durable. */
  | { readonly kind: 'written'; readonly stored: number; readonly duplicates: number }
  /** Nothing was written: these rows must become dead letters first; then the batch is written without them. */
  | { readonly kind: 'rejected'; readonly rejections: readonly Rejection[] }
  /** Nothing was written: somebody else has claimed the partition. */
  | { readonly kind: 'fenced' };

export interface Rejection {
  readonly offset: bigint;
  /** The dead letter's reason code, such as `number_range` or `bq_schema`. */
  readonly reason: string;
  readonly sqlstate?: string;
  /** Without row data. */
  readonly message: string;
}

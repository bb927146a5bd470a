import type { TopicPartition } from '../ports.ts';
import type { Rejection } from '../runtime/sink.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import type { Intent } from './intent.ts';

/** The records [from, to) of a partition, as their rows. */
export interface StagingBatch {
  readonly partition: TopicPartition;
  readonly from: bigint;
  readonly to: bigint;
  readonly rows: readonly AnalyticsRow[];
  /** Aborted when the partition goes away: then what has not begun need not begin. */
  readonly released: AbortSignal;
}

/**
 * One way into BigQuery, in the steps that the sink's protocol needs: nothing is visible before `land`, `land` is only
 * called once the intent is durable, and `settle` finds out, for whoever finds an intent, what became of it.
 */
export interface BatchWriter {
  /** @throws AssignmentLostError when `released` is aborted while waiting */
  stage(batch: StagingBatch): Promise<StageOutcome>;
  /**
   * Brings an intent to its end, from wherever it stands; may be repeated by anyone at any time.
   * @returns whether the rows are in the table; if not, none of them is, and none will be
   */
  settle(partition: TopicPartition, intent: Intent): Promise<boolean>;
  close(): Promise<void>;
}

export type StageOutcome =
  | { readonly kind: 'staged'; readonly staged: StagedBatch }
  | { readonly kind: 'rejected'; readonly rejections: readonly Rejection[] };

export interface StagedBatch {
  readonly intent: Intent;
  /** Makes the rows visible, all or none. What it throws leaves open whether they are: `settle` answers that. */
  land(): Promise<LandOutcome>;
  /** The intent may not be durable: the rows must not become visible. Called instead of `land`. */
  withdraw(): void;
}

export type LandOutcome =
  | { readonly kind: 'landed' }
  /** Nothing is visible, nothing will be, and the rows are not at fault: stage them again. */
  | { readonly kind: 'void' }
  /** Nothing is visible, nothing will be: these rows are at fault. */
  | { readonly kind: 'rejected'; readonly rejections: readonly Rejection[] };

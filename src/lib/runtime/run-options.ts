import type { KpipeError } from '../errors.ts';
import type { ClusterAdmin, RecordPublisher, Source } from '../ports.ts';
import type { PartitionCounts, RunCounts, Totals } from './counts.ts';
import type { RunObserver } from './observer.ts';

/** What a role needs of Kafka. */
export interface RoleEdges {
  readonly source: Source;
  readonly publisher: RecordPublisher;
  readonly admin: ClusterAdmin;
}

export interface RunOptions {
  /** Kafka's id of the role's topic. */
  readonly topicId: string;
  /** Ends when everything that is in the topic now has been written. */
  readonly untilDrained: boolean;
  readonly forMs: number | null;
  /** Batches written at once. */
  readonly concurrency: number;
  readonly skipLost: boolean;
  /** Drains and ends. */
  readonly signal: AbortSignal;
  /** Told why writing of a partition waits, at each attempt; null when it goes on. */
  readonly onPaused: (partition: number, reason: KpipeError | null) => void;
  readonly observer?: RunObserver;
  /** Of the runs that this one carries on; their counts and their time are its own too. */
  readonly before?: { readonly counts: RunCounts; readonly startedAtMs: number };
  readonly now: () => number;
  readonly random: () => number;
}

export interface RunResult {
  readonly role: string;
  readonly partitions: readonly PartitionCounts[];
  readonly totals: Totals;
  readonly seconds: number;
  readonly recordsPerSec: number;
  readonly maxRssBytes: number;
}

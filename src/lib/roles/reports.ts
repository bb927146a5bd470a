import type { KpipeError } from '../errors.ts';
import type { Totals } from '../runtime/counts.ts';
import type { RunObserver } from '../runtime/observer.ts';
import type { RoleRun } from '../runtime/run-role.ts';

/** What a running role says of itself now and then. */
export interface ConsumeReport {
  readonly at: string;
  readonly role: string;
  readonly totals: Totals;
  /** Since the report before. */
  readonly recordsPerSec: number;
  readonly partitions: number;
  /** Records in the logs beyond the positions; null while Kafka does not say. */
  readonly lagRecords: number | null;
  /** Mean over the batches since the report before; null when there was none. */
  readonly batchMs: number | null;
  /** Why partitions wait, if any do. */
  readonly paused: string | null;
  readonly rssBytes: number;
}

/** Draws up the reports of one run. */
export class RunReports implements RunObserver {
  readonly #role: string;
  readonly #now: () => number;
  readonly #paused = new Map<number, KpipeError>();
  readonly #notice: (text: string) => void;
  #records = 0;
  #atMs: number;
  #batches = 0;
  #batchMs = 0;

  constructor(role: string, now: () => number, notice: (text: string) => void) {
    this.#role = role;
    this.#now = now;
    this.#notice = notice;
    this.#atMs = now();
  }

  wrote({ writeMs }: { readonly writeMs: number }): void {
    this.#batches += 1;
    this.#batchMs += writeMs;
  }

  joined(): void {
    // A rebalance shows in the partitions of the next report.
  }

  /** Says once that the role waits, and once that it goes on. */
  paused(partition: number, reason: KpipeError | null): void {
    const wasPaused = this.#paused.size > 0;
    if (reason === null) {
      this.#paused.delete(partition);
    } else {
      this.#paused.set(partition, reason);
    }
    if (!wasPaused && reason !== null) {
      this.#notice(`waiting: ${reason.code} ${reason.message}`);
    } else if (wasPaused && this.#paused.size === 0) {
      this.#notice('going on');
    }
  }

  async report(run: Pick<RoleRun<never>, 'result' | 'backlog'>): Promise<ConsumeReport> {
    const backlog = await run.backlog().catch(() => null);
    const { totals, partitions } = run.result();
    const now = this.#now();
    const [reason] = this.#paused.values();
    const recordsPerSec = Math.round(((totals.records - this.#records) * 1000) / Math.max(1, now - this.#atMs));
    const batchMs = this.#batches === 0 ? null : Math.round(this.#batchMs / this.#batches);
    this.#records = totals.records;
    this.#atMs = now;
    this.#batches = 0;
    this.#batchMs = 0;
    return {
      at: new Date(now).toISOString(),
      role: this.#role,
      totals,
      recordsPerSec,
      partitions: partitions.length,
      lagRecords: backlog === null ? null : backlog.reduce((sum, { lagRecords }) => sum + lagRecords, 0),
      batchMs,
      paused: reason === undefined ? null : `${reason.code} ${reason.message}`,
      rssBytes: process.memoryUsage.rss(),
    };
  }
}

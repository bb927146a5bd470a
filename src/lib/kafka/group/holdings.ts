import { DeadlineExpired, withDeadline } from '../../deadline.ts';
import { AssignmentLostError, type Assignment, type SourceListener, type TopicPartition } from '../../ports.ts';
import type { PartitionHolder } from './membership.ts';

/** What the holdings need of the fetch loop. */
export interface PartitionReader {
  start(assignment: Assignment, position: bigint): void;
  stop(partitions: readonly TopicPartition[]): void;
}

export interface HoldingsOptions {
  readonly topic: string;
  /** How long what is revoked may be drained; then it is released all the same, and the sink fences what still writes. */
  readonly drainMs: number;
  readonly listener: SourceListener;
  readonly reader: PartitionReader;
  readonly commit: (assignment: Assignment, offset: bigint, metadata: string) => Promise<void>;
  /** Something was released: the group waits to hear it. */
  readonly onReleased: () => void;
  readonly onFailed: (error: unknown) => void;
}

/** A member that was given nothing may be about to get what others are draining; who waits to hear so, waits this long. */
const settleMs = 3000;

/**
 * The partitions of a member, each in one state:
 *
 *     (not held) ──aim──▶ beginning ──`assigned` answers──▶ reading ──aim without it──▶ draining ──▶ (released)
 *                            └──────────aim without it──────────────────────▲
 *
 * An assignment is active while it begins, is read and is drained (what is in hand may still be written and committed),
 * and never again. One that has not begun when it is revoked is inactive at once: nothing is in hand. `lose` ends every
 * state at once. A partition that comes back is begun when the listener has let go of it, not before.
 */
export class Holdings implements PartitionHolder {
  readonly #options: HoldingsOptions;
  readonly #held = new Map<number, Holding>();
  /** What the listener has not let go of yet. */
  readonly #ending = new Map<number, Promise<void>>();
  #target: ReadonlySet<number> = new Set();
  #settled: NodeJS.Timeout | null = null;
  #quiet = false;

  constructor(options: HoldingsOptions) {
    this.#options = options;
  }

  get held(): readonly number[] {
    return [...this.#held.keys()];
  }

  get isDraining(): boolean {
    return this.#held.values().some(({ isDraining }) => isDraining);
  }

  aim(target: readonly number[]): void {
    this.#target = new Set(target);
    this.#tellJoined(target.length);
    this.#reconcile();
  }

  #tellJoined(count: number): void {
    if (this.#settled !== null) {
      clearTimeout(this.#settled);
      this.#settled = null;
    }
    if (count > 0) {
      this.#options.listener.joined(count);
    } else {
      this.#settled = setTimeout(() => this.#options.listener.joined(0), settleMs);
    }
  }

  #reconcile(): void {
    for (const holding of this.#held.values()) {
      if (!this.#target.has(holding.partition) && !holding.isDraining) {
        holding.isDraining = true;
        void this.#drain(holding);
      }
    }
    for (const partition of this.#target) {
      if (!this.#held.has(partition)) {
        this.#begin(partition);
      }
    }
  }

  #begin(partition: number): void {
    const holding = new Holding(this.#options.topic, partition, this.#options.commit);
    this.#held.set(partition, holding);
    holding.begun = this.#open(holding);
  }

  async #open(holding: Holding): Promise<void> {
    const { listener, reader, onFailed } = this.#options;
    try {
      await this.#ending.get(holding.partition);
      if (!holding.active || this.#quiet) {
        return;
      }
      const position = await listener.assigned(holding);
      holding.hasBegun = true;
      if (holding.active && !holding.isDraining && !this.#quiet) {
        reader.start(holding, position);
      }
    } catch (error) {
      if (!(error instanceof AssignmentLostError) && holding.active) {
        onFailed(error);
      }
    }
  }

  async #drain(holding: Holding): Promise<void> {
    const { drainMs, reader, onReleased } = this.#options;
    reader.stop([holding]);
    if (!holding.hasBegun) {
      holding.end();
    }
    const letGo = this.#letGo([holding], holding.begun);
    await withDeadline(letGo, drainMs, 'not drained').catch((error: unknown) => {
      if (!(error instanceof DeadlineExpired)) {
        this.#options.onFailed(error);
      }
    });
    holding.end();
    if (this.#held.get(holding.partition) === holding) {
      this.#held.delete(holding.partition);
      onReleased();
      // The group may have given it back meanwhile.
      this.#reconcile();
    }
  }

  lose(): void {
    const lost = [...this.#held.values()];
    this.#held.clear();
    this.#target = new Set();
    lost.forEach((holding) => holding.end());
    this.#options.reader.stop(lost);
    const untold = lost.filter(({ isDraining }) => !isDraining);
    if (untold.length > 0) {
      void this.#letGo(untold, Promise.all(untold.map(({ begun }) => begun))).catch(this.#options.onFailed);
    }
  }

  /** Tells the listener, and remembers until it has answered. */
  async #letGo(holdings: readonly Holding[], begun: Promise<unknown>): Promise<void> {
    const { listener } = this.#options;
    const partitions = holdings.map(({ topic, partition }) => ({ topic, partition }));
    // Who has been given its position has something to let go of, now; who is about to be is waited for.
    const told = holdings.every(({ hasBegun }) => hasBegun)
      ? listener.revoked(partitions)
      : begun.then(() => listener.revoked(partitions));
    for (const { partition } of holdings) {
      const done = told.catch(() => undefined);
      this.#ending.set(partition, done);
      void done.then(() => {
        if (this.#ending.get(partition) === done) {
          this.#ending.delete(partition);
        }
      });
    }
    await told;
  }

  /** Nothing new begins; what is held stays. */
  quiesce(): void {
    this.#quiet = true;
  }

  assignment(partition: number): Assignment | undefined {
    return this.#held.get(partition);
  }

  /** Every assignment ends, and nobody is told: whoever stops knows. */
  end(): void {
    if (this.#settled !== null) {
      clearTimeout(this.#settled);
    }
    this.#quiet = true;
    for (const holding of this.#held.values()) {
      holding.end();
    }
    this.#held.clear();
  }
}

class Holding implements Assignment {
  readonly topic: string;
  readonly partition: number;
  readonly #commit: HoldingsOptions['commit'];
  #active = true;
  isDraining = false;
  hasBegun = false;
  begun: Promise<void> = Promise.resolve();

  constructor(topic: string, partition: number, commit: HoldingsOptions['commit']) {
    this.topic = topic;
    this.partition = partition;
    this.#commit = commit;
  }

  get active(): boolean {
    return this.#active;
  }

  end(): void {
    this.#active = false;
  }

  async commit(offset: bigint, metadata = ''): Promise<void> {
    if (!this.#active) {
      throw new AssignmentLostError('the assignment has ended');
    }
    await this.#commit(this, offset, metadata);
  }
}

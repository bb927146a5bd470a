import { vi } from 'vitest';

import type {
  Assignment,
  FetchedBatch,
  Source,
  SourceListener,
  SourceRecord,
  TopicPartition,
} from '../../src/lib/ports.ts';

/** A delivered batch, its records iterated once. */
export type TakenBatch = Omit<FetchedBatch, 'records'> & { readonly records: readonly SourceRecord[] };

/**
 * What a sink keeps, in memory: the position and the epoch of each partition, and what took effect. A member that was
 * overtaken is fenced here, as PostgreSQL fences it.
 */
export class Ledger {
  readonly #partitions = new Map<number, { position: bigint; epoch: number; readonly records: SourceRecord[] }>();
  readonly #startAt: (partition: number) => bigint;

  constructor(startAt: (partition: number) => bigint = () => 0n) {
    this.#startAt = startAt;
  }

  #of(partition: number) {
    const known = this.#partitions.get(partition) ?? { position: this.#startAt(partition), epoch: 0, records: [] };
    this.#partitions.set(partition, known);
    return known;
  }

  claim(partition: number): { readonly position: bigint; readonly epoch: number } {
    const row = this.#of(partition);
    row.epoch += 1;
    return { position: row.position, epoch: row.epoch };
  }

  /** Whether the batch took effect. */
  accept(batch: Pick<TakenBatch, 'partition' | 'position' | 'nextPosition' | 'records'>, epoch: number): boolean {
    const row = this.#of(batch.partition);
    if (row.epoch !== epoch || row.position !== batch.position) {
      return false;
    }
    row.position = batch.nextPosition;
    row.records.push(...batch.records);
    return true;
  }

  position(partition: number): bigint {
    return this.#of(partition).position;
  }

  records(partition: number): readonly SourceRecord[] {
    return this.#of(partition).records;
  }

  /** Of all partitions, in the order of their partition. */
  values(partition: number): readonly (string | null)[] {
    return this.records(partition).map(({ value }) => value?.toString() ?? null);
  }
}

export interface TimelineEntry {
  readonly member: string;
  readonly event: 'joined' | 'assigned' | 'revoking' | 'released';
  readonly partitions: readonly number[];
}

export type Outcome = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: unknown };

export interface MemberOptions {
  readonly name: string;
  readonly source: Source;
  readonly ledger: Ledger;
  /** What happened to all members of a test, in order. */
  readonly timeline: TimelineEntry[];
  /** How long it waits for a condition. */
  readonly patienceMs: number;
  /** Where to begin, when not where the ledger says. */
  readonly startAt?: (partition: number) => bigint | Promise<bigint>;
}

interface Held {
  readonly assignment: Assignment;
  epoch: number;
  /** Null until the listener has answered where to begin. */
  next: bigint | null;
}

/** A member of a group behind the `Source` port: it holds each call against the port's promises. */
export class TestMember {
  readonly name: string;
  readonly source: Source;
  readonly ledger: Ledger;
  /** Every batch that was delivered to it, also where it had no effect. */
  readonly batches: TakenBatch[] = [];
  readonly assignments: Assignment[] = [];
  /** The port's promises that were broken; empty is what a test wants. */
  readonly violations: string[] = [];
  readonly ended: Promise<Outcome>;
  outcome: Outcome | null = null;
  readonly #options: MemberOptions;
  readonly #held = new Map<number, Held>();
  readonly #holding = new Map<number, PromiseWithResolvers<void>>();
  readonly #waiting = new Set<number>();
  #revoke: PromiseWithResolvers<void> | null = null;

  constructor(options: MemberOptions) {
    this.name = options.name;
    this.source = options.source;
    this.ledger = options.ledger;
    this.#options = options;
    this.ended = this.#run();
  }

  async #run(): Promise<Outcome> {
    try {
      await this.source.run(this.#listener());
      this.outcome = { kind: 'done' };
    } catch (error) {
      this.outcome = { kind: 'failed', error };
    }
    return this.outcome;
  }

  #tell(event: TimelineEntry['event'], partitions: readonly number[]): void {
    this.#options.timeline.push({ member: this.name, event, partitions });
  }

  #listener(): SourceListener {
    return {
      joined: () => this.#tell('joined', []),
      assigned: async (assignment) => {
        this.#tell('assigned', [assignment.partition]);
        this.assignments.push(assignment);
        const { position, epoch } = this.ledger.claim(assignment.partition);
        const held: Held = { assignment, epoch, next: null };
        this.#held.set(assignment.partition, held);
        held.next = (await this.#options.startAt?.(assignment.partition)) ?? position;
        return held.next;
      },
      fetched: (batch) => this.#take(batch),
      revoked: async (partitions) => {
        const numbers = partitions.map(({ partition }) => partition).toSorted(byNumber);
        this.#tell('revoking', numbers);
        await this.#revoke?.promise;
        for (const partition of numbers) {
          this.#held.delete(partition);
          this.release(partition);
        }
        this.#tell('released', numbers);
      },
    };
  }

  async #take(fetched: FetchedBatch): Promise<void> {
    const { partition } = fetched;
    const batch = { ...fetched, records: [...fetched.records] };
    this.batches.push(batch);
    const held = this.#held.get(partition);
    if (held === undefined) {
      this.violations.push(`a fetch of partition ${partition}, which is not assigned`);
      return;
    }
    this.#check(batch, held);
    held.next = batch.nextPosition;
    this.ledger.accept(batch, held.epoch);
    await this.#holding.get(partition)?.promise;
    this.#waiting.delete(partition);
  }

  #check(batch: TakenBatch, { next }: Held): void {
    const { partition, position, nextPosition, records, highWatermark } = batch;
    const broken = (what: string): void => {
      this.violations.push(`partition ${partition}: ${what}`);
    };
    if (this.#waiting.has(partition)) {
      broken('a fetch came before the one before it was taken');
    }
    this.#waiting.add(partition);
    if (next === null) {
      broken('a fetch came before it was said where to begin');
    } else if (position !== next) {
      broken(`a fetch begins at ${position}, not at ${next}`);
    }
    if (nextPosition <= position || nextPosition > highWatermark) {
      broken(`a fetch from ${position} goes to ${nextPosition}, with the high watermark at ${highWatermark}`);
    }
    if (batch.recordCount !== records.length) {
      broken(`${records.length} records where ${batch.recordCount} are said to be`);
    }
    let last = position - 1n;
    for (const { offset } of records) {
      if (offset <= last || offset >= nextPosition) {
        broken(`offset ${offset} after ${last} in a fetch from ${position} to ${nextPosition}`);
      }
      last = offset;
    }
  }

  /** The partitions that it has now. */
  get held(): readonly number[] {
    return [...this.#held]
      .flatMap(([partition, { assignment }]) => (assignment.active ? [partition] : []))
      .toSorted(byNumber);
  }

  /** From the next fetch on, the partition has no room until it is released. */
  hold(...partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.#holding.set(partition, Promise.withResolvers());
    }
  }

  release(...partitions: readonly number[]): void {
    for (const partition of partitions) {
      this.#holding.get(partition)?.resolve();
      this.#holding.delete(partition);
    }
  }

  /** Whether a fetch of it was delivered and waits for room. */
  isWaiting(partition: number): boolean {
    return this.#waiting.has(partition);
  }

  /** The next revoke does not end until `endRevoke`. */
  holdRevoke(): void {
    this.#revoke = Promise.withResolvers();
  }

  endRevoke(): void {
    this.#revoke?.resolve();
    this.#revoke = null;
  }

  seek(partition: TopicPartition, position: bigint): void {
    this.source.seek(partition, position);
    const held = this.#held.get(partition.partition);
    if (held !== undefined) {
      held.next = position;
    }
  }

  assignment(partition: number): Assignment {
    const held = this.#held.get(partition);
    if (held === undefined) {
      throw new Error(`${this.name} has no partition ${partition}`);
    }
    return held.assignment;
  }

  /** Waits for a condition; fails at once when the member ended instead. */
  async until(what: string, holds: () => boolean, timeoutMs = this.#options.patienceMs): Promise<void> {
    await vi
      .waitUntil(
        () => {
          if (this.outcome?.kind === 'failed') {
            throw new Error(`${this.name} ended before ${what}`, { cause: this.outcome.error });
          }
          return holds();
        },
        { timeout: timeoutMs, interval: 10 },
      )
      .catch((error: unknown) => {
        const cause = this.outcome?.kind === 'failed' ? this.outcome.error : error;
        throw new Error(`${this.name}: not ${what}; ${String(cause)}`, { cause });
      });
  }

  /** What `run()` ended with; it is a failure of the test when it does not end. */
  async end(): Promise<Outcome> {
    await vi.waitUntil(() => this.outcome !== null, { timeout: this.#options.patienceMs, interval: 10 });
    return this.ended;
  }

  async stop(): Promise<void> {
    this.endRevoke();
    this.release(...this.#holding.keys());
    await this.source.stop();
    await this.ended;
  }
}

export function byNumber(left: number, right: number): number {
  return left - right;
}

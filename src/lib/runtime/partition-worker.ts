import { KpipeError } from '../errors.ts';
import { AssignmentLostError, type Assignment, type FetchedBatch } from '../ports.ts';
import { backoffMs, wait } from './backoff.ts';
import {
  BatchBuilder,
  withoutRejected,
  type ClosedBatch,
  type DeadRecord,
  type Decode,
  type BatchLimits,
  type RowBytes,
} from './batch.ts';
import { DeadLetterBreaker } from './breaker.ts';
import type { RunCounts } from './counts.ts';
import type { MemoryBudget } from './memory-budget.ts';
import type { RunObserver } from './observer.ts';
import type { Semaphore } from './semaphore.ts';
import type { Claim, OffsetRow, Sink } from './sink.ts';

/** What the workers of a role share. */
export interface WorkerContext<Row extends OffsetRow> {
  readonly role: string;
  readonly sink: Sink<Row>;
  readonly decode: Decode<Row>;
  readonly limits: BatchLimits;
  /** Default: that of a row of objects. */
  readonly rowBytes?: RowBytes<Row> | undefined;
  /** Bounds how many batches are written at once. */
  readonly writes: Semaphore;
  /** Bounds what all partitions hold. */
  readonly memory: MemoryBudget;
  readonly counts: RunCounts;
  readonly observer?: Pick<RunObserver, 'wrote'>;
  readonly breaker: { readonly share: number; readonly of: number };
  /** Resolves when the records are acked in the dead letter topic. */
  readonly buryDead: (origin: { topic: string; partition: number }, dead: readonly DeadRecord[]) => Promise<void>;
  /** Told why writing waits; null when it goes on. */
  readonly onPaused: (partition: number, reason: KpipeError | null) => void;
  readonly now: () => number;
  readonly random: () => number;
  /** Aborted when waiting must end: the drain's deadline has passed. */
  readonly giveUp: AbortSignal;
}

/**
 * One assignment of one partition. States: *reading* (batches are collected and written one after another, in order) →
 * *closed* (revoked, fenced or failed: nothing is written any more). A worker is never reopened; a new assignment or a
 * new claim makes a new one.
 *
 * Back-pressure: `accept` resolves only when no closed batch waits behind the one that is being written and the memory
 * budget has room, so a partition holds about two batches, and all of them together no more than the budget.
 */
export class PartitionWorker<Row extends OffsetRow> {
  readonly assignment: Assignment;
  readonly claim: Claim;
  readonly #context: WorkerContext<Row>;
  readonly #builder: BatchBuilder<Row>;
  readonly #breaker: DeadLetterBreaker;
  #queue: ClosedBatch<Row>[] = [];
  #writing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #heldBytes = 0;
  #position: bigint;
  #writtenPosition: bigint;
  readonly #roomWaiters: (() => void)[] = [];
  readonly #onEnd: (worker: PartitionWorker<Row>, reason: 'fenced' | KpipeError) => void;

  constructor(
    assignment: Assignment,
    claim: Claim,
    context: WorkerContext<Row>,
    onEnd: (worker: PartitionWorker<Row>, reason: 'fenced' | KpipeError) => void,
  ) {
    this.assignment = assignment;
    this.claim = claim;
    this.#context = context;
    this.#builder = new BatchBuilder(context.decode, context.limits, context.rowBytes);
    this.#breaker = new DeadLetterBreaker(context.breaker);
    this.#position = claim.position;
    this.#writtenPosition = claim.position;
    this.#onEnd = onEnd;
  }

  /** Where the next record is expected; what is read before it is dropped. */
  get position(): bigint {
    return this.#position;
  }

  /** Up to where everything is durable. */
  get writtenPosition(): bigint {
    return this.#writtenPosition;
  }

  get isIdle(): boolean {
    return this.#writing === null && this.#queue.length === 0 && this.#builder.isEmpty;
  }

  /** Nothing is written any more: its end was told, or is about to be. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Takes a fetch that begins at `position`. Resolves when there is room for the next. */
  async accept(fetched: FetchedBatch): Promise<void> {
    if (this.#closed || fetched.nextPosition <= this.#position) {
      return;
    }
    this.#checkContiguous(fetched);
    const taken = this.#builder.takenWeight;
    this.#queue.push(...this.#builder.add(fetched, this.#context.now(), this.#position));
    this.#position = fetched.nextPosition;
    this.#hold(this.#builder.takenWeight - taken);
    this.#schedule();
    while (this.#queue.length > 0 && !this.#closed) {
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    }
    while (this.#context.memory.isExhausted && this.#heldBytes > 0 && !this.#closed) {
      await this.#context.memory.change();
    }
  }

  /** A fetch that begins beyond the position would leave a hole: no source may deliver one. */
  #checkContiguous(fetched: FetchedBatch): void {
    if (fetched.position > this.#position) {
      throw new KpipeError('KPIPE_INTERNAL', `a fetch begins at ${fetched.position}, not at ${this.#position}`, {
        where: { topic: fetched.topic, partition: fetched.partition },
      });
    }
  }

  #hold(bytes: number): void {
    this.#heldBytes += bytes;
    this.#context.memory.take(bytes);
  }

  #release(bytes: number): void {
    this.#heldBytes -= bytes;
    this.#context.memory.giveBack(bytes);
  }

  /** Writes what is in hand and resolves when it is durable, or when the worker is closed. */
  async flush(): Promise<void> {
    const open = this.#builder.close();
    if (open !== null) {
      this.#queue.push(open);
    }
    this.#schedule();
    while (this.#writing !== null) {
      await this.#writing;
    }
  }

  /** Abandons what was not handed to the sink; resolves when the write in hand, if any, has ended. */
  async abandon(): Promise<void> {
    this.#close();
    this.#context.sink.release?.(this.claim);
    await this.#writing;
  }

  #close(): void {
    this.#closed = true;
    this.#queue = [];
    this.#builder.close();
    this.#clearTimer();
    this.#releaseRoom();
    this.#release(this.#heldBytes);
  }

  #clearTimer(): void {
    if (this.#timer !== null) {
      clearTimeout(this.#timer);
      this.#timer = null;
    }
  }

  #releaseRoom(): void {
    for (const resume of this.#roomWaiters.splice(0)) {
      resume();
    }
  }

  /** Starts writing when there is something, or the timer that will close the open batch. */
  #schedule(): void {
    if (this.#closed || this.#writing !== null) {
      return;
    }
    if (this.#queue.length > 0) {
      this.#clearTimer();
      this.#writing = this.#writeAll().finally(() => {
        this.#writing = null;
        this.#schedule();
      });
      return;
    }
    const { closesAtMs } = this.#builder;
    if (closesAtMs !== null && this.#timer === null) {
      this.#timer = setTimeout(
        () => {
          this.#timer = null;
          const open = this.#builder.close();
          if (open !== null && !this.#closed) {
            this.#queue.push(open);
          }
          this.#schedule();
        },
        Math.max(0, closesAtMs - this.#context.now()),
      );
    }
  }

  async #writeAll(): Promise<void> {
    try {
      for (let batch = this.#queue.shift(); batch !== undefined && !this.#closed; batch = this.#queue.shift()) {
        this.#releaseRoom();
        await this.#write(batch);
        if (!this.#closed) {
          this.#release(batch.weight);
        }
      }
    } catch (error) {
      this.#close();
      if (!(error instanceof AssignmentLostError)) {
        this.#onEnd(this, error instanceof KpipeError ? error : this.#context.sink.describe(error));
      }
    }
  }

  /** One batch to its end: dead letters first, then rows and position; again while the sink is away. */
  async #write(closed: ClosedBatch<Row>): Promise<void> {
    const { sink, counts, observer, now } = this.#context;
    const beganMs = now();
    let batch = closed;
    let buried = 0;
    for (let attempt = 1; ; attempt += 1) {
      if (this.#breaker.tripsOn(batch)) {
        throw floodError(this.#context.role, this.claim, batch.dead);
      }
      try {
        await this.#context.buryDead(batch.sink, batch.dead.slice(buried));
        buried = batch.dead.length;
        const outcome = await this.#context.writes.run(() => sink.write(this.claim, batch.sink));
        this.#context.onPaused(this.claim.partition, null);
        if (outcome.kind === 'fenced') {
          this.#close();
          this.#onEnd(this, 'fenced');
          return;
        }
        if (outcome.kind === 'rejected') {
          batch = withoutRejected(batch, outcome.rejections, attempt);
          continue;
        }
        this.#writtenPosition = batch.sink.nextPosition;
        counts.add(batch, outcome);
        observer?.wrote({ batch, ...outcome, writeMs: now() - beganMs, atMs: now() });
        this.#breaker.count(batch);
        break;
      } catch (error) {
        await this.#pauseFor(error, attempt);
      }
    }
    await this.#afterCommit(batch);
  }

  /** The write is durable: whatever fails from here on must not make it happen again. */
  async #afterCommit(batch: ClosedBatch<Row>): Promise<void> {
    try {
      await this.#context.sink.afterCommit?.(batch.sink);
    } catch {
      // What follows a commit is a cache, which is filled again when it is read.
    }
  }

  /** Waits where a retry may help; throws where it may not. */
  async #pauseFor(error: unknown, attempt: number): Promise<void> {
    const { sink, giveUp, random, onPaused } = this.#context;
    if (this.#closed || error instanceof AssignmentLostError) {
      throw new AssignmentLostError('the assignment ended while its batch was written');
    }
    const isOurs = error instanceof KpipeError && !retriableCodes.has(error.code);
    if (isOurs || (!(error instanceof KpipeError) && sink.classify(error) === 'fatal')) {
      throw error;
    }
    const described = error instanceof KpipeError ? error : sink.describe(error);
    onPaused(this.claim.partition, described);
    await wait(backoffMs(attempt, { baseMs: 100, capMs: 5000 }, random), giveUp);
    if (giveUp.aborted) {
      throw described;
    }
  }
}

/** Failures of an edge that pass: the store or the cluster is away. */
const retriableCodes: ReadonlySet<string> = new Set([
  'KPIPE_KAFKA_UNREACHABLE',
  'KPIPE_PRODUCE_FAILED',
  'KPIPE_POSTGRES_UNREACHABLE',
  'KPIPE_BIGQUERY_UNREACHABLE',
]);

function floodError(role: string, claim: Claim, dead: readonly DeadRecord[]): KpipeError {
  const reasons = new Map<string, number>();
  for (const { reason } of dead) {
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }
  const told = [...reasons].map(([reason, count]) => `${count} × ${reason}`).join(', ');
  return new KpipeError(
    'KPIPE_DEAD_LETTER_FLOOD',
    `most of the last records of role ${role} became dead letters (${told})`,
    {
      where: { topic: claim.topic, partition: claim.partition },
      next: "the sink's or a producer's schema is wrong rather than the data: mend that, then start the role again",
    },
  );
}

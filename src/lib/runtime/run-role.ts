import { KpipeError } from '../errors.ts';
import {
  AssignmentLostError,
  type Assignment,
  type ClusterAdmin,
  type FetchedBatch,
  type RecordPublisher,
  type Source,
  type SourceListener,
  type TopicPartition,
} from '../ports.ts';
import { backoffMs, wait } from './backoff.ts';
import { deadLetterOffice } from './bury.ts';
import { claimReadable } from './claims.ts';
import { RunCounts, type PartitionCounts, type Totals } from './counts.ts';
import { MemoryBudget } from './memory-budget.ts';
import { PartitionWorker, type WorkerContext } from './partition-worker.ts';
import type { Role } from './role.ts';
import { Semaphore } from './semaphore.ts';

/** What a role needs of Kafka. */
export interface RoleEdges {
  readonly source: Source;
  readonly publisher: RecordPublisher;
  readonly admin: ClusterAdmin;
}

export interface RunOptions {
  /** Ends when everything that is in the topic now has been written. */
  readonly untilDrained: boolean;
  readonly forMs: number | null;
  /** Batches written at once. */
  readonly concurrency: number;
  readonly skipLost: boolean;
  /** Drains and ends. */
  readonly signal: AbortSignal;
  readonly onPaused: (partition: number, reason: KpipeError | null) => void;
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

/** For records that were read and are not yet written; what a fetch in flight brings comes on top. */
const memoryBudgetBytes = 20 * 1024 * 1024;
const mirrorEveryMs = 1000;
const drainCheckMs = 250;
const stallCheckMs = 10_000;
/** A consumer that cannot go on must end; it is never alive and idle. */
const stalledAfterMs = 60_000;

/**
 * Runs a role until it is drained, told to stop, or cannot go on.
 *
 * The run's life: *reading* → *draining* (the first of: signal, time, drained, failure): nothing more is fetched, what is
 * in hand is written, positions are mirrored, the group is left → ended. The first failure is what the promise rejects with.
 */
export class RoleRun<Row> {
  readonly counts = new RunCounts();
  readonly #role: Role<Row>;
  readonly #edges: RoleEdges;
  readonly #options: RunOptions;
  readonly #context: WorkerContext<Row>;
  readonly #workers = new Map<number, PartitionWorker<Row>>();
  readonly #mirrored = new Map<number, bigint>();
  readonly #giveUp = new AbortController();
  readonly #drain = Promise.withResolvers<void>();
  readonly #startedAt: number;
  /** Of the group's present generation; null before the first. */
  #assigned: number | null = null;
  #failure: KpipeError | null = null;
  #draining = false;
  #progressAt: number;

  constructor(role: Role<Row>, edges: RoleEdges, options: RunOptions) {
    this.#role = role;
    this.#edges = edges;
    this.#options = options;
    this.#startedAt = options.now();
    this.#progressAt = this.#startedAt;
    this.#context = {
      role: role.name,
      sink: role.sink,
      decode: role.decode,
      limits: role.batch,
      writes: new Semaphore(options.concurrency),
      memory: new MemoryBudget(memoryBudgetBytes),
      counts: this.counts,
      breaker: role.breaker,
      buryDead: deadLetterOffice(edges.publisher, role.deadLetterTopic, role.name, options.now),
      onPaused: options.onPaused,
      now: options.now,
      random: options.random,
      giveUp: this.#giveUp.signal,
    };
  }

  async run(): Promise<RunResult> {
    const { signal, forMs } = this.#options;
    const begin = (): void => this.#drain.resolve();
    signal.addEventListener('abort', begin, { once: true });
    const timers = [
      setInterval(() => void this.#mirror(), mirrorEveryMs),
      setInterval(() => void this.#checkStalled(), stallCheckMs),
      ...(forMs === null ? [] : [setTimeout(begin, forMs)]),
    ];
    if (signal.aborted) {
      begin();
    }
    const reading = this.#edges.source.run(this.#listener()).catch((error: unknown) => this.#fail(error));
    const watching = this.#options.untilDrained ? this.#watchDrained() : Promise.resolve();
    try {
      await this.#drain.promise;
      await this.#drainAll();
    } finally {
      timers.forEach(clearTimeout);
      signal.removeEventListener('abort', begin);
      await this.#edges.source.stop();
      await Promise.all([reading, watching]);
    }
    if (this.#failure !== null) {
      throw this.#failure;
    }
    return this.result();
  }

  result(): RunResult {
    const totals = this.counts.totals();
    const seconds = Math.max(0.001, (this.#options.now() - this.#startedAt) / 1000);
    return {
      role: this.#role.name,
      partitions: this.counts.partitions(),
      totals,
      seconds,
      recordsPerSec: Math.round(totals.records / seconds),
      maxRssBytes: process.resourceUsage().maxRSS * 1024,
    };
  }

  #listener(): SourceListener {
    return {
      joined: (partitions) => {
        this.#assigned = partitions;
        this.#progressAt = this.#options.now();
      },
      assigned: (assignment) => this.#begin(assignment),
      fetched: (batch) => this.#accept(batch),
      revoked: (partitions) => this.#release(partitions),
    };
  }

  async #begin(assignment: Assignment): Promise<bigint> {
    const claim = await claimReadable(this.#role.sink, this.#edges.admin, assignment, {
      skipLost: this.#options.skipLost,
      random: this.#options.random,
      giveUp: this.#giveUp.signal,
      onPaused: this.#options.onPaused,
    });
    if (!assignment.active) {
      throw new AssignmentLostError('the partition was lost while it was claimed');
    }
    this.counts.claimed(claim, claim.position);
    const worker = new PartitionWorker(
      assignment,
      claim,
      this.#context,
      (ended, reason) => void this.#onEnd(ended, reason),
    );
    this.#workers.set(assignment.partition, worker);
    return claim.position;
  }

  #accept(batch: FetchedBatch): Promise<void> {
    this.#progressAt = this.#options.now();
    const worker = this.#workers.get(batch.partition);
    return this.#draining || worker === undefined ? Promise.resolve() : worker.accept(batch);
  }

  async #release(partitions: readonly TopicPartition[]): Promise<void> {
    const released = partitions.flatMap(({ partition }) => this.#workers.get(partition) ?? []);
    for (const { partition } of partitions) {
      this.#workers.delete(partition);
      this.#mirrored.delete(partition);
      this.#options.onPaused(partition, null);
    }
    await Promise.all(released.map((worker) => worker.abandon()));
  }

  async #onEnd(worker: PartitionWorker<Row>, reason: 'fenced' | KpipeError): Promise<void> {
    if (reason !== 'fenced') {
      this.#fail(reason);
      return;
    }
    try {
      await this.#reclaim(worker);
    } catch (error) {
      if (!(error instanceof AssignmentLostError)) {
        this.#fail(error);
      }
    }
  }

  /**
   * The position moved under us: an older backup was restored, or we are the zombie. The group knows which: a commit of
   * what we hold is refused to a zombie, and then nothing is claimed.
   */
  async #reclaim(fenced: PartitionWorker<Row>): Promise<void> {
    const { assignment } = fenced;
    const isCurrent = (): boolean =>
      this.#workers.get(assignment.partition) === fenced && assignment.active && !this.#draining;
    await wait(backoffMs(3, { baseMs: 100, capMs: 1000 }, this.#options.random), this.#giveUp.signal);
    if (!isCurrent()) {
      return;
    }
    // A sink that commits to the group keeps more there than a position, and asks the group itself when it claims.
    if (!this.#role.sink.commitsToGroup) {
      await assignment.commit(fenced.writtenPosition);
    }
    if (isCurrent()) {
      this.#edges.source.seek(assignment, await this.#begin(assignment));
    }
  }

  /** The first failure ends the run; the others only confirm it. */
  #fail(error: unknown): void {
    this.#failure ??= error instanceof KpipeError ? error : this.#role.sink.describe(error);
    this.#drain.resolve();
  }

  async #drainAll(): Promise<void> {
    this.#draining = true;
    this.#edges.source.quiesce();
    const expired = Promise.withResolvers<'late'>();
    const deadline = setTimeout(() => {
      this.#giveUp.abort();
      expired.resolve('late');
    }, this.#role.drainDeadlineMs);
    const workers = [...this.#workers.values()];
    const written = Promise.all(workers.map((worker) => worker.flush()));
    if ((await Promise.race([written, expired.promise])) === 'late') {
      // A statement may hang for longer than anybody waits; its transaction decides what became of it.
      workers.forEach((worker) => void worker.abandon());
      this.#failure ??= drainDeadlineError(this.#role.name);
    }
    // The positions are true without the mirror: a group that does not answer holds up no end.
    await Promise.race([this.#mirror(), expired.promise]);
    clearTimeout(deadline);
  }

  /** Tells the group where the role stands, for lag tools. What fails here is told again a second later. */
  async #mirror(): Promise<void> {
    if (this.#role.sink.commitsToGroup) {
      return;
    }
    await Promise.all(
      [...this.#workers.values()].map(async ({ assignment, writtenPosition }) => {
        if (!assignment.active || this.#mirrored.get(assignment.partition) === writtenPosition) {
          return;
        }
        try {
          await assignment.commit(writtenPosition);
          this.#mirrored.set(assignment.partition, writtenPosition);
        } catch {
          // The truth is in the sink.
        }
      }),
    );
  }

  /** Drained: every partition that this member holds is written up to the log's end. */
  async #watchDrained(): Promise<void> {
    while (!this.#draining && this.#failure === null) {
      await wait(drainCheckMs, this.#options.signal);
      if (!this.#draining && this.#failure === null && (await this.#isDrained())) {
        this.#drain.resolve();
        return;
      }
      if (this.#options.signal.aborted) {
        return;
      }
    }
  }

  async #isDrained(): Promise<boolean> {
    const workers = [...this.#workers.values()];
    if (this.#assigned === null || workers.length !== this.#assigned || !workers.every((worker) => worker.isIdle)) {
      return false;
    }
    try {
      return (await this.#behind(workers)).length === 0;
    } catch {
      // Kafka is away: it is not known, so it is not drained.
      return false;
    }
  }

  /** The workers that have something left to read. */
  async #behind(workers: readonly PartitionWorker<Row>[]): Promise<readonly PartitionWorker<Row>[]> {
    const partitions = workers.map(({ claim: { topic, partition } }) => ({ topic, partition }));
    const ends = partitions.length === 0 ? [] : await this.#edges.admin.listOffsets(partitions, 'latest');
    const endOf = new Map(ends.map(({ partition, offset }) => [partition, offset]));
    return workers.filter((worker) => worker.writtenPosition < (endOf.get(worker.claim.partition) ?? 0n));
  }

  async #checkStalled(): Promise<void> {
    const idleMs = this.#options.now() - this.#progressAt;
    const workers = [...this.#workers.values()];
    if (this.#draining || idleMs < stalledAfterMs || !workers.every((worker) => worker.isIdle)) {
      return;
    }
    const behind = await this.#behind(workers).catch(() => []);
    if (behind.length > 0 || this.#assigned === null) {
      this.#fail(
        new KpipeError(
          'KPIPE_NO_PROGRESS',
          `role ${this.#role.name} has read nothing for ${Math.round(idleMs / 1000)} s while records wait`,
          {
            where: { topic: this.#role.topic },
            next: 'start it again (a supervisor does); `kpipe doctor` and `kpipe brokers` show what is wrong with the cluster',
          },
        ),
      );
    }
  }
}

function drainDeadlineError(role: string): KpipeError {
  return new KpipeError('KPIPE_DRAIN_DEADLINE', `role ${role} could not write what it had read in time`, {
    next: 'nothing is lost: the next start reads it again',
  });
}

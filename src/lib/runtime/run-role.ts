import { KpipeError } from '../errors.ts';
import {
  AssignmentLostError,
  type Assignment,
  type FetchedBatch,
  type SourceListener,
  type TopicPartition,
} from '../ports.ts';
import { backoffMs, wait } from './backoff.ts';
import { deadLetterOffice } from './bury.ts';
import { claimReadable } from './claims.ts';
import { RunCounts } from './counts.ts';
import { GroupMirror } from './group-mirror.ts';
import { MemoryBudget } from './memory-budget.ts';
import { PartitionWorker, type WorkerContext } from './partition-worker.ts';
import type { Role } from './role.ts';
import type { RoleEdges, RunOptions, RunResult } from './run-options.ts';
import type { RunState } from './run-state.ts';
import { Semaphore } from './semaphore.ts';
import type { OffsetRow } from './sink.ts';
import { backlogOf, startWatches, type PartitionBacklog, type RunWatches } from './watches.ts';

/** About 13,000 records of 360 bytes: what three batches in writing and the next ones need. See `MemoryBudget`. */
const memoryBudgetBytes = 14 * 1024 * 1024;
const mirrorEveryMs = 1000;

/**
 * Runs a role until it is drained, told to stop, or cannot go on.
 *
 * The run's life: *reading* → *draining* (the first of: signal, time, drained, failure): nothing more is fetched, what is
 * in hand is written, positions are mirrored, the group is left → ended. The first failure is what the promise rejects with.
 */
export class RoleRun<Row extends OffsetRow> {
  readonly counts: RunCounts;
  readonly #role: Role<Row>;
  readonly #edges: RoleEdges;
  readonly #options: RunOptions;
  readonly #context: WorkerContext<Row>;
  readonly #workers = new Map<number, PartitionWorker<Row>>();
  readonly #mirror = new GroupMirror();
  readonly #giveUp = new AbortController();
  readonly #drain = Promise.withResolvers<void>();
  readonly #paused = new Map<number, KpipeError>();
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
    this.counts = options.before?.counts ?? new RunCounts();
    this.#startedAt = options.before?.startedAtMs ?? options.now();
    this.#progressAt = options.now();
    this.#context = {
      role: role.name,
      sink: role.sink,
      decode: role.decode,
      limits: role.batch,
      rowBytes: role.rowBytes,
      writes: new Semaphore(role.concurrency ?? options.concurrency),
      memory: new MemoryBudget(role.memoryBytes ?? memoryBudgetBytes),
      counts: this.counts,
      breaker: role.breaker,
      buryDead: deadLetterOffice(edges.publisher, role.deadLetterTopic, role.name, options.now),
      observer: {
        wrote: (written) => {
          this.#progressAt = written.atMs;
          options.observer?.wrote(written);
        },
      },
      onPaused: (partition, reason) => this.#onPaused(partition, reason),
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
      setInterval(() => void this.#mirrorPositions(), mirrorEveryMs),
      ...(forMs === null ? [] : [setTimeout(begin, forMs)]),
    ];
    if (signal.aborted) {
      begin();
    }
    const reading = this.#edges.source.run(this.#listener()).catch((error: unknown) => this.#fail(error));
    const watches = this.#watch();
    try {
      await this.#drain.promise;
      await this.#drainAll();
    } finally {
      timers.forEach(clearTimeout);
      watches.stop();
      signal.removeEventListener('abort', begin);
      await this.#edges.source.stop();
      await Promise.all([reading, watches.ended]);
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

  /** How the run stands, for whoever asks after its health. */
  state(): RunState {
    return {
      assigned: this.#assigned,
      held: this.#workers.size,
      isDraining: this.#draining,
      failure: this.#failure === null ? null : `${this.#failure.code} ${this.#failure.message}`,
      paused: new Map([...this.#paused.values()].map(({ code, message }) => [code, message])),
      isBusy: ![...this.#workers.values()].every((worker) => worker.isIdle),
      stillMs: this.#options.now() - this.#progressAt,
    };
  }

  /** How far each partition is behind its log's end. @throws KPIPE_KAFKA_UNREACHABLE */
  backlog(): Promise<readonly PartitionBacklog[]> {
    return backlogOf(this.#edges.admin, [...this.#workers.values()]);
  }

  #watch(): RunWatches {
    return startWatches<Row, PartitionWorker<Row>>({
      workers: () => [...this.#workers.values()],
      assigned: () => this.#assigned,
      isEnding: () => this.#draining || this.#failure !== null,
      stillMs: () => this.#options.now() - this.#progressAt,
      admin: this.#edges.admin,
      role: this.#role,
      signal: this.#options.signal,
      onDrained: this.#options.untilDrained ? () => this.#drain.resolve() : null,
      onStalled: (stall) => this.#fail(stall),
      // A store that was set back while nothing arrives is followed too.
      onStrayed: async (worker) => {
        await worker.abandon();
        void this.#onEnd(worker, 'fenced');
      },
    });
  }

  #onPaused(partition: number, reason: KpipeError | null): void {
    if (reason === null) {
      this.#paused.delete(partition);
    } else {
      this.#paused.set(partition, reason);
      // Another attempt was made: the run moves, the sink does not.
      this.#progressAt = this.#options.now();
    }
    this.#options.onPaused(partition, reason);
  }

  #listener(): SourceListener {
    return {
      joined: (partitions) => {
        this.#assigned = partitions;
        this.#progressAt = this.#options.now();
        this.#options.observer?.joined(partitions);
      },
      assigned: (assignment) => this.#begin(assignment),
      fetched: (batch) => this.#accept(batch),
      revoked: (partitions) => this.#release(partitions),
    };
  }

  async #begin(assignment: Assignment): Promise<bigint> {
    const claim = await claimReadable(this.#role.sink, this.#edges.admin, assignment, {
      topicId: this.#options.topicId,
      skipLost: this.#options.skipLost,
      random: this.#options.random,
      giveUp: this.#giveUp.signal,
      onPaused: (partition, reason) => this.#onPaused(partition, reason),
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
      this.#onPaused(partition, null);
    }
    await Promise.all(released.map((worker) => worker.abandon()));
    if (!this.#role.sink.commitsToGroup) {
      // Of a partition that is only going, not gone: whoever looks at the group sees where it was left.
      await this.#mirror.tell(released);
    }
    partitions.forEach(({ partition }) => this.#mirror.forget(partition));
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
    await Promise.race([this.#mirrorPositions(), expired.promise]);
    clearTimeout(deadline);
  }

  async #mirrorPositions(): Promise<void> {
    if (!this.#role.sink.commitsToGroup) {
      await this.#mirror.tell(this.#workers.values());
    }
  }
}

function drainDeadlineError(role: string): KpipeError {
  return new KpipeError('KPIPE_DRAIN_DEADLINE', `role ${role} could not write what it had read in time`, {
    next: 'nothing is lost: the next start reads it again',
  });
}

import { AnalyticsSink, type AnalyticsRow } from '../../src/lib/bigquery/analytics-sink.ts';
import type { BatchWriter } from '../../src/lib/bigquery/batch-writer.ts';
import type { BigQueryConnection } from '../../src/lib/bigquery/connection.ts';
import type { CommittedPosition, GroupAccess } from '../../src/lib/bigquery/group-access.ts';
import { UsageMeter } from '../../src/lib/bigquery/cost.ts';
import { tableResource, type Intent } from '../../src/lib/bigquery/intent.ts';
import { loadJobs } from '../../src/lib/bigquery/load-jobs.ts';
import { LoadWriter } from '../../src/lib/bigquery/load-writer.ts';
import { StorageWriter } from '../../src/lib/bigquery/storage-writer.ts';
import { compileTypedColumns, type TypedColumns } from '../../src/lib/bigquery/typed-columns.ts';
import { countBatchRows } from '../../src/lib/bigquery/warehouse.ts';
import { pendingStreams } from '../../src/lib/bigquery/writer.ts';
import { AssignmentLostError, partitionKey, type Assignment, type TopicPartition } from '../../src/lib/ports.ts';
import type { Claim, SinkBatch } from '../../src/lib/runtime/sink.ts';

/**
 * A group's commits with the coordinator's rule: a commit of an older generation is refused. It stands for the port that
 * the role's Source implements, so that a test can end a generation at a chosen step.
 */
export class GenerationGroup {
  readonly commits = new Map<string, CommittedPosition>();
  #generation = 0;

  /** The member of the next generation; from now on the ones before are fenced. */
  join(): GroupMember {
    this.#generation += 1;
    const generation = this.#generation;
    const isOver = (): boolean => generation !== this.#generation;
    return {
      committed: (partition) => Promise.resolve(this.commits.get(partitionKey(partition)) ?? null),
      assign: (topic, partition = 0) => ({
        topic,
        partition,
        get active() {
          return !isOver();
        },
        commit: (offset, metadata = '') => {
          if (isOver()) {
            return Promise.reject(new AssignmentLostError(`generation ${generation} is over`));
          }
          this.commits.set(partitionKey({ topic, partition }), { offset, metadata });
          return Promise.resolve();
        },
      }),
    };
  }
}

export interface GroupMember extends GroupAccess {
  assign(topic: string, partition?: number): Assignment;
}

/** The sink's steps by the Storage Write API, in order. `intent` and `position` are the two commits to the group. */
export const steps = ['create', 'append', 'finalize', 'intent', 'batch-commit', 'position'] as const;
/** The same by load jobs. */
export const loadSteps = ['intent', 'job', 'position'] as const;
export type Step = (typeof steps)[number] | (typeof loadSteps)[number] | 'look' | 'void';
/** Runs before and after each step; what it throws is the step's outcome. */
export type StepHook = (step: Step, when: 'before' | 'after') => Promise<void> | void;

/** A member's sink with a hook around each step. */
export interface HookedSink {
  readonly sink: AnalyticsSink;
  claim(topic: string, partition?: number): Promise<Claim>;
}

/** What kpipe.yaml declares when it declares no columns. */
export const noTypedColumns = compileTypedColumns({}, 100);

type CountBatch = (partition: TopicPartition, intent: Intent) => Promise<number>;

export function hookedSink(
  connection: BigQueryConnection,
  member: GroupMember,
  hook: StepHook,
  countBatch: CountBatch = (partition, intent) => countBatchRows(connection, partition, intent),
  columns: () => TypedColumns = () => noTypedColumns,
): HookedSink {
  const around = aroundBy(hook);
  const streams = pendingStreams(connection);
  const writer = new StorageWriter({
    streams: {
      create: () => around('create', () => streams.create()),
      append: (stream, rows, descriptor) => around('append', () => streams.append(stream, rows, descriptor)),
      finalize: (stream, rows) => around('finalize', () => streams.finalize(stream, rows)),
      commit: (stream) => around('batch-commit', () => streams.commit(stream)),
    },
    columns: () => Promise.resolve(columns()),
    countBatch,
    close: () => Promise.resolve(),
  });
  return sinkOf(writer, member, hook);
}

/** The same by load jobs, as soon as there is something to load, or every `intervalMs`. */
export function hookedLoadSink(
  connection: BigQueryConnection,
  member: GroupMember,
  hook: StepHook,
  intervalMs = 0,
  columns: () => TypedColumns = () => noTypedColumns,
): HookedSink {
  const around = aroundBy(hook);
  const jobs = loadJobs(connection);
  const writer = new LoadWriter({
    jobs: {
      run: (job, body) => around('job', () => jobs.run(job, body)),
      outcome: (job) => around('look', () => jobs.outcome(job)),
      void: (job) => around('void', () => jobs.void(job)),
    },
    columns: () => Promise.resolve(columns()),
    table: tableResource(connection.config),
    location: 'US',
    role: 'analytics',
    countBatch: (partition, intent) => countBatchRows(connection, partition, intent),
    intervalMs: () => Promise.resolve(intervalMs),
    close: () => Promise.resolve(),
  });
  return sinkOf(writer, member, hook);
}

function aroundBy(hook: StepHook): <T>(step: Step, work: () => Promise<T>) => Promise<T> {
  return async (step, work) => {
    await hook(step, 'before');
    const result = await work();
    await hook(step, 'after');
    return result;
  };
}

function sinkOf(writer: BatchWriter, member: GroupMember, hook: StepHook): HookedSink {
  const around = aroundBy(hook);
  const sink = new AnalyticsSink({
    group: member,
    writer,
    usage: () => new UsageMeter('storage', 0).read(),
    startPosition: () => Promise.resolve(0n),
  });
  const hooked = (assignment: Assignment): Assignment => ({
    ...assignment,
    commit: (offset, metadata = '') =>
      around(metadata === '' ? 'position' : 'intent', () => assignment.commit(offset, metadata)),
  });
  return { sink, claim: (topic, partition) => sink.claim(hooked(member.assign(topic, partition))) };
}

export function analyticsRow(offset: number, over: Partial<AnalyticsRow> = {}): AnalyticsRow {
  return {
    offset: BigInt(offset),
    id: Buffer.from(`view-${offset}`),
    source: Buffer.from('/shop/worker'),
    type: Buffer.from('page.viewed'),
    subject: offset % 2 === 0 ? Buffer.from(`customer-${offset}`) : null,
    timeMicros: 1_795_000_000_000_000n + BigInt(offset) * 1000n,
    data: Buffer.from(`{"page":"/p/${offset}","ms":1.10}`),
    extensions: offset % 3 === 0 ? Buffer.from('{"traceparent":"00-1"}') : null,
    ingestedAtMs: Date.now(),
    ...over,
  };
}

/** The records [from, to) of a partition as one batch. */
export function analyticsBatch(topic: string, from: number, to: number, partition = 0): SinkBatch<AnalyticsRow> {
  const rows = Array.from({ length: to - from }, (_, index) => analyticsRow(from + index));
  return {
    topic,
    partition,
    position: BigInt(from),
    nextPosition: BigInt(to),
    rows,
    deadLetters: 0,
    skipped: 0,
    gaps: 0,
  };
}

/** What a role does from a sink's claim on: writes all records up to `end`, `size` a batch. */
export async function writeAll(
  { sink, claim: claimPartition }: HookedSink,
  topic: string,
  end: number,
  size: number,
): Promise<void> {
  const claim = await claimPartition(topic);
  for (let from = Number(claim.position); from < end; from += size) {
    const outcome = await sink.write(claim, analyticsBatch(topic, from, Math.min(end, from + size)));
    if (outcome.kind !== 'written') {
      throw new Error(`a batch at ${from} was ${outcome.kind}`);
    }
  }
}

/** What the runtime does with a write that fails for the moment: the same batch again. */
export async function writeUntilTold(
  { sink }: HookedSink,
  claim: Claim,
  batch: SinkBatch<AnalyticsRow>,
  attempts = 10,
): ReturnType<AnalyticsSink['write']> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await sink.write(claim, batch);
    } catch (error) {
      if (attempt === attempts || sink.classify(error) !== 'retry') {
        throw error;
      }
    }
  }
}

import { createHash, randomBytes } from 'node:crypto';

import { KpipeError } from '../errors.ts';
import { AssignmentLostError, type TopicPartition } from '../ports.ts';
import type { BatchWriter, LandOutcome, StagedBatch, StageOutcome, StagingBatch } from './batch-writer.ts';
import { batchBounds, type Intent, type LoadJobName } from './intent.ts';
import type { JobFailure, LoadJobs } from './load-jobs.ts';
import { createLineEncoder } from './ndjson.ts';
import { encodeRows, schemaRejections } from './rejections.ts';
import { SchemaLag } from './schema-lag.ts';
import type { TypedColumns } from './typed-columns.ts';

export interface LoadWriterParts {
  readonly jobs: LoadJobs;
  /** The declared columns that the next batch is written with. Never rejects. */
  readonly columns: () => Promise<TypedColumns>;
  /** `projects/…/datasets/…/tables/…` */
  readonly table: string;
  readonly location: string;
  readonly role: string;
  /** How many rows of the intent's batch are in the table. */
  readonly countBatch: (partition: TopicPartition, intent: Intent) => Promise<number>;
  /** The time from one job of this process to its next. Never rejects. */
  readonly intervalMs: () => Promise<number>;
  readonly close: () => Promise<void>;
}

interface Waiting {
  readonly batch: StagingBatch;
  readonly lines: readonly Buffer[];
  readonly bytes: number;
  readonly resolve: (outcome: StageOutcome) => void;
  /** It no longer waits: its release is no longer listened to. */
  readonly depart: () => void;
}

/** One upload; what does not fit waits for the next job. */
const maxJobBytes = 96_000_000;

/**
 * `write: load`: one load job at a time takes the batches of all partitions that wait, because BigQuery counts a table's
 * jobs (1,500 a day) and not their rows. The job is created when every batch's intent is known to be durable, and only by
 * who made its id up; others that find the id ask what became of it, and use it up where no job has it. So an id never
 * loads rows of which some intent does not tell, and no rows are given a second id while the first can still run.
 */
export class LoadWriter implements BatchWriter {
  readonly #parts: LoadWriterParts;
  #waiting: Waiting[] = [];
  readonly #lag = new SchemaLag();
  #departure: Promise<void> | null = null;
  #lastAtMs = performance.now();

  constructor(parts: LoadWriterParts) {
    this.#parts = parts;
  }

  async stage(batch: StagingBatch): Promise<StageOutcome> {
    const { partition, rows } = batch;
    const typed = await this.#parts.columns();
    const encode = createLineEncoder(partition.topic, partition.partition);
    const outcome = encodeRows(rows, typed, encode, () => true);
    return outcome.kind === 'rejected' ? outcome : this.#wait(batch, outcome.encoded);
  }

  /** Until a job takes the lines. @throws AssignmentLostError when the partition goes away before */
  #wait(batch: StagingBatch, lines: readonly Buffer[]): Promise<StageOutcome> {
    const { released } = batch;
    const bytes = lines.reduce((sum, { length }) => sum + length, 0);
    return new Promise((resolve, reject) => {
      const depart = (): void => released.removeEventListener('abort', leave);
      const waiting: Waiting = { batch, lines, bytes, resolve, depart };
      const leave = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        reject(new AssignmentLostError('the partition went away before its load job'));
      };
      if (released.aborted) {
        leave();
        return;
      }
      released.addEventListener('abort', leave, { once: true });
      this.#waiting.push(waiting);
      this.#start();
    });
  }

  async settle(partition: TopicPartition, intent: Intent): Promise<boolean> {
    const { jobs, countBatch } = this.#parts;
    if (!('job' in intent)) {
      throw new KpipeError('KPIPE_INTERNAL', 'a write stream’s intent was given to the load jobs');
    }
    for (;;) {
      const outcome = await jobs.outcome(intent.job);
      switch (outcome.kind) {
        case 'loaded':
          return true;
        case 'failed':
          return false;
        case 'void':
          // Used up after it was not found: it never ran, or so long ago that BigQuery has forgotten it.
          return (await countBatch(partition, intent)) > 0;
        case 'unknown':
          await jobs.void(intent.job);
      }
    }
  }

  async close(): Promise<void> {
    await this.#departure;
    await this.#parts.close();
  }

  #start(): void {
    this.#departure ??= this.#depart().finally(() => {
      this.#departure = null;
      // Who came between the last look and here has found a departure, and would wait for ever.
      if (this.#waiting.length > 0) {
        this.#start();
      }
    });
  }

  /** Takes those that wait, once per interval, until nobody waits. */
  async #depart(): Promise<void> {
    while (this.#waiting.length > 0) {
      const intervalMs = await this.#parts.intervalMs();
      await this.#until(this.#lastAtMs + intervalMs);
      const taken = takeUpTo(this.#waiting, maxJobBytes);
      this.#waiting = this.#waiting.filter((waiting) => !taken.includes(waiting));
      if (taken.length > 0) {
        this.#lastAtMs = performance.now();
        this.#form(taken);
      }
    }
  }

  /** Ends early when nobody waits any more. */
  async #until(atMs: number): Promise<void> {
    while (this.#waiting.length > 0 && performance.now() < atMs) {
      const { promise, resolve } = Promise.withResolvers<void>();
      setTimeout(resolve, Math.min(200, Math.max(1, atMs - performance.now())));
      await promise;
    }
  }

  #form(taken: readonly Waiting[]): void {
    const { jobs, table, location, role } = this.#parts;
    const job: LoadJobName = { id: jobId(role, taken), location, table };
    const all = new SharedJob(jobs, job, taken, this.#lag);
    for (const [index, { batch, resolve, depart }] of taken.entries()) {
      depart();
      resolve({ kind: 'staged', staged: all.memberOf(index, batch) });
    }
  }
}

/** The batches of one job: it runs when each of them has its intent, and not at all when one of them has not. */
class SharedJob {
  readonly #jobs: LoadJobs;
  readonly #job: LoadJobName;
  readonly #taken: readonly Waiting[];
  readonly #lag: SchemaLag;
  readonly #ended = Promise.withResolvers<readonly LandOutcome[]>();
  #undecided: number;
  #withdrawn = false;

  constructor(jobs: LoadJobs, job: LoadJobName, taken: readonly Waiting[], lag: SchemaLag) {
    this.#jobs = jobs;
    this.#lag = lag;
    this.#job = job;
    this.#taken = taken;
    this.#undecided = taken.length;
    // Nobody may be left to hear of it.
    this.#ended.promise.catch(() => undefined);
  }

  memberOf(index: number, { from, to, rows }: StagingBatch): StagedBatch {
    return {
      intent: { job: this.#job, ...batchBounds(from, to, rows) },
      land: async () => {
        this.#decide();
        return (await this.#ended.promise)[index] ?? { kind: 'void' };
      },
      withdraw: () => {
        this.#withdrawn = true;
        this.#decide();
      },
    };
  }

  #decide(): void {
    this.#undecided -= 1;
    if (this.#undecided === 0) {
      this.#run().then(this.#ended.resolve, this.#ended.reject);
    }
  }

  async #run(): Promise<readonly LandOutcome[]> {
    const all = (outcome: LandOutcome): readonly LandOutcome[] => this.#taken.map(() => outcome);
    if (this.#withdrawn) {
      // Only this process creates the job, and it does not: nobody needs to be asked.
      return all({ kind: 'void' });
    }
    const outcome = await this.#jobs.run(this.#job, Buffer.concat(this.#taken.flatMap(({ lines }) => lines)));
    switch (outcome.kind) {
      case 'loaded':
        this.#lag.passed();
        return all({ kind: 'landed' });
      case 'failed':
        return this.#failed(outcome.failure);
      case 'void':
        return all({ kind: 'void' });
      case 'unknown':
        throw new KpipeError(
          'KPIPE_BIGQUERY_UNREACHABLE',
          `BigQuery does not know load job ${this.#job.id}, just created`,
        );
    }
  }

  /** Blames the rows that are named; the batches without one of them are written again as they are. */
  #failed({ reason, isTransient, isUnknownColumn, rowsAt }: JobFailure): readonly LandOutcome[] {
    if (isUnknownColumn) {
      return this.#waitForColumns();
    }
    let start = 0;
    const outcomes = this.#taken.map(({ batch, lines }): LandOutcome => {
      const refused: { index: number; message: string }[] = [];
      for (const [index, line] of lines.entries()) {
        const end = start + line.length;
        const [from, to] = [start, end];
        if (rowsAt.some((position) => position >= from && position < to)) {
          refused.push({ index, message: `BigQuery: ${reason}` });
        }
        start = end;
      }
      return refused.length === 0
        ? { kind: 'void' }
        : { kind: 'rejected', rejections: schemaRejections(batch.rows, refused) };
    });
    if (!isTransient && outcomes.every(({ kind }) => kind === 'void')) {
      throw new KpipeError('KPIPE_BIGQUERY_FAILED', `load job ${this.#job.id} failed (${reason}) and names no row`, {
        where: { table: this.#job.table, job: this.#job.id },
        next: `\`bq show -j ${this.#job.id}\` tells more; compare the columns of the table with docs/bigquery.md`,
      });
    }
    return outcomes;
  }

  /** Load jobs may hear of a new column later than the table has it: the same rows go with the next one. */
  #waitForColumns(): never {
    const { table, id } = this.#job;
    if (this.#lag.isOver) {
      throw new KpipeError('KPIPE_SCHEMA_MISSING', `load job ${id} does not know a column that kpipe.yaml declares`, {
        where: { table, job: id },
        next: '`kpipe warehouse plan` tells what the table lacks, `kpipe warehouse apply` adds it',
      });
    }
    throw this.#lag.noted();
  }
}

function takeUpTo(waiting: readonly Waiting[], maxBytes: number): readonly Waiting[] {
  let bytes = 0;
  return waiting.filter((each, index) => {
    bytes += each.bytes;
    return index === 0 || bytes <= maxBytes;
  });
}

/**
 * Names the ranges, and ends with a number of its own: the same offsets may rightly be loaded again, after a replay, a
 * topic that was made again or a job that failed, and then an id of the ranges alone would pass for done.
 */
function jobId(role: string, taken: readonly Waiting[]): string {
  const ranges = taken.map(({ batch: { partition, from, to } }) => [
    partition.topic,
    partition.partition,
    `${from}`,
    `${to}`,
  ]);
  const hash = createHash('sha256')
    .update(JSON.stringify([role, ranges]))
    .digest('hex')
    .slice(0, 20);
  return `kpipe_${role}_${hash}_${randomBytes(8).toString('hex')}`;
}

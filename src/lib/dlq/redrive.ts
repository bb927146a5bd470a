import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { withKafkaAdmin } from '../kafka/admin.ts';
import type { RangeReader } from '../kafka/range-reader.ts';
import { TransactionalWriter, WriteFailed } from '../kafka/transactional-writer.ts';
import type { ClusterAdmin, PartitionPosition, TopicPartition } from '../ports.ts';
import { withoutRedrive } from '../records/dead-letter.ts';
import { backoffMs, wait } from '../runtime/backoff.ts';
import { readDeadLetter, type Place } from './dead-letter.ts';
import { LetterIndex, type IndexedLetter } from './letter-index.ts';
import { originOf } from './origin.ts';
import type { NotRedriven, RedrivePlan } from './redrive-plan.ts';
import { redriveMarkers, redrivenRecord, type RedriveContent } from './redriven-record.ts';
import { openTopicReader, partitionsOf, readPlaces, scanTopic } from './scan.ts';

export interface Redriven {
  readonly source: Place;
  /** Where it lies now; the offset is null where the broker's answer was lost. */
  readonly to: TopicPartition & { readonly offset: bigint | null };
  /** How often it has been redriven, with this time. */
  readonly redrives: number;
}

/** What a redrive did, exactly. */
export interface RedriveReport {
  readonly role: string;
  readonly deadLetterTopic: string;
  readonly to: string | null;
  readonly dryRun: boolean;
  /** What it was to redrive. */
  readonly planned: number;
  readonly redriven: readonly Redriven[];
  readonly notRedriven: readonly NotRedriven[];
  /** Somebody else redrove them since the plan was made. */
  readonly redrivenMeanwhile: number;
  /** Of the planned, not touched: for the next redrive. */
  readonly left: number;
  /** The answer to their last commit was lost, and Kafka with it: the next redrive finds out, and does not repeat them. */
  readonly unsure: number;
  /** Match, but beyond --max. */
  readonly beyondMax: number;
  readonly alreadyRedriven: number;
  readonly interrupted: boolean;
  /** null: nothing stopped it. */
  readonly stoppedBy: { readonly code: string; readonly message: string } | null;
  readonly seconds: number;
}

export interface RedriveOptions {
  /** Aborts: what is being written is finished. */
  readonly signal: AbortSignal;
  readonly ratePerSec?: number | undefined;
  readonly onProgress?: (redriven: number) => void;
  readonly onTrouble?: (reason: string) => void;
}

const chunkLetters = 500;
/** Of a chunk; each partition's share of it is one record batch. */
const chunkBytes = 500_000;
const attempts = 8;
const backoff = { baseMs: 250, capMs: 5000 };

/**
 * Redrives what a plan names. Each chunk is one transaction: the records in their topics and, beside their dead letters,
 * the markers that say so. A kill at any instant leaves both or neither, so the next redrive goes on exactly there. One
 * redrive a dead-letter topic at a time: a later one ends an earlier one.
 * @throws KPIPE_KAFKA_… before anything was redriven; afterwards the report says what stopped it
 */
export async function redrive(config: Config, plan: RedrivePlan, options: RedriveOptions): Promise<RedriveReport> {
  const startedAt = Date.now();
  if (plan.letters.length === 0) {
    return reportOf(plan, new Progress(), Date.now() - startedAt, false);
  }
  return withKafkaAdmin(config.kafka, async (admin) => {
    const run = new RedriveRun(config, admin, plan, options);
    try {
      const progress = await run.run();
      return reportOf(plan, progress, Date.now() - startedAt, options.signal.aborted);
    } finally {
      await run.close();
    }
  });
}

/** The report of a plan that is not carried out. */
export function dryRunReport(plan: RedrivePlan): RedriveReport {
  return { ...reportOf(plan, new Progress(), 0, false), dryRun: true };
}

class Progress {
  readonly redriven: Redriven[] = [];
  readonly notRedriven: NotRedriven[] = [];
  redrivenMeanwhile = 0;
  unsure = 0;
  stoppedBy: KpipeError | null = null;
}

function reportOf(plan: RedrivePlan, progress: Progress, elapsedMs: number, interrupted: boolean): RedriveReport {
  const { redriven, notRedriven, redrivenMeanwhile, unsure, stoppedBy } = progress;
  const planned = plan.letters.length;
  const left = planned - redriven.length - notRedriven.length - redrivenMeanwhile - unsure;
  return {
    role: plan.role,
    deadLetterTopic: plan.deadLetterTopic,
    to: plan.to,
    dryRun: false,
    planned,
    redriven,
    notRedriven: [...plan.notRedriven, ...notRedriven],
    redrivenMeanwhile,
    left,
    unsure,
    beyondMax: plan.beyondMax,
    alreadyRedriven: plan.alreadyRedriven,
    interrupted: interrupted && left > 0,
    stoppedBy: stoppedBy === null ? null : { code: stoppedBy.code, message: stoppedBy.message },
    seconds: elapsedMs / 1000,
  };
}

class RedriveRun {
  readonly #config: Config;
  readonly #admin: ClusterAdmin;
  readonly #plan: RedrivePlan;
  readonly #options: RedriveOptions;
  readonly #reader: RangeReader;
  readonly #progress = new Progress();
  /** Only the markers: what has been redriven, by whomever, up to `#positions`. */
  readonly #markers = new LetterIndex(() => false);
  #positions: readonly PartitionPosition[] = [];
  #writer: TransactionalWriter | null = null;

  constructor(config: Config, admin: ClusterAdmin, plan: RedrivePlan, options: RedriveOptions) {
    this.#config = config;
    this.#admin = admin;
    this.#plan = plan;
    this.#options = options;
    this.#reader = openTopicReader(config.kafka, plan.deadLetterTopic);
  }

  async run(): Promise<Progress> {
    const { signal, ratePerSec, onProgress } = this.#options;
    await this.#open();
    const startedAt = performance.now();
    for (const chunk of chunksOf(this.#plan.letters, ratePerSec)) {
      if (signal.aborted) {
        break;
      }
      try {
        await this.#redrive(chunk);
      } catch (error) {
        if (this.#progress.redriven.length === 0 || !(error instanceof KpipeError)) {
          throw error;
        }
        this.#progress.stoppedBy = error;
        break;
      }
      const done = this.#progress.redriven.length;
      onProgress?.(done);
      if (ratePerSec !== undefined) {
        await wait((done * 1000) / ratePerSec - (performance.now() - startedAt), signal);
      }
    }
    return this.#progress;
  }

  async close(): Promise<void> {
    await Promise.all([this.#reader.close(), this.#writer?.close()]);
  }

  /** Ends any other writer of these markers, then reads what it has written: nothing comes in between any more. */
  async #open(): Promise<void> {
    const { deadLetterTopic } = this.#plan;
    await this.#writer?.close();
    this.#writer = await TransactionalWriter.open(this.#config.kafka, `kpipe-dlq-${deadLetterTopic}`);
    const partitions = (await partitionsOf(this.#admin, deadLetterTopic)) ?? [];
    this.#positions = await scanTopic(
      this.#admin,
      this.#reader,
      partitions,
      (at, record) => this.#markers.add(at, record),
      // Not interrupted: it decides whether a transaction is there.
      { signal: new AbortController().signal, positions: this.#positions },
    );
  }

  async #redrive(chunk: readonly IndexedLetter[]): Promise<void> {
    const fresh = chunk.filter(({ identity }) => this.#plan.again || !this.#markers.isRedriven(identity));
    this.#progress.redrivenMeanwhile += chunk.length - fresh.length;
    const contents = await this.#contents(fresh);
    if (contents.length > 0) {
      await this.#write(contents);
    }
  }

  /** Until it is written, or no attempt helps. */
  async #write(contents: readonly RedriveContent[]): Promise<void> {
    const records = contents.map((content) => redrivenRecord(content, this.#plan, Date.now()));
    const markers = contents.flatMap(({ letter }) => redriveMarkers(letter));
    const before = this.#positions;
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#book(contents, records, await this.#writerInUse().write([...records, ...markers]));
        return;
      } catch (error) {
        if (!(error instanceof WriteFailed)) {
          throw error;
        }
        if (error.isFinal) {
          throw error.failure;
        }
        this.#progress.unsure = error.outcome === 'unknown' ? contents.length : 0;
        if (attempt === attempts) {
          throw error.failure;
        }
        this.#options.onTrouble?.(error.message);
      }
      await wait(backoffMs(attempt, backoff, Math.random), new AbortController().signal);
      if (await this.#isThere(contents, before)) {
        this.#book(contents, records, []);
        return;
      }
    }
  }

  /** What became of a transaction: it shows behind where the markers had been read up to. */
  async #isThere(contents: readonly RedriveContent[], before: readonly PartitionPosition[]): Promise<boolean> {
    await this.#open();
    const known = new LetterIndex(() => false);
    await this.#markersSince(before, known);
    this.#progress.unsure = 0;
    return contents.every(({ letter }) => known.isRedriven(letter.identity));
  }

  async #markersSince(positions: readonly PartitionPosition[], into: LetterIndex): Promise<void> {
    const signal = new AbortController().signal;
    const add = (at: TopicPartition, record: Parameters<LetterIndex['add']>[1]): void => into.add(at, record);
    await scanTopic(this.#admin, this.#reader, positions, add, { signal, positions });
  }

  #writerInUse(): TransactionalWriter {
    if (this.#writer === null) {
      throw new TypeError('the writer is not open');
    }
    return this.#writer;
  }

  #book(contents: readonly RedriveContent[], records: readonly TopicPartition[], offsets: readonly bigint[]): void {
    for (const [index, { letter }] of contents.entries()) {
      const { topic, partition } = records[index] ?? letter.source;
      const offset = offsets[index];
      this.#progress.redriven.push({
        source: letter.source,
        to: { topic, partition, offset: offset === undefined || offset < 0n ? null : offset },
        redrives: letter.redrives + 1,
      });
    }
  }

  async #contents(letters: readonly IndexedLetter[]): Promise<readonly RedriveContent[]> {
    const signal = new AbortController().signal;
    const places = letters.map(({ lies }) => lies);
    const recordAt = await readPlaces(this.#admin, this.#reader, places, signal);
    const contents: RedriveContent[] = [];
    for (const letter of letters) {
      const content = await this.#contentOf(letter, recordAt(letter.lies), signal);
      if (content === null) {
        this.#progress.notRedriven.push({ source: letter.source, why: 'value gone' });
      } else {
        contents.push(content);
      }
    }
    return contents;
  }

  async #contentOf(
    letter: IndexedLetter,
    record: Parameters<LetterIndex['add']>[1] | undefined,
    signal: AbortSignal,
  ): Promise<RedriveContent | null> {
    const read = record === undefined ? null : readDeadLetter(letter.lies, record);
    if (record === undefined || read?.kind !== 'letter') {
      return null;
    }
    const { sourceTimestampMs: timestampMs, firstFailedAt } = read.letter;
    if (!letter.isPointer) {
      return { letter, record, headers: read.letter.headers, timestampMs, firstFailedAt };
    }
    const origin = await originOf(this.#config.kafka, this.#admin, read.letter, signal);
    const headers = origin === null ? [] : withoutRedrive(origin.headers).own;
    return origin === null ? null : { letter, record: origin, headers, timestampMs, firstFailedAt };
  }
}

/** So that a chunk is one transaction of ordinary size and, with a rate, no more than about a fifth of a second. */
function* chunksOf(
  letters: readonly IndexedLetter[],
  ratePerSec: number | undefined,
): Generator<readonly IndexedLetter[]> {
  const most = Math.max(1, Math.min(chunkLetters, Math.ceil((ratePerSec ?? Number.POSITIVE_INFINITY) / 5)));
  let chunk: IndexedLetter[] = [];
  let bytes = 0;
  for (const letter of letters) {
    if (chunk.length > 0 && (chunk.length >= most || bytes + letter.bytes > chunkBytes)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(letter);
    bytes += letter.bytes;
  }
  if (chunk.length > 0) {
    yield chunk;
  }
}

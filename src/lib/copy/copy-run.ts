import { KpipeError } from '../errors.ts';
import type { RangeBatch } from '../kafka/range-batch.ts';
import type { SourceRecord } from '../ports.ts';
import { wait } from '../runtime/backoff.ts';
import { compileWhere } from '../where/where.ts';
import type { CopyEntry } from './copy-entry.ts';
import type { CopyWriter } from './write-copy.ts';

/** What would be copied. */
export interface CopyPlan {
  readonly id: string;
  readonly source: string;
  readonly destination: string;
  readonly where: string | null;
  readonly ranges: CopyEntry['ranges'];
  /** Offsets that are read: at most so many records. */
  readonly offsets: number;
  /** How a record's partition is found in the destination. */
  readonly partitioning: 'kept' | 'by key';
  readonly resumed: boolean;
}

/** What was copied; the JSON contract of `replay copy`. */
export interface CopyResult {
  readonly id: string;
  readonly source: string;
  readonly destination: string;
  readonly where: string | null;
  readonly partitioning: CopyPlan['partitioning'];
  /** Another process had begun it. */
  readonly resumed: boolean;
  readonly state: 'done' | 'nothing to do';
  readonly partitions: readonly {
    readonly partition: number;
    readonly from: bigint;
    readonly to: bigint;
    /** By this process. */
    readonly read: number;
    readonly copied: number;
  }[];
  readonly totals: { readonly read: number; readonly copied: number; readonly bytes: number; readonly lost: number };
  readonly seconds: number;
}

export interface CopyOptions {
  readonly ratePerSec: number | null;
  readonly signal: AbortSignal;
  /** Shows the plan and asks; rejects when the answer is no. */
  readonly confirm: (plan: CopyPlan) => Promise<void>;
  readonly onProgress: (offsets: number, copied: number) => void;
}

const maxChunkRecords = 1000;

/** One process' part of a copy. */
export class CopyRun {
  copied = 0;
  readonly #entry: CopyEntry;
  readonly #writer: CopyWriter;
  readonly #options: CopyOptions;
  readonly #matches: (record: SourceRecord, partition: number) => boolean;
  readonly #read = new Map<number, number>();
  readonly #written = new Map<number, number>();
  readonly #startedAt = performance.now();
  #offsets = 0;
  #bytes = 0;
  #lost = 0;

  constructor(entry: CopyEntry, writer: CopyWriter, options: CopyOptions) {
    this.#entry = entry;
    this.#writer = writer;
    this.#options = options;
    const where = entry.where === null ? null : compileWhere(entry.where);
    this.#matches = (record, partition) =>
      where === null || where({ ...plain(record), topic: entry.source, partition });
  }

  async take(batch: RangeBatch): Promise<void> {
    const { topic, partition, records, nextPosition } = batch;
    if (batch.unreadable !== undefined) {
      throw new KpipeError('KPIPE_KAFKA_FAILED', batch.unreadable.message, {
        where: { topic, partition, offset: batch.unreadable.firstOffset },
        next: 'copy the ranges before and behind it',
      });
    }
    this.#lost += batch.lost === undefined ? 0 : Number(batch.lost.to - batch.lost.from) + 1;
    const chosen = records.filter((record) => this.#matches(record, partition));
    for (let at = 0; at < chosen.length && !this.#options.signal.aborted; at += this.#chunkSize) {
      const chunk = chosen.slice(at, at + this.#chunkSize);
      const isLast = at + chunk.length === chosen.length;
      const next = isLast ? nextPosition : (chunk.at(-1)?.offset ?? 0n) + 1n;
      await this.#writer.write({ topic, partition, records: chunk, nextPosition: next });
      this.#count(partition, chunk);
      await this.#pace();
    }
    this.#read.set(partition, (this.#read.get(partition) ?? 0) + records.length);
    this.#offsets += records.length;
    this.#options.onProgress(this.#offsets, this.copied);
  }

  get #chunkSize(): number {
    const { ratePerSec } = this.#options;
    return ratePerSec === null ? maxChunkRecords : Math.max(1, Math.min(maxChunkRecords, Math.ceil(ratePerSec / 5)));
  }

  #count(partition: number, chunk: readonly SourceRecord[]): void {
    this.copied += chunk.length;
    this.#written.set(partition, (this.#written.get(partition) ?? 0) + chunk.length);
    this.#bytes += chunk.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0);
  }

  async #pace(): Promise<void> {
    const { ratePerSec, signal } = this.#options;
    if (ratePerSec !== null) {
      const dueMs = (this.copied / ratePerSec) * 1000;
      await wait(Math.max(0, dueMs - (performance.now() - this.#startedAt)), signal);
    }
  }

  result(plan: CopyPlan): CopyResult {
    return {
      ...emptyResult(plan),
      state: 'done',
      partitions: this.#entry.ranges.map(({ partition, from, to }) => ({
        partition,
        from,
        to,
        read: this.#read.get(partition) ?? 0,
        copied: this.#written.get(partition) ?? 0,
      })),
      totals: { read: this.#offsets, copied: this.copied, bytes: this.#bytes, lost: this.#lost },
      seconds: Math.round(performance.now() - this.#startedAt) / 1000,
    };
  }
}

/** Some records' fields are accessors of a class: spreading would lose them. */
function plain({ offset, timestampMs, key, value, headers }: SourceRecord): SourceRecord {
  return { offset, timestampMs, key, value, headers };
}

export function emptyResult(plan: CopyPlan): Omit<CopyResult, 'state'> {
  const { id, source, destination, where, partitioning, resumed } = plan;
  return {
    id,
    source,
    destination,
    where,
    partitioning,
    resumed,
    partitions: [],
    totals: { read: 0, copied: 0, bytes: 0, lost: 0 },
    seconds: 0,
  };
}

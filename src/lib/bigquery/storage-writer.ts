import { setTimeout as sleep } from 'node:timers/promises';

import { KpipeError } from '../errors.ts';
import type { TopicPartition } from '../ports.ts';
import type { BatchWriter, StagedBatch, StageOutcome, StagingBatch } from './batch-writer.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import { rowDescriptor, type RowDescriptor } from './columns.ts';
import { createRowEncoder, type RowEncoder } from './encode.ts';
import { batchBounds, type Intent } from './intent.ts';
import { encodeRows, schemaRejections } from './rejections.ts';
import { findRefused, fitsRequest } from './requests.ts';
import { SchemaLag } from './schema-lag.ts';
import type { TypedColumns } from './typed-columns.ts';
import type { PendingStreams } from './writer.ts';

export interface StorageWriterParts {
  readonly streams: PendingStreams;
  /** The declared columns that the next batch is written with. Never rejects. */
  readonly columns: () => Promise<TypedColumns>;
  /** How many rows of the intent's batch are in the table. */
  readonly countBatch: (partition: TopicPartition, intent: Intent) => Promise<number>;
  readonly close: () => Promise<void>;
  /** How long a batch may take to show up whose commit is neither confirmed nor denied; only stand-ins leave that open. */
  readonly undeterminedMs?: number;
}

const pollMs = 250;
/** More refused rows than this, none of them named, and the table is what is wrong. */
const maxUnnamedRejections = 20;

/** `write: storage`: staged in a finalized PENDING stream, visible by BatchCommitWriteStreams. */
export class StorageWriter implements BatchWriter {
  readonly #parts: StorageWriterParts;
  readonly #encoders = new Map<string, RowEncoder>();
  /** Columns with which rows were taken before: the Storage Write API knows them. */
  readonly #taken = new WeakSet<TypedColumns>();
  readonly #lag = new SchemaLag();

  constructor(parts: StorageWriterParts) {
    this.#parts = parts;
  }

  async stage(batch: StagingBatch): Promise<StageOutcome> {
    const { partition, rows } = batch;
    const { streams, columns } = this.#parts;
    const typed = await columns();
    const outcome = encodeRows(rows, typed, this.#encoderOf(partition), fitsRequest);
    if (outcome.kind === 'rejected') {
      return outcome;
    }
    const { encoded } = outcome;
    const stream = await streams.create();
    const appended = await streams.append(stream, encoded, typed.descriptor);
    switch (appended.kind) {
      case 'appended':
        this.#taken.add(typed);
        this.#lag.passed();
        await streams.finalize(stream, encoded.length);
        return { kind: 'staged', staged: this.#staged(batch, stream) };
      case 'row-errors':
        return { kind: 'rejected', rejections: schemaRejections(rows, appended.rows) };
      case 'refused': {
        const { start, end } = appended.range;
        await this.#requireKnownColumns(typed, partition, rows.slice(start, end));
        const refused = await this.#locate(encoded.slice(start, end), partition, typed.descriptor);
        const named = refused.map((index) => ({ index: start + index, message: 'BigQuery: INVALID_ARGUMENT' }));
        return { kind: 'rejected', rejections: schemaRejections(rows, named) };
      }
    }
  }

  async settle(partition: TopicPartition, intent: Intent): Promise<boolean> {
    const { streams, countBatch, undeterminedMs = 15_000 } = this.#parts;
    if ('job' in intent) {
      throw new KpipeError('KPIPE_INTERNAL', 'a load job’s intent was given to the Storage Write API');
    }
    const outcome = await streams.commit(intent.stream);
    if (outcome === 'committed') {
      return true;
    }
    const deadline = performance.now() + (outcome === 'undetermined' ? undeterminedMs : 0);
    for (;;) {
      if ((await countBatch(partition, intent)) > 0) {
        return true;
      }
      if (performance.now() >= deadline) {
        return false;
      }
      await sleep(pollMs);
    }
  }

  close(): Promise<void> {
    return this.#parts.close();
  }

  #staged({ partition, from, to, rows }: StagingBatch, stream: string): StagedBatch {
    const intent: Intent = { stream, ...batchBounds(from, to, rows) };
    return {
      intent,
      land: async () => ({ kind: (await this.settle(partition, intent)) ? 'landed' : 'void' }),
      // Nobody commits a stream whose intent is not durable, and BigQuery forgets it.
      withdraw: () => undefined,
    };
  }

  #encoderOf({ topic, partition }: TopicPartition): RowEncoder {
    const key = `${topic}-${partition}`;
    const known = this.#encoders.get(key) ?? createRowEncoder(topic, partition);
    this.#encoders.set(key, known);
    return known;
  }

  /**
   * The Storage Write API may hear of a column minutes after the table has it. Where the same rows are taken without the
   * declared columns, these are what was refused, and no row is at fault.
   * @throws KPIPE_BIGQUERY_UNREACHABLE then, for as long as it may be on its way
   */
  async #requireKnownColumns(
    typed: TypedColumns,
    partition: TopicPartition,
    rows: readonly AnalyticsRow[],
  ): Promise<void> {
    if (typed.columns.length === 0 || this.#taken.has(typed) || this.#lag.isOver) {
      return;
    }
    const { streams } = this.#parts;
    const encode = this.#encoderOf(partition);
    const bare = rows.map((row) => encode(row));
    if ((await streams.append(await streams.create(), bare, rowDescriptor([]))).kind === 'appended') {
      throw this.#lag.noted();
    }
  }

  async #locate(
    encoded: readonly Buffer[],
    partition: TopicPartition,
    descriptor: RowDescriptor,
  ): Promise<readonly number[]> {
    const { streams } = this.#parts;
    const accepts = async (some: readonly Buffer[]): Promise<boolean> =>
      (await streams.append(await streams.create(), some, descriptor)).kind === 'appended';
    const refused = await findRefused(encoded, accepts, maxUnnamedRejections);
    if (refused === null || refused.length === 0) {
      throw new KpipeError('KPIPE_BIGQUERY_FAILED', 'BigQuery refuses rows and does not say which', {
        where: { ...partition },
        next: 'compare the columns of the table with docs/bigquery.md',
      });
    }
    return refused;
  }
}

import { setTimeout as sleep } from 'node:timers/promises';

import { KpipeError } from '../errors.ts';
import type { TopicPartition } from '../ports.ts';
import type { BatchWriter, StagedBatch, StageOutcome, StagingBatch } from './batch-writer.ts';
import { createRowEncoder, type RowEncoder } from './encode.ts';
import { batchBounds, type Intent } from './intent.ts';
import { rejectionOf, schemaRejections } from './rejections.ts';
import { findRefused } from './requests.ts';
import type { PendingStreams } from './writer.ts';

export interface StorageWriterParts {
  readonly streams: PendingStreams;
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

  constructor(parts: StorageWriterParts) {
    this.#parts = parts;
  }

  async stage(batch: StagingBatch): Promise<StageOutcome> {
    const { partition, rows } = batch;
    const encode = this.#encoderOf(partition);
    const encoded = rows.map((row) => encode(row));
    const unfit = rows.flatMap((row, index) => rejectionOf(row, encoded[index]) ?? []);
    if (unfit.length > 0) {
      return { kind: 'rejected', rejections: unfit };
    }
    const { streams } = this.#parts;
    const stream = await streams.create();
    const outcome = await streams.append(stream, encoded);
    switch (outcome.kind) {
      case 'appended':
        await streams.finalize(stream, encoded.length);
        return { kind: 'staged', staged: this.#staged(batch, stream) };
      case 'row-errors':
        return { kind: 'rejected', rejections: schemaRejections(rows, outcome.rows) };
      case 'refused': {
        const { start } = outcome.range;
        const refused = await this.#locate(encoded.slice(start, outcome.range.end), partition);
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

  async #locate(encoded: readonly Buffer[], partition: TopicPartition): Promise<readonly number[]> {
    const { streams } = this.#parts;
    const accepts = async (some: readonly Buffer[]): Promise<boolean> =>
      (await streams.append(await streams.create(), some)).kind === 'appended';
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

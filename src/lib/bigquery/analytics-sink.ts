import { setTimeout as sleep } from 'node:timers/promises';

import { KpipeError, messageOf } from '../errors.ts';
import { AssignmentLostError, partitionKey, type Assignment, type TopicPartition } from '../ports.ts';
import type { Claim, Sink, SinkBatch, WriteOutcome } from '../runtime/sink.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import { createRowEncoder, type RowEncoder } from './encode.ts';
import { isFatalRefusal, type GroupAccess } from './group-access.ts';
import { formatIntent, intentOf, maxMetadataBytes, parseIntent, type Intent } from './intent.ts';
import { rejectionOf, schemaRejections } from './rejections.ts';
import { findRefused } from './requests.ts';
import type { PendingStreams } from './writer.ts';

export type { AnalyticsRow } from './analytics-row.ts';
export type { GroupAccess } from './group-access.ts';

/**
 * Rows into BigQuery exactly once, by an intent that is durable before anything is visible. Per batch [a, b):
 *
 *   1. the rows go to a new PENDING stream, which is finalized: nobody sees them
 *   2. the group commits offset a with the intent {stream, a, b, …} as metadata
 *   3. BatchCommitWriteStreams: all rows are visible at once
 *   4. the group commits offset b, without metadata
 *
 * Whoever claims the partition finds what was committed last. No intent: before 2 or after 4, and reading goes on there; a
 * stream that was left behind is never committed by anyone. An intent: 2 was reached, so 3 is done (again: a stream is
 * committed once, however often it is asked for), then 4. A stream that BigQuery no longer knows was either committed
 * long ago or lost: then the table itself is asked for the batch, and only if it is not there, [a, b) is read again.
 *
 * What fences: the group's generation refuses 2 and 4 to a member that lost the partition, and nobody does 3 without 2.
 * A reply that was lost, at any step, leaves `open` set: the next attempt goes on with that same stream and does not make
 * a second one for the same records.
 */
export interface AnalyticsSinkParts {
  readonly group: GroupAccess;
  readonly streams: PendingStreams;
  /** How many rows of the intent's batch are in the table. */
  readonly countBatch: (partition: TopicPartition, intent: Intent) => Promise<number>;
  /** Where to read from when the group has committed nothing: the role's `start`. */
  readonly startPosition: (partition: TopicPartition) => Promise<bigint>;
  readonly close: () => Promise<void>;
  /** How long a batch may take to show up whose commit is neither confirmed nor denied; only stand-ins leave that open. */
  readonly undeterminedMs?: number;
}

interface PartitionState {
  readonly partition: TopicPartition;
  readonly epoch: bigint;
  readonly assignment: Assignment;
  readonly encode: RowEncoder;
  /** Rows below it are in the table. */
  position: bigint;
  open: OpenIntent | null;
  /** Settles, and never rejects, when no write of this state is under way. */
  idle: Promise<unknown>;
}

interface OpenIntent {
  readonly intent: Intent;
  /** The group is known to hold it. */
  durable: boolean;
}

const pollMs = 250;
/** More refused rows than this, none of them named, and the table is what is wrong. */
const maxUnnamedRejections = 20;

export class AnalyticsSink implements Sink<AnalyticsRow> {
  readonly commitsToGroup = true;
  readonly #parts: AnalyticsSinkParts;
  readonly #partitions = new Map<string, PartitionState>();
  #epoch = 0n;

  constructor(parts: AnalyticsSinkParts) {
    this.#parts = parts;
  }

  async claim(assignment: Assignment): Promise<Claim> {
    const { topic, partition } = assignment;
    const key = partitionKey(assignment);
    this.#epoch += 1n;
    const before = this.#partitions.get(key);
    const state: PartitionState = {
      partition: { topic, partition },
      epoch: this.#epoch,
      assignment,
      encode: createRowEncoder(topic, partition),
      position: 0n,
      open: null,
      idle: Promise.resolve(),
    };
    this.#partitions.set(key, state);
    // A write of the claim before may still be on its way to the group: what it does must be known before we ask.
    await before?.idle;
    const committed = await this.#parts.group.committed(state.partition);
    const intent = committed === null ? null : parseIntent(committed.metadata, committed.offset);
    state.position = committed?.offset ?? (await this.#parts.startPosition(state.partition));
    if (intent !== null) {
      state.open = { intent, durable: true };
      await this.#finish(state, state.open);
    }
    return { ...state.partition, position: state.position, epoch: state.epoch };
  }

  async write(claim: Claim, batch: SinkBatch<AnalyticsRow>): Promise<WriteOutcome> {
    const state = this.#partitions.get(partitionKey(claim));
    if (state === undefined || state.epoch !== claim.epoch) {
      return { kind: 'fenced' };
    }
    const writing = this.#write(state, batch);
    state.idle = writing.catch(() => undefined);
    try {
      return await writing;
    } catch (error) {
      if (error instanceof AssignmentLostError) {
        return { kind: 'fenced' };
      }
      throw error;
    }
  }

  classify(error: unknown): 'retry' | 'fatal' {
    if (error instanceof AssignmentLostError) {
      // A claim that comes too late: the runtime drops the partition as soon as the group says so.
      return 'retry';
    }
    if (isFatalRefusal(error)) {
      return 'fatal';
    }
    const code = error instanceof KpipeError ? error.code : undefined;
    return code === undefined ||
      !['KPIPE_BIGQUERY_UNREACHABLE', 'KPIPE_KAFKA_UNREACHABLE', 'KPIPE_KAFKA_FAILED'].includes(code)
      ? 'fatal'
      : 'retry';
  }

  describe(error: unknown): KpipeError {
    return error instanceof KpipeError
      ? error
      : new KpipeError('KPIPE_INTERNAL', `writing to BigQuery failed: ${messageOf(error)}`, { cause: error });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#partitions.values()].map(({ idle }) => idle));
    this.#partitions.clear();
    await this.#parts.close();
  }

  async #write(state: PartitionState, batch: SinkBatch<AnalyticsRow>): Promise<WriteOutcome> {
    if (state.open !== null) {
      await this.#finish(state, state.open);
    }
    if (batch.position > state.position) {
      throw new KpipeError(
        'KPIPE_INTERNAL',
        `a batch begins at ${batch.position}, behind the position ${state.position}`,
        {
          where: { ...state.partition },
        },
      );
    }
    const stored: WriteOutcome = { kind: 'written', stored: batch.rows.length, duplicates: 0 };
    if (batch.nextPosition <= state.position) {
      return stored;
    }
    const rows = batch.rows.filter(({ offset }) => offset >= state.position);
    if (rows.length === 0) {
      await this.#advance(state, batch.nextPosition);
      return stored;
    }
    const staged = await this.#stage(state, rows);
    if (staged.kind === 'rejected') {
      return staged;
    }
    const open: OpenIntent = {
      intent: intentOf(staged.stream, state.position, batch.nextPosition, rows),
      durable: false,
    };
    state.open = open;
    if (!(await this.#finish(state, open))) {
      throw new KpipeError('KPIPE_BIGQUERY_UNREACHABLE', 'BigQuery lost a finalized write stream before its commit', {
        where: { ...state.partition, stream: staged.stream },
        next: 'the batch is written again to a new stream',
      });
    }
    return stored;
  }

  /** Step 1: the rows in a finalized stream, or those among them that BigQuery does not take. */
  async #stage(
    state: PartitionState,
    rows: readonly AnalyticsRow[],
  ): Promise<{ readonly kind: 'staged'; readonly stream: string } | (WriteOutcome & { readonly kind: 'rejected' })> {
    const encoded = rows.map((row) => state.encode(row));
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
        return { kind: 'staged', stream };
      case 'row-errors':
        return { kind: 'rejected', rejections: schemaRejections(rows, outcome.rows) };
      case 'refused': {
        const { start } = outcome.range;
        const refused = await this.#locate(encoded.slice(start, outcome.range.end), state.partition);
        return {
          kind: 'rejected',
          rejections: schemaRejections(
            rows,
            refused.map((index) => ({ index: start + index, message: 'BigQuery: INVALID_ARGUMENT' })),
          ),
        };
      }
    }
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

  /**
   * Steps 2 to 4 for a finalized stream, from wherever they stand; repeats what may have happened already.
   * @returns whether the rows are in the table; if not, nothing of the batch is, and nothing will be
   */
  async #finish(state: PartitionState, open: OpenIntent): Promise<boolean> {
    const { intent } = open;
    if (!open.durable) {
      await this.#commit(state, intent.from, formatIntent(intent));
      open.durable = true;
    }
    const landed = await this.#settle(state.partition, intent);
    if (landed) {
      await this.#advance(state, intent.to);
    }
    state.open = null;
    return landed;
  }

  /** Step 3, and what is asked when its answer is not yes. */
  async #settle(partition: TopicPartition, intent: Intent): Promise<boolean> {
    const { streams, countBatch, undeterminedMs = 15_000 } = this.#parts;
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

  async #advance(state: PartitionState, to: bigint): Promise<void> {
    await this.#commit(state, to, '');
    state.position = to;
  }

  /** Kept from whoever lost the partition inside this process, as the generation keeps it from other processes. */
  async #commit(state: PartitionState, offset: bigint, metadata: string): Promise<void> {
    if (this.#partitions.get(partitionKey(state.partition)) !== state) {
      throw new AssignmentLostError('the partition was claimed again');
    }
    if (Buffer.byteLength(metadata) > maxMetadataBytes) {
      throw new KpipeError(
        'KPIPE_INTERNAL',
        `an intent takes ${Buffer.byteLength(metadata)} bytes of commit metadata`,
        {
          where: { ...state.partition },
          next: 'use shorter names for the dataset and table',
        },
      );
    }
    await state.assignment.commit(offset, metadata);
  }
}

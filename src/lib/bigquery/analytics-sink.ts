import { KpipeError, messageOf } from '../errors.ts';
import { AssignmentLostError, partitionKey, type Assignment, type TopicPartition } from '../ports.ts';
import type { Claim, Sink, SinkBatch, SinkUsage, WriteOutcome } from '../runtime/sink.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import type { BatchWriter } from './batch-writer.ts';
import { isFatalRefusal, type GroupAccess } from './group-access.ts';
import { formatIntent, maxMetadataBytes, parseIntent, type Intent } from './intent.ts';

export type { AnalyticsRow } from './analytics-row.ts';
export type { GroupAccess } from './group-access.ts';

/**
 * Rows into BigQuery exactly once, by an intent that is durable before anything is visible. Per batch [a, b):
 *
 *   1. the rows are staged, where nobody sees them: in a finalized PENDING stream, or here until a load job takes them
 *   2. the group commits offset a with the intent {stream or job, a, b, …} as metadata
 *   3. BatchCommitWriteStreams, or the load job is created: all rows are visible at once, or none
 *   4. the group commits offset b, without metadata
 *
 * Whoever claims the partition finds what was committed last. No intent: before 2 or after 4, and reading goes on there;
 * what was staged is never made visible by anyone. An intent: 2 was reached, so it is settled (`BatchWriter.settle`): its
 * rows are in the table, and 4 is done; or they are not and never will be, and [a, b) is read again.
 *
 * What fences: the group's generation refuses 2 and 4 to a member that lost the partition, and nobody does 3 without 2.
 * A reply that was lost, at any step, leaves `open` set: the next attempt settles that intent first and does not make
 * a second one for the same records.
 */
export interface AnalyticsSinkParts {
  readonly group: GroupAccess;
  readonly writer: BatchWriter;
  readonly usage: () => SinkUsage;
  /** Where to read from when the group has committed nothing: the role's `start`. */
  readonly startPosition: (partition: TopicPartition) => Promise<bigint>;
}

interface PartitionState {
  readonly partition: TopicPartition;
  readonly epoch: bigint;
  readonly assignment: Assignment;
  readonly released: AbortController;
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
      released: new AbortController(),
      position: 0n,
      open: null,
      idle: Promise.resolve(),
    };
    this.#partitions.set(key, state);
    // A write of the claim before may still be on its way to the group: what it does must be known before we ask.
    before?.released.abort();
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

  release(claim: Claim): void {
    const state = this.#partitions.get(partitionKey(claim));
    if (state?.epoch === claim.epoch) {
      state.released.abort();
    }
  }

  /** The partitions that this process holds. */
  get held(): number {
    return [...this.#partitions.values()].filter(
      ({ assignment, released }) => assignment.active && !released.signal.aborted,
    ).length;
  }

  usage(): SinkUsage {
    return this.#parts.usage();
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
    const states = [...this.#partitions.values()];
    states.forEach(({ released }) => released.abort());
    await Promise.all(states.map(({ idle }) => idle));
    this.#partitions.clear();
    await this.#parts.writer.close();
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
    return this.#land(state, { from: state.position, to: batch.nextPosition, rows });
  }

  /** Steps 1 to 4. */
  async #land(
    state: PartitionState,
    batch: { readonly from: bigint; readonly to: bigint; readonly rows: readonly AnalyticsRow[] },
  ): Promise<WriteOutcome> {
    const { partition, released } = state;
    const outcome = await this.#parts.writer.stage({ ...batch, partition, released: released.signal });
    if (outcome.kind === 'rejected') {
      return outcome;
    }
    const { staged } = outcome;
    const open: OpenIntent = { intent: staged.intent, durable: false };
    state.open = open;
    try {
      await this.#commit(state, open.intent.from, formatIntent(open.intent));
    } catch (error) {
      // Refused or not answered: either way it may have become durable, so that nothing of it may become visible.
      staged.withdraw();
      throw error;
    }
    open.durable = true;
    const landed = await staged.land();
    if (landed.kind === 'landed') {
      await this.#advance(state, batch.to);
    }
    state.open = null;
    switch (landed.kind) {
      case 'landed':
        return { kind: 'written', stored: batch.rows.length, duplicates: 0 };
      case 'rejected':
        return landed;
      case 'void':
        throw new KpipeError(
          'KPIPE_BIGQUERY_UNREACHABLE',
          'BigQuery did not take a batch, and nothing of it is visible',
          {
            where: { ...partition, from: batch.from, to: batch.to },
            next: 'the batch is written again',
          },
        );
    }
  }

  /**
   * Steps 2 to 4 of an intent, from wherever they stand; repeats what may have happened already.
   * @returns whether the rows are in the table; if not, nothing of the batch is, and nothing will be
   */
  async #finish(state: PartitionState, open: OpenIntent): Promise<boolean> {
    const { intent } = open;
    if (!open.durable) {
      await this.#commit(state, intent.from, formatIntent(intent));
      open.durable = true;
    }
    const landed = await this.#parts.writer.settle(state.partition, intent);
    if (landed) {
      await this.#advance(state, intent.to);
    }
    state.open = null;
    return landed;
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

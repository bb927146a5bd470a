import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { partitionOfKey } from '../kafka/partitioner.ts';
import { TransactionalWriter, WriteFailed, type AddressedRecord } from '../kafka/transactional-writer.ts';
import type { ClusterAdmin, SourceRecord, TopicPartition } from '../ports.ts';
import { backoffMs, wait } from '../runtime/backoff.ts';
import { copyGroup, type CopyEntry } from './copy-entry.ts';

/** Records of one partition, and the position behind them. */
export interface CopyChunk extends TopicPartition {
  readonly records: readonly SourceRecord[];
  readonly nextPosition: bigint;
}

const attempts = 8;

/**
 * Writes a copy's chunks, each once: records and the position behind them are one transaction. After a failure whose
 * outcome is not known, a new writer of the same transactional id ends what was left open, and the position then tells.
 */
export class CopyWriter {
  readonly #config: KafkaConfig;
  readonly #admin: ClusterAdmin;
  readonly #entry: Pick<CopyEntry, 'id' | 'source' | 'destination'>;
  /** Of the destination; null where it has as many as the source: then each record keeps its partition. */
  readonly #partitions: number | null;
  readonly #signal: AbortSignal;
  #writer: TransactionalWriter | null = null;

  constructor(
    config: KafkaConfig,
    admin: ClusterAdmin,
    entry: Pick<CopyEntry, 'id' | 'source' | 'destination'>,
    partitions: number | null,
    signal: AbortSignal,
  ) {
    this.#config = config;
    this.#admin = admin;
    this.#entry = entry;
    this.#partitions = partitions;
    this.#signal = signal;
  }

  /** Ends what another process of this copy may have left open, and answers how far it has come. */
  async open(): Promise<ReadonlyMap<number, bigint>> {
    await this.#opened();
    return this.#progress();
  }

  /** @throws KPIPE_PRODUCE_FAILED and others, when it goes on failing; then the chunk is not there, or is known to be */
  async write(chunk: CopyChunk): Promise<void> {
    const { source } = this.#entry;
    const committedWith = {
      group: copyGroup(this.#entry.id),
      offsets: [{ topic: source, partition: chunk.partition, position: chunk.nextPosition }],
    };
    const records = chunk.records.map((record) => this.#addressed(chunk.partition, record));
    for (let attempt = 1; ; attempt += 1) {
      try {
        await (await this.#opened()).write(records, committedWith);
        return;
      } catch (error) {
        if (!(error instanceof WriteFailed)) {
          throw error;
        }
        await this.#forget();
        if (error.isFinal || attempt >= attempts || this.#signal.aborted) {
          throw error.failure;
        }
        await wait(backoffMs(attempt, { baseMs: 200, capMs: 5000 }, Math.random), this.#signal);
        // A commit whose answer was lost may have happened.
        await this.#opened();
        if (((await this.#progress()).get(chunk.partition) ?? -1n) >= chunk.nextPosition) {
          return;
        }
      }
    }
  }

  async close(): Promise<void> {
    await this.#forget();
  }

  async #opened(): Promise<TransactionalWriter> {
    this.#writer ??= await TransactionalWriter.open(this.#config, copyGroup(this.#entry.id));
    return this.#writer;
  }

  async #forget(): Promise<void> {
    const writer = this.#writer;
    this.#writer = null;
    await writer?.close();
  }

  async #progress(): Promise<ReadonlyMap<number, bigint>> {
    const commits = await this.#admin.committedOffsets(copyGroup(this.#entry.id));
    return new Map(
      commits
        .filter(({ topic }) => topic === this.#entry.source)
        .map(({ partition, offset }) => [partition, offset] as const),
    );
  }

  #addressed(partition: number, { key, value, headers, timestampMs }: SourceRecord): AddressedRecord {
    const count = this.#partitions;
    const target = count === null ? partition : key === null ? partition % count : partitionOfKey(key, count);
    return {
      topic: this.#entry.destination,
      partition: target,
      key,
      value,
      headers,
      ...(timestampMs < 0 ? {} : { timestampMs }),
    };
  }
}

/** @throws KPIPE_USAGE */
export function requireOtherTopic(source: string, destination: string): void {
  if (source === destination) {
    throw new KpipeError('KPIPE_USAGE', `${source} would be copied into itself`, { next: 'name another topic' });
  }
}

import { setImmediate as nextTurn } from 'node:timers/promises';

import { KpipeError, messageOf } from '../../errors.ts';
import type { FetchedBatch, TopicPartition, UnreadableRange } from '../../ports.ts';
import type { Semaphore } from '../../runtime/semaphore.ts';
import { maxUnpackedBytes, unpackers } from '../codecs.ts';
import { AbortedTransactions, type AbortedTransaction } from './aborted-transactions.ts';
import { FetchedRecords, type RecordSegment } from './fetched-records.ts';
import type { RecordBatch } from './record-batch.ts';
import { divideRecords, type PieceBounds, type RecordPiece } from './record-pieces.ts';

/** What one fetch brought of one partition, as it waits to be read: still packed. */
export interface PackedAnswer {
  readonly position: bigint;
  readonly nextPosition: bigint;
  readonly highWatermark: bigint;
  readonly batches: readonly RecordBatch[];
  readonly aborted: readonly AbortedTransaction[];
  /** Packed. */
  readonly bytes: number;
}

export interface AnswerReaderOptions extends TopicPartition {
  readonly crc32c: (bytes: Buffer) => number;
  /** Lets one at a time unpack, and hold unpacked, what is large. */
  readonly large: Semaphore;
  /** Takes what was read; resolves when there is room for more. */
  readonly deliver: (batch: FetchedBatch) => Promise<void>;
  /** False once nothing of the answer may be delivered any more. */
  readonly isCurrent: () => boolean;
}

/** What is delivered at once: more waits until there is room again, so that a batch of any size needs bounded memory. */
const pieceBounds: PieceBounds = { maxRecords: 10_000, maxBytes: 4 * 1024 * 1024 };
/** Any partition may unpack so much at any time. What is more goes by `large`. */
const smallUnpackedBytes = 8 * 1024 * 1024;
/** A batch of a million tiny records is gone through in turns. */
const piecesPerTurn = 20;

/**
 * Reads one answer: leaves out what a read-committed consumer must not get and what lies before the position, checks and
 * unpacks the rest batch by batch, and delivers it in pieces, in order. A batch that cannot be unpacked, or would be more
 * than `maxUnpackedBytes`, is delivered as an unreadable range. The last delivery reaches the answer's `nextPosition`,
 * whether or not records are left.
 */
export class AnswerReader {
  readonly #options: AnswerReaderOptions;
  readonly #answer: PackedAnswer;
  #from: bigint;
  #segments: RecordSegment[] = [];
  #count = 0;
  #bytes = 0;

  constructor(options: AnswerReaderOptions, answer: PackedAnswer) {
    this.#options = options;
    this.#answer = answer;
    this.#from = answer.position;
  }

  /** @throws KPIPE_KAFKA_FAILED when bytes do not match their checksum; whatever `deliver` throws */
  async read(): Promise<void> {
    const { batches, aborted, nextPosition } = this.#answer;
    const transactions = new AbortedTransactions(aborted);
    for (const batch of batches) {
      const isWanted = transactions.isVisible(batch) && batch.count !== 0 && batch.lastOffset >= this.#from;
      if (isWanted && this.#options.isCurrent()) {
        this.#check(batch);
        await (batch.codec === 0 ? this.#take(batch, batch.records) : this.#unpack(batch));
      }
    }
    await this.#flush(nextPosition);
  }

  #check(batch: RecordBatch): void {
    const { topic, partition, crc32c } = this.#options;
    if (crc32c(batch.checked) !== batch.crc) {
      throw new KpipeError(
        'KPIPE_KAFKA_FAILED',
        `the record batch at offset ${batch.baseOffset} does not match its checksum`,
        {
          where: { topic, partition, offset: batch.baseOffset },
          next: 'start the role again: if it says the same, the log of the leader is damaged (move the leader, look at its disk)',
        },
      );
    }
  }

  async #unpack(batch: RecordBatch): Promise<void> {
    const small = await this.#unpacked(batch, smallUnpackedBytes);
    if (small === 'failed') {
      return;
    }
    if (small !== null) {
      await this.#take(batch, small);
      return;
    }
    await this.#flush(this.#begin(batch));
    await this.#options.large.run(async () => {
      const large = this.#options.isCurrent() ? await this.#unpacked(batch, maxUnpackedBytes) : 'failed';
      if (large === null) {
        await this.#bury(batch, 'too_large', `a record batch holds more than ${maxUnpackedBytes} bytes uncompressed`);
      } else if (large !== 'failed') {
        await this.#take(batch, large);
        // Held no longer than the permission to.
        await this.#flush(batch.lastOffset + 1n);
      }
    });
  }

  /** Null: it is larger. Failed: its range was delivered as unreadable. */
  async #unpacked(batch: RecordBatch, maxBytes: number): Promise<Buffer | 'failed' | null> {
    const unpack = unpackers[batch.codec];
    try {
      if (unpack === undefined) {
        throw new Error(`there is no codec ${batch.codec}`);
      }
      return await unpack(batch.records, maxBytes);
    } catch (error) {
      if (error instanceof KpipeError) {
        throw error;
      }
      await this.#bury(batch, 'undecodable', `a record batch cannot be unpacked: ${messageOf(error)}`);
      return 'failed';
    }
  }

  async #take(batch: RecordBatch, bytes: Buffer): Promise<void> {
    let pieces: readonly RecordPiece[];
    try {
      pieces = await this.#divide(batch, bytes);
    } catch (error) {
      await this.#bury(batch, 'undecodable', `a record batch is malformed: ${messageOf(error)}`);
      return;
    }
    for (const piece of pieces) {
      if (this.#count + piece.count > pieceBounds.maxRecords || this.#bytes + piece.bytes > pieceBounds.maxBytes) {
        await this.#flush(this.#begin(batch));
      }
      const { baseOffset, baseTimestampMs, baseTimestamp } = batch;
      const appendTimeMs = batch.logAppendTime ? batch.maxTimestampMs : null;
      this.#segments.push({ piece, bytes, baseOffset, baseTimestampMs, baseTimestamp, appendTimeMs });
      this.#count += piece.count;
      this.#bytes += piece.bytes;
    }
  }

  async #divide(batch: RecordBatch, bytes: Buffer): Promise<readonly RecordPiece[]> {
    const { baseOffset, lastOffset, count } = batch;
    const lastDelta = Number(lastOffset - baseOffset);
    const expected = { count, lastDelta, fromDelta: Number(this.#answer.position - baseOffset) };
    const pieces: RecordPiece[] = [];
    for (const piece of divideRecords(bytes, expected, pieceBounds)) {
      pieces.push(piece);
      if (pieces.length % piecesPerTurn === 0) {
        await nextTurn();
      }
    }
    return pieces;
  }

  /** Where the batch begins for us, or what is read of it so far ends. */
  #begin(batch: RecordBatch): bigint {
    const last = this.#segments.at(-1);
    const read = last === undefined ? this.#from : last.baseOffset + BigInt(last.piece.lastDelta) + 1n;
    return batch.baseOffset > read ? batch.baseOffset : read;
  }

  async #bury(batch: RecordBatch, reason: UnreadableRange['reason'], message: string): Promise<void> {
    const firstOffset = this.#begin(batch);
    await this.#flush(firstOffset);
    const { lastOffset, maxTimestampMs } = batch;
    await this.#flush(lastOffset + 1n, { firstOffset, lastOffset, timestampMs: maxTimestampMs, reason, message });
  }

  /** Delivers what was gathered, as far as `nextPosition`. */
  async #flush(nextPosition: bigint, unreadable?: UnreadableRange): Promise<void> {
    const { topic, partition, deliver, isCurrent } = this.#options;
    if (nextPosition <= this.#from || !isCurrent()) {
      return;
    }
    const batch: FetchedBatch = {
      topic,
      partition,
      position: this.#from,
      nextPosition,
      highWatermark: this.#answer.highWatermark,
      records: new FetchedRecords(this.#segments),
      recordCount: this.#count,
      bytes: this.#bytes,
      ...(unreadable === undefined ? {} : { unreadable }),
    };
    this.#from = nextPosition;
    this.#segments = [];
    this.#count = 0;
    this.#bytes = 0;
    await deliver(batch);
  }
}

import type { RecordHeader, SourceRecord } from '../../ports.ts';
import type { RecordPiece } from './record-pieces.ts';
import { Varints } from './varints.ts';

/** A piece of a batch, and what its records share. */
export interface RecordSegment {
  readonly piece: RecordPiece;
  /** The batch's unpacked bytes. */
  readonly bytes: Buffer;
  readonly baseOffset: bigint;
  readonly baseTimestampMs: number;
  readonly baseTimestamp: bigint;
  /** The time of every record, where the log gives it; null: each has its own. */
  readonly appendTimeMs: number | null;
}

/**
 * A record that outlives its neighbours keeps the bytes of them all alive. Out of buffers larger than this, keys, values
 * and headers are copied, so that what a record weighs is what it holds.
 */
const copiedAboveBytes = 1024 * 1024;

/** Records that are decoded as they are iterated, out of bytes that `divideRecords` has checked. */
export class FetchedRecords implements Iterable<SourceRecord> {
  readonly #segments: readonly RecordSegment[];

  constructor(segments: readonly RecordSegment[]) {
    this.#segments = segments;
  }

  *[Symbol.iterator](): Generator<SourceRecord, void> {
    for (const segment of this.#segments) {
      const { piece, baseOffset, baseTimestampMs, baseTimestamp, appendTimeMs } = segment;
      const copies = segment.bytes.length > copiedAboveBytes;
      const varints = new Varints(segment.bytes, piece.start);
      for (let index = 0; index < piece.count; index += 1) {
        const length = varints.next();
        const end = varints.at + length;
        varints.at += 1;
        const ownTimeMs = varints.timeAfter(baseTimestamp, baseTimestampMs);
        const offsetDelta = varints.next();
        const key = takeBytes(varints, copies);
        const value = takeBytes(varints, copies);
        const headers = headerBytes(varints, end, copies);
        const timestampMs = appendTimeMs ?? ownTimeMs;
        yield new FetchedRecord(baseOffset + BigInt(offsetDelta), timestampMs, key, value, headers);
        varints.at = end;
      }
    }
  }
}

/** What stands behind the value; null where it says that there are no headers, as with most records. */
function headerBytes(varints: Varints, end: number, copies: boolean): Buffer | null {
  if (varints.bytes[varints.at] === 0) {
    return null;
  }
  const bytes = varints.bytes.subarray(varints.at, end);
  return copies ? Buffer.from(bytes) : bytes;
}

const noHeaders: readonly RecordHeader[] = [];

/** Headers are decoded when they are asked for, once. */
class FetchedRecord implements SourceRecord {
  readonly offset: bigint;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  #undecoded: Buffer | null;
  #headers = noHeaders;

  constructor(offset: bigint, timestampMs: number, key: Buffer | null, value: Buffer | null, headers: Buffer | null) {
    this.offset = offset;
    this.timestampMs = timestampMs;
    this.key = key;
    this.value = value;
    this.#undecoded = headers;
  }

  get headers(): readonly RecordHeader[] {
    if (this.#undecoded !== null) {
      this.#headers = decodeHeaders(this.#undecoded);
      this.#undecoded = null;
    }
    return this.#headers;
  }
}

function decodeHeaders(bytes: Buffer): readonly RecordHeader[] {
  const varints = new Varints(bytes);
  const count = varints.next();
  const headers: RecordHeader[] = [];
  for (let index = 0; index < count; index += 1) {
    const length = varints.next();
    const name = bytes.toString('utf8', varints.at, varints.at + length);
    varints.at += length;
    headers.push([name, takeBytes(varints, false)]);
  }
  return headers;
}

/** A length, and as many bytes; a length of -1 is null. */
function takeBytes(varints: Varints, copies: boolean): Buffer | null {
  const length = varints.next();
  if (length < 0) {
    return null;
  }
  const { bytes, at } = varints;
  varints.at = at + length;
  const taken = bytes.subarray(at, at + length);
  // What is most of the buffer anyway may as well keep it.
  return copies && length * 2 < bytes.length ? Buffer.from(taken) : taken;
}

/**
 * The record batches in fetched bytes, up to their compressed part: a header of 61 bytes, then records, compressed as
 * one. https://kafka.apache.org/documentation/#recordbatch
 */
export interface RecordBatch {
  readonly baseOffset: bigint;
  readonly lastOffset: bigint;
  /** Of the leader that wrote it. */
  readonly leaderEpoch: number;
  /** Of `checked`. */
  readonly crc: number;
  readonly codec: number;
  readonly transactional: boolean;
  /** Holds no records but the marker that ends a transaction. */
  readonly control: boolean;
  /** Every record has the batch's maximum timestamp, given by the log. */
  readonly logAppendTime: boolean;
  readonly baseTimestampMs: number;
  /** With all of its 64 bits. */
  readonly baseTimestamp: bigint;
  readonly maxTimestampMs: number;
  readonly producerId: bigint;
  /** How many records it says that it has. */
  readonly count: number;
  /** The bytes that the checksum is of. */
  readonly checked: Buffer;
  readonly records: Buffer;
}

export interface BatchesFound {
  /** Whole ones. A broker cuts the last one off where its bound is: that one comes with a later fetch. */
  readonly batches: readonly RecordBatch[];
  /** What stands behind them and is no batch of this format. */
  readonly foreign: { readonly offset: bigint; readonly magic: number } | null;
}

const headerBytes = 61;
/** The offset and the length, which the length does not count. */
const prefixBytes = 12;
const crcEnd = 21;
const codecMask = 0b111;
const logAppendTime = 1 << 3;
const transactional = 1 << 4;
const control = 1 << 5;
const currentMagic = 2;

/** Reads fetched bytes, which may have been divided anywhere between two batches. */
export function findBatches(parts: readonly Buffer[]): BatchesFound {
  const batches: RecordBatch[] = [];
  for (const bytes of parts) {
    for (let start = 0; start + headerBytes <= bytes.length;) {
      const magic = bytes.readInt8(start + 16);
      const length = bytes.readInt32BE(start + 8);
      if (magic !== currentMagic || length < headerBytes - prefixBytes) {
        return { batches, foreign: { offset: bytes.readBigInt64BE(start), magic } };
      }
      const end = start + prefixBytes + length;
      if (end > bytes.length) {
        return { batches, foreign: null };
      }
      batches.push(readBatch(bytes, start, end));
      start = end;
    }
  }
  return { batches, foreign: null };
}

function readBatch(bytes: Buffer, start: number, end: number): RecordBatch {
  const baseOffset = bytes.readBigInt64BE(start);
  const attributes = bytes.readInt16BE(start + 21);
  return {
    baseOffset,
    lastOffset: baseOffset + BigInt(bytes.readInt32BE(start + 23)),
    leaderEpoch: bytes.readInt32BE(start + 12),
    crc: bytes.readUInt32BE(start + 17),
    codec: attributes & codecMask,
    transactional: (attributes & transactional) !== 0,
    control: (attributes & control) !== 0,
    logAppendTime: (attributes & logAppendTime) !== 0,
    baseTimestampMs: Number(bytes.readBigInt64BE(start + 27)),
    baseTimestamp: bytes.readBigInt64BE(start + 27),
    maxTimestampMs: Number(bytes.readBigInt64BE(start + 35)),
    producerId: bytes.readBigInt64BE(start + 43),
    count: bytes.readInt32BE(start + 57),
    checked: bytes.subarray(start + crcEnd, end),
    records: bytes.subarray(start + headerBytes, end),
  };
}

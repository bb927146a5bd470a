import { gunzipSync, zstdDecompressSync } from 'node:zlib';

/**
 * Finds the first record of fetched bytes that a read-committed consumer would get, and when it was written, without
 * decoding keys and values. The bytes are record batches of magic 2: a header of 61 bytes, then records, compressed as
 * one. https://kafka.apache.org/documentation/#recordbatch
 */
export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
}

export type ScanResult =
  /** `exact` is false where the time lies between the batch's first and last, because it could not be unpacked. */
  | { readonly kind: 'record'; readonly offset: bigint; readonly timestampMs: number; readonly exact: boolean }
  /** Everything up to here is control, aborted or below the position. */
  | { readonly kind: 'none'; readonly nextPosition: bigint }
  /** A format that no broker has written since Kafka 0.11. */
  | { readonly kind: 'old format' };

interface Batch {
  readonly baseOffset: bigint;
  readonly lastOffset: bigint;
  readonly attributes: number;
  readonly baseTimestampMs: number;
  readonly maxTimestampMs: number;
  readonly producerId: bigint;
  readonly count: number;
  readonly records: Buffer;
}

const headerBytes = 61;
/** Of a batch: the offset and the length, which the length does not count. */
const prefixBytes = 12;
const codecMask = 0b111;
const logAppendTime = 1 << 3;
const transactional = 1 << 4;
const control = 1 << 5;
/** A batch that unpacks to more than this is not unpacked: its time is interpolated. */
const maxUnpackedBytes = 32_000_000;

export function firstVisibleRecord(
  bytes: Buffer,
  position: bigint,
  aborted: readonly AbortedTransaction[],
): ScanResult {
  const abortedProducers = new Set<bigint>();
  const waiting = aborted.toSorted((left, right) => (left.firstOffset < right.firstOffset ? -1 : 1));
  let next = position;
  for (let start = 0; start + headerBytes <= bytes.length;) {
    if (bytes.readInt8(start + 16) !== 2) {
      return { kind: 'old format' };
    }
    const end = start + prefixBytes + bytes.readInt32BE(start + 8);
    if (end > bytes.length) {
      break;
    }
    const batch = readBatch(bytes.subarray(start, end));
    start = end;
    while (waiting[0] !== undefined && waiting[0].firstOffset <= batch.lastOffset) {
      abortedProducers.add(waiting[0].producerId);
      waiting.shift();
    }
    const found = isVisible(batch, abortedProducers) ? firstRecord(batch, position) : undefined;
    if (found !== undefined) {
      return found;
    }
    next = batch.lastOffset + 1n > next ? batch.lastOffset + 1n : next;
  }
  return { kind: 'none', nextPosition: next };
}

function readBatch(bytes: Buffer): Batch {
  const baseOffset = bytes.readBigInt64BE(0);
  return {
    baseOffset,
    lastOffset: baseOffset + BigInt(bytes.readInt32BE(23)),
    attributes: bytes.readInt16BE(21),
    baseTimestampMs: Number(bytes.readBigInt64BE(27)),
    maxTimestampMs: Number(bytes.readBigInt64BE(35)),
    producerId: bytes.readBigInt64BE(43),
    count: bytes.readInt32BE(57),
    records: bytes.subarray(headerBytes),
  };
}

/** Control batches end a transaction; one that ends an aborted transaction also ends the skipping of its producer. */
function isVisible(batch: Batch, abortedProducers: Set<bigint>): boolean {
  if ((batch.attributes & control) !== 0) {
    abortedProducers.delete(batch.producerId);
    return false;
  }
  return (batch.attributes & transactional) === 0 || !abortedProducers.has(batch.producerId);
}

function firstRecord(batch: Batch, position: bigint): ScanResult | undefined {
  if (batch.lastOffset < position || batch.count === 0) {
    return undefined;
  }
  const stamped = (batch.attributes & logAppendTime) !== 0;
  const records = unpack(batch);
  if (records === undefined) {
    return interpolated(batch, position, stamped);
  }
  for (const record of offsetsAndTimes(records, batch.count)) {
    const offset = batch.baseOffset + BigInt(record.offsetDelta);
    if (offset >= position) {
      const timestampMs = stamped ? batch.maxTimestampMs : batch.baseTimestampMs + record.timestampDelta;
      return { kind: 'record', offset, timestampMs, exact: true };
    }
  }
  // Compaction took the records at and after the position, not the batch's last offset.
  return undefined;
}

/** The batch's records; undefined when they cannot be had within bounds. */
function unpack(batch: Batch): Buffer | undefined {
  const bounds = { maxOutputLength: maxUnpackedBytes };
  try {
    switch (batch.attributes & codecMask) {
      case 0:
        return batch.records;
      case 1:
        return gunzipSync(batch.records, bounds);
      case 4:
        return zstdDecompressSync(batch.records, bounds);
      default:
        // snappy and lz4: their unpackers know no bound.
        return undefined;
    }
  } catch {
    return undefined;
  }
}

function interpolated(batch: Batch, position: bigint, stamped: boolean): ScanResult {
  const offset = position > batch.baseOffset ? position : batch.baseOffset;
  const spanMs = batch.maxTimestampMs - batch.baseTimestampMs;
  // The first record of a batch that is whole has the batch's first timestamp.
  const whole = BigInt(batch.count) === batch.lastOffset - batch.baseOffset + 1n;
  const share =
    batch.lastOffset === batch.baseOffset
      ? 0
      : Number(offset - batch.baseOffset) / Number(batch.lastOffset - batch.baseOffset);
  return {
    kind: 'record',
    offset,
    timestampMs: stamped ? batch.maxTimestampMs : Math.round(batch.baseTimestampMs + share * spanMs),
    exact: stamped || spanMs === 0 || (whole && offset === batch.baseOffset),
  };
}

interface RecordHead {
  readonly offsetDelta: number;
  readonly timestampDelta: number;
}

/** A record is: its length, attributes (1 byte), timestamp delta, offset delta, and what is not looked at here. */
function* offsetsAndTimes(records: Buffer, count: number): Generator<RecordHead> {
  let at = 0;
  for (let index = 0; index < count && at < records.length; index += 1) {
    const length = readVarint(records, at);
    const timestamp = readVarint(records, length.next + 1);
    const offset = readVarint(records, timestamp.next);
    yield { offsetDelta: offset.value, timestampDelta: timestamp.value };
    at = length.next + length.value;
  }
}

/** A zigzag varint; as a double, which holds every delta of milliseconds that a clock can make. */
function readVarint(bytes: Buffer, start: number): { readonly value: number; readonly next: number } {
  let raw = 0;
  let scale = 1;
  for (let at = start; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    raw += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80) {
      return { value: raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2, next: at + 1 };
    }
  }
  return { value: 0, next: bytes.length };
}

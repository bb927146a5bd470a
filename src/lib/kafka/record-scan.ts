import { gunzipSync, zstdDecompressSync } from 'node:zlib';

import { AbortedTransactions, type AbortedTransaction } from './fetch/aborted-transactions.ts';
import { findBatches, type RecordBatch } from './fetch/record-batch.ts';
import { Varints } from './fetch/varints.ts';

/**
 * Finds the first record of fetched bytes that a read-committed consumer would get, and when it was written, without
 * decoding keys and values.
 */
export type ScanResult =
  /** `exact` is false where the time lies between the batch's first and last, because it could not be unpacked. */
  | { readonly kind: 'record'; readonly offset: bigint; readonly timestampMs: number; readonly exact: boolean }
  /** Everything up to here is control, aborted or below the position. */
  | { readonly kind: 'none'; readonly nextPosition: bigint }
  /** A format that no broker has written since Kafka 0.11. */
  | { readonly kind: 'old format' };

/** A batch that unpacks to more than this is not unpacked: its time is interpolated. */
const maxUnpackedBytes = 32_000_000;

export function firstVisibleRecord(
  bytes: Buffer,
  position: bigint,
  aborted: readonly AbortedTransaction[],
): ScanResult {
  const { batches, foreign } = findBatches([bytes]);
  const transactions = new AbortedTransactions(aborted);
  let next = position;
  for (const batch of batches) {
    const found = transactions.isVisible(batch) ? firstRecord(batch, position) : undefined;
    if (found !== undefined) {
      return found;
    }
    next = batch.lastOffset + 1n > next ? batch.lastOffset + 1n : next;
  }
  return foreign === null ? { kind: 'none', nextPosition: next } : { kind: 'old format' };
}

function firstRecord(batch: RecordBatch, position: bigint): ScanResult | undefined {
  if (batch.lastOffset < position || batch.count === 0) {
    return undefined;
  }
  const stamped = batch.logAppendTime;
  const records = unpack(batch);
  if (records === undefined) {
    return interpolated(batch, position, stamped);
  }
  for (const record of offsetsAndTimes(records, batch)) {
    const offset = batch.baseOffset + BigInt(record.offsetDelta);
    if (offset >= position) {
      const timestampMs = stamped ? batch.maxTimestampMs : record.timestampMs;
      return { kind: 'record', offset, timestampMs, exact: true };
    }
  }
  // Compaction took the records at and after the position, not the batch's last offset.
  return undefined;
}

/** The batch's records; undefined when they cannot be had within bounds. */
function unpack(batch: RecordBatch): Buffer | undefined {
  const bounds = { maxOutputLength: maxUnpackedBytes };
  try {
    switch (batch.codec) {
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

function interpolated(batch: RecordBatch, position: bigint, stamped: boolean): ScanResult {
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
  readonly timestampMs: number;
}

/** A record is: its length, attributes (1 byte), timestamp delta, offset delta, and what is not looked at here. */
function* offsetsAndTimes(records: Buffer, batch: RecordBatch): Generator<RecordHead> {
  const varints = new Varints(records);
  for (let index = 0; index < batch.count && varints.at < records.length; index += 1) {
    const length = varints.next();
    const end = varints.at + length;
    varints.at += 1;
    const timestampMs = varints.timeAfter(batch.baseTimestamp, batch.baseTimestampMs);
    yield { offsetDelta: varints.next(), timestampMs };
    varints.at = end;
  }
}

import { gzipSync, zstdCompressSync } from 'node:zlib';

import { compressFrameSync } from 'lz4-napi';
import { compressSync as snappySync } from 'snappy';

import { findBatches, type RecordBatch } from '../../../../src/lib/kafka/fetch/record-batch.ts';

/** A record as a test says it; offsets and times are distances from the batch's first. */
export interface PlannedRecord {
  readonly offsetDelta: number;
  readonly timestampDelta?: number;
  readonly key?: Buffer | null;
  readonly value?: Buffer | null;
  readonly headers?: readonly (readonly [name: string, value: Buffer | null])[];
}

export const codecs = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;

export interface PlannedBatch {
  readonly baseOffset: number;
  readonly records: readonly PlannedRecord[];
  readonly lastOffsetDelta?: number;
  readonly baseTimestampMs?: number;
  readonly maxTimestampMs?: number;
  readonly codec?: (typeof codecs)[number];
  readonly producerId?: number;
  readonly kind?: 'plain' | 'transactional' | 'control';
  readonly logAppendTime?: boolean;
  readonly leaderEpoch?: number;
  /** Instead of the records' own: what a producer may have put there. */
  readonly body?: Buffer;
  /** Instead of the records' number. */
  readonly count?: number;
}

export function varint(value: number): Buffer {
  let zigzag = value >= 0 ? BigInt(value) * 2n : BigInt(-value) * 2n - 1n;
  const bytes: number[] = [];
  do {
    const low = Number(zigzag & 0x7fn);
    zigzag >>= 7n;
    bytes.push(zigzag > 0n ? low | 0x80 : low);
  } while (zigzag > 0n);
  return Buffer.from(bytes);
}

function nullable(bytes: Buffer | null): Buffer {
  return bytes === null ? varint(-1) : Buffer.concat([varint(bytes.length), bytes]);
}

export function encodeRecord(record: PlannedRecord): Buffer {
  const { offsetDelta, timestampDelta = 0, key = null, value = null, headers = [] } = record;
  const body = Buffer.concat([
    Buffer.from([0]),
    varint(timestampDelta),
    varint(offsetDelta),
    nullable(key),
    nullable(value),
    varint(headers.length),
    ...headers.flatMap(([name, bytes]) => [nullable(Buffer.from(name)), nullable(bytes)]),
  ]);
  return Buffer.concat([varint(body.length), body]);
}

export function encodeRecords(records: readonly PlannedRecord[]): Buffer {
  return Buffer.concat(records.map(encodeRecord));
}

const packers = {
  none: (bytes: Buffer) => bytes,
  gzip: (bytes: Buffer) => gzipSync(bytes),
  snappy: (bytes: Buffer) => snappySync(bytes),
  lz4: (bytes: Buffer) => compressFrameSync(bytes),
  zstd: (bytes: Buffer) => zstdCompressSync(bytes),
} as const;

/** The bytes of a batch, by the protocol's description: https://kafka.apache.org/documentation/#recordbatch */
export function encodeBatch(plan: PlannedBatch): Buffer {
  const { records, codec = 'none', kind = 'plain', baseTimestampMs = 1_000_000 } = plan;
  const packed = packers[codec](plan.body ?? encodeRecords(records));
  const header = Buffer.alloc(61);
  header.writeBigInt64BE(BigInt(plan.baseOffset), 0);
  header.writeInt32BE(61 - 12 + packed.length, 8);
  header.writeInt32BE(plan.leaderEpoch ?? 0, 12);
  header.writeInt8(2, 16);
  const flags = (plan.logAppendTime === true ? 8 : 0) | (kind === 'plain' ? 0 : 16) | (kind === 'control' ? 32 : 0);
  header.writeInt16BE(codecs.indexOf(codec) | flags, 21);
  header.writeInt32BE(plan.lastOffsetDelta ?? records.at(-1)?.offsetDelta ?? 0, 23);
  header.writeBigInt64BE(BigInt(baseTimestampMs), 27);
  const latest = Math.max(0, ...records.map(({ timestampDelta = 0 }) => timestampDelta));
  header.writeBigInt64BE(BigInt(plan.maxTimestampMs ?? baseTimestampMs + latest), 35);
  header.writeBigInt64BE(BigInt(plan.producerId ?? -1), 43);
  header.writeInt32BE(plan.count ?? records.length, 57);
  const batch = Buffer.concat([header, packed]);
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

export function batchesOf(plans: readonly PlannedBatch[]): readonly RecordBatch[] {
  return findBatches(plans.map(encodeBatch)).batches;
}

/** CRC-32C, bit by bit. */
export function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
    }
  }
  return (crc ^ 0xffffffff) >>> 0;
}

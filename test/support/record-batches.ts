import { gzipSync, zstdCompressSync } from 'node:zlib';

import { compressFrameSync } from 'lz4-napi';
import { compressSync as snappySync } from 'snappy';

import { findBatches, type RecordBatch } from '../../src/lib/kafka/fetch/record-batch.ts';

/** A record as a test says it; offsets and times are distances from the batch's first. */
export interface PlannedRecord {
  readonly offsetDelta: number;
  readonly timestampDelta?: number | bigint;
  readonly key?: Buffer | null;
  readonly value?: Buffer | null;
  readonly headers?: readonly (readonly [name: string, value: Buffer | null])[];
}

/** Kafka's Java clients write snappy in a frame of their own. */
export const codecs = ['none', 'gzip', 'snappy', 'snappy-java', 'lz4', 'zstd'] as const;
export type Codec = (typeof codecs)[number];

export interface PlannedBatch {
  readonly baseOffset: number;
  readonly records: readonly PlannedRecord[];
  readonly lastOffsetDelta?: number;
  readonly baseTimestampMs?: number | bigint;
  readonly maxTimestampMs?: number | bigint;
  readonly codec?: Codec;
  readonly producerId?: number;
  readonly kind?: 'plain' | 'transactional' | 'control';
  readonly logAppendTime?: boolean;
  readonly leaderEpoch?: number;
  /** Instead of the records' own: what a producer may have put there. */
  readonly body?: Buffer;
  /** Instead of the records' number. */
  readonly count?: number;
}

export function varint(value: number | bigint): Buffer {
  const wide = BigInt(value);
  let zigzag = wide >= 0n ? wide * 2n : -wide * 2n - 1n;
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
  none: { bits: 0, pack: (bytes: Buffer) => bytes },
  gzip: { bits: 1, pack: (bytes: Buffer) => gzipSync(bytes) },
  snappy: { bits: 2, pack: (bytes: Buffer) => snappySync(bytes) },
  'snappy-java': { bits: 2, pack: snappyJava },
  lz4: { bits: 3, pack: (bytes: Buffer) => compressFrameSync(bytes) },
  zstd: { bits: 4, pack: (bytes: Buffer) => zstdCompressSync(bytes) },
} as const;

/** Magic, two versions, then blocks behind their length. */
function snappyJava(bytes: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])];
  const blockBytes = 32_768;
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const block = snappySync(bytes.subarray(at, at + blockBytes));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(block.length);
    parts.push(length, block);
  }
  return Buffer.concat(parts);
}

/** The bytes of a batch, by the protocol's description: https://kafka.apache.org/documentation/#recordbatch */
export function encodeBatch(plan: PlannedBatch): Buffer {
  const { records, codec = 'none', kind = 'plain', baseTimestampMs = 1_000_000 } = plan;
  const { bits, pack } = packers[codec];
  const packed = pack(plan.body ?? encodeRecords(records));
  const header = Buffer.alloc(61);
  header.writeBigInt64BE(BigInt(plan.baseOffset), 0);
  header.writeInt32BE(61 - 12 + packed.length, 8);
  header.writeInt32BE(plan.leaderEpoch ?? 0, 12);
  header.writeInt8(2, 16);
  const flags = (plan.logAppendTime === true ? 8 : 0) | (kind === 'plain' ? 0 : 16) | (kind === 'control' ? 32 : 0);
  header.writeInt16BE(bits | flags, 21);
  header.writeInt32BE(plan.lastOffsetDelta ?? records.at(-1)?.offsetDelta ?? 0, 23);
  header.writeBigInt64BE(BigInt(baseTimestampMs), 27);
  const latest = Math.max(0, ...records.map(({ timestampDelta = 0 }) => Number(timestampDelta)));
  header.writeBigInt64BE(BigInt(plan.maxTimestampMs ?? Number(baseTimestampMs) + latest), 35);
  header.writeBigInt64BE(BigInt(plan.producerId ?? -1), 43);
  // No producer epoch and no sequence.
  header.writeInt16BE(-1, 51);
  header.writeInt32BE(-1, 53);
  header.writeInt32BE(plan.count ?? records.length, 57);
  const batch = Buffer.concat([header, packed]);
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

/** A record as a producer sends it; its batch knows where it stands. */
export interface ProducedRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** As they are written: any names, in this order, as often as they are given. */
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
  readonly timestampMs: number;
}

/** One batch as a producer sends it; the broker gives it its offset. */
export function encodeProduced(records: readonly ProducedRecord[], codec: Codec = 'none'): Buffer {
  const baseTimestampMs = records[0]?.timestampMs ?? 0;
  const planned = records.map(({ timestampMs, ...record }, offsetDelta) => {
    return { ...record, offsetDelta, timestampDelta: timestampMs - baseTimestampMs };
  });
  return encodeBatch({ baseOffset: 0, records: planned, codec, baseTimestampMs, leaderEpoch: -1 });
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

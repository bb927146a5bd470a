import { gzipSync, zstdCompressSync } from 'node:zlib';

import { compressFrameSync } from 'lz4-napi';
import { compressSync as snappySync } from 'snappy';

/** Record batches of magic 2, written by the protocol's description: https://kafka.apache.org/documentation/#recordbatch */
export interface RawRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** As they are written: any names, in this order, as often as they are given. */
  readonly headers: readonly (readonly [name: string, value: Buffer | null])[];
  readonly timestampMs: number;
}

export const rawCodecs = ['none', 'gzip', 'snappy', 'snappy-java', 'lz4', 'zstd'] as const;
export type RawCodec = (typeof rawCodecs)[number];

const codecBits = { none: 0, gzip: 1, snappy: 2, 'snappy-java': 2, lz4: 3, zstd: 4 } as const;
const headerBytes = 61;
/** Of a batch: the offset and the length, which the length does not count. */
const prefixBytes = 12;
const crcEnds = 21;

/** One batch, of no producer in particular; the broker gives it its offset. */
export function encodeBatch(records: readonly RawRecord[], codec: RawCodec = 'none'): Buffer {
  const baseTimestampMs = records[0]?.timestampMs ?? 0;
  const body = compress(
    Buffer.concat(records.map((record, index) => encodeRecord(record, index, record.timestampMs - baseTimestampMs))),
    codec,
  );
  const batch = Buffer.concat([Buffer.alloc(headerBytes), body]);
  batch.writeInt32BE(batch.length - prefixBytes, 8);
  batch.writeInt32BE(-1, 12);
  batch.writeInt8(2, 16);
  batch.writeInt16BE(codecBits[codec], 21);
  batch.writeInt32BE(records.length - 1, 23);
  batch.writeBigInt64BE(BigInt(baseTimestampMs), 27);
  batch.writeBigInt64BE(BigInt(Math.max(...records.map(({ timestampMs }) => timestampMs))), 35);
  batch.writeBigInt64BE(-1n, 43);
  batch.writeInt16BE(-1, 51);
  batch.writeInt32BE(-1, 53);
  batch.writeInt32BE(records.length, 57);
  batch.writeUInt32BE(crc32c(batch.subarray(crcEnds)), 17);
  return batch;
}

function encodeRecord({ key, value, headers }: RawRecord, offsetDelta: number, timestampDelta: number): Buffer {
  const body = Buffer.concat([
    Buffer.from([0]),
    varint(timestampDelta),
    varint(offsetDelta),
    nullableBytes(key),
    nullableBytes(value),
    varint(headers.length),
    ...headers.flatMap(([name, bytes]) => [nullableBytes(Buffer.from(name)), nullableBytes(bytes)]),
  ]);
  return Buffer.concat([varint(body.length), body]);
}

function nullableBytes(bytes: Buffer | null): Buffer {
  return bytes === null ? varint(-1) : Buffer.concat([varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  let zigzag = value >= 0 ? BigInt(value) * 2n : BigInt(-value) * 2n - 1n;
  const bytes: number[] = [];
  do {
    const low = Number(zigzag & 0x7fn);
    zigzag >>= 7n;
    bytes.push(zigzag > 0n ? low | 0x80 : low);
  } while (zigzag > 0n);
  return Buffer.from(bytes);
}

function compress(bytes: Buffer, codec: RawCodec): Buffer {
  switch (codec) {
    case 'none':
      return bytes;
    case 'gzip':
      return gzipSync(bytes);
    case 'zstd':
      return zstdCompressSync(bytes);
    case 'lz4':
      return compressFrameSync(bytes);
    case 'snappy':
      return snappySync(bytes);
    case 'snappy-java':
      return snappyJava(bytes);
  }
}

/** As Kafka's Java clients write it: magic, two versions, then blocks behind their length. */
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

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
  }
  return crc >>> 0;
});

/** CRC-32C (Castagnoli). */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc = (crc >>> 8) ^ (crcTable[(crc ^ byte) & 0xff] ?? 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

import { promisify } from 'node:util';
import * as zlib from 'node:zlib';

import { KpipeError } from '../errors.ts';

/**
 * Decompression of record batches, each with a cap on what comes out: 64 kB of gzip can hold 64 MB. Any producer may
 * choose a codec, so all of Kafka's are here. Null: it is more than the cap.
 */
export type Unpack = (compressed: Buffer, maxBytes: number) => Promise<Buffer | null>;

/** By the number that a batch's attributes give the codec; 0 is none. */
export const unpackers: Readonly<Record<number, Unpack>> = { 1: gunzip, 2: unsnappy, 3: unlz4, 4: unzstd };

/** What one batch may hold uncompressed: more stops the machine rather than the role. */
export const maxUnpackedBytes = 128 * 1024 * 1024;

async function gunzip(compressed: Buffer, maxBytes: number): Promise<Buffer | null> {
  return capped(promisify(zlib.unzip)(compressed, { maxOutputLength: maxBytes }));
}

async function unzstd(compressed: Buffer, maxBytes: number): Promise<Buffer | null> {
  // Node has zstd from 22.15 on.
  if (typeof zlib.zstdDecompress !== 'function') {
    throw new KpipeError('KPIPE_KAFKA_FAILED', `this Node (${process.version}) cannot decompress zstd`, {
      next: 'use Node 22.15 or newer',
    });
  }
  return capped(promisify(zlib.zstdDecompress)(compressed, { maxOutputLength: maxBytes }));
}

async function capped(decompressed: Promise<Buffer>): Promise<Buffer | null> {
  try {
    return await decompressed;
  } catch (error) {
    if (error instanceof RangeError) {
      return null;
    }
    throw error;
  }
}

/** The framing of snappy-java, which Kafka's Java clients write: magic, two versions, then blocks behind their length. */
const snappyJavaMagic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);

async function unsnappy(compressed: Buffer, maxBytes: number): Promise<Buffer | null> {
  const { uncompress } = await import('snappy');
  const blocks = compressed.subarray(0, 8).equals(snappyJavaMagic) ? snappyJavaBlocks(compressed) : [compressed];
  const total = blocks.reduce((sum, block) => sum + snappyLength(block), 0);
  if (total > maxBytes) {
    return null;
  }
  const parts = await Promise.all(
    blocks.map(async (block) => Buffer.from(await uncompress(block, { asBuffer: true }))),
  );
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
}

function snappyJavaBlocks(compressed: Buffer): readonly Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = 16; at + 4 <= compressed.length;) {
    const length = compressed.readUInt32BE(at);
    blocks.push(compressed.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return blocks;
}

/** A raw snappy block begins with its uncompressed length as a varint. */
function snappyLength(block: Buffer): number {
  let length = 0;
  for (let index = 0; index < Math.min(5, block.length); index += 1) {
    const byte = block[index] ?? 0;
    length += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) {
      break;
    }
  }
  return length;
}

async function unlz4(compressed: Buffer, maxBytes: number): Promise<Buffer | null> {
  const { decompressFrame } = await import('lz4-napi');
  return lz4Length(compressed) > maxBytes ? null : decompressFrame(compressed);
}

/** The uncompressed length of an LZ4 frame, by walking over its blocks' sequences. */
function lz4Length(frame: Buffer): number {
  const flags = frame[4] ?? 0;
  const hasBlockChecksum = (flags & 0x10) !== 0;
  const hasContentSize = (flags & 0x08) !== 0;
  const hasDictionary = (flags & 0x01) !== 0;
  let at = 7 + (hasContentSize ? 8 : 0) + (hasDictionary ? 4 : 0);
  let total = 0;
  while (at + 4 <= frame.length) {
    const header = frame.readUInt32LE(at);
    const size = header & 0x7fffffff;
    at += 4;
    if (size === 0) {
      break;
    }
    total += header >= 0x80000000 ? size : lz4BlockLength(frame.subarray(at, at + size));
    at += size + (hasBlockChecksum ? 4 : 0);
  }
  return total;
}

/** A block is sequences: a token (literal length, match length), literals, a two-byte offset; lengths of 15 go on. */
function lz4BlockLength(block: Buffer): number {
  let at = 0;
  let total = 0;
  const extend = (nibble: number): number => {
    let length = nibble;
    if (nibble === 15) {
      let byte: number;
      do {
        byte = block[at] ?? 0;
        at += 1;
        length += byte;
      } while (byte === 255);
    }
    return length;
  };
  while (at < block.length) {
    const token = block[at] ?? 0;
    at += 1;
    const literals = extend(token >> 4);
    total += literals;
    at += literals;
    if (at >= block.length) {
      break;
    }
    at += 2;
    total += extend(token & 15) + 4;
  }
  return total;
}

import type { AnalyticsRow } from './analytics-row.ts';
import type { CellValue } from './cell.ts';
import { fieldNumber, type Column, type ColumnName } from './columns.ts';
import type { Cell } from './typed-columns.ts';

/**
 * Rows as protobuf messages of `rowDescriptor`. Written by hand, because a row is eleven fields of two kinds: one
 * allocation and straight copies, where a library builds a list of writes for each row. Nothing is converted on the way:
 * texts are the bytes that came, INT64 keeps its 64 bits.
 */
export type RowEncoder = (row: AnalyticsRow, cells?: readonly Cell[]) => Buffer;

const varint = 0;
const fixed64 = 1;
const lengthDelimited = 2;
/** The numbers of kpipe's own fields are below 16, so that each of their tags is one byte. */
const tag = (name: ColumnName, wireType: number): number => (fieldNumber(name) << 3) | wireType;

const tags = {
  id: tag('id', lengthDelimited),
  source: tag('source', lengthDelimited),
  type: tag('type', lengthDelimited),
  subject: tag('subject', lengthDelimited),
  time: tag('time', varint),
  kafkaTopic: tag('kafka_topic', lengthDelimited),
  kafkaPartition: tag('kafka_partition', varint),
  kafkaOffset: tag('kafka_offset', varint),
  ingestedAt: tag('ingested_at', varint),
  data: tag('data', lengthDelimited),
  extensions: tag('extensions', lengthDelimited),
};

/** Three tags and the longest varints: time, kafka_offset, ingested_at. */
const maxNumberBytes = 3 * (1 + 10);

/** An encoder for the rows of one partition, whose topic and partition fields are written once and copied. */
export function createRowEncoder(topic: string, partition: number): RowEncoder {
  const origin = encodeOrigin(topic, partition);
  return (row, cells = []) => {
    const target = Buffer.allocUnsafe(maxLength(row) + origin.length + maxCellsLength(cells));
    let at = writeBytes(target, 0, tags.id, row.id);
    at = writeBytes(target, at, tags.source, row.source);
    at = writeBytes(target, at, tags.type, row.type);
    at = row.subject === null ? at : writeBytes(target, at, tags.subject, row.subject);
    at = writeBigint(target, at, tags.time, row.timeMicros);
    at += origin.copy(target, at);
    at = writeBigint(target, at, tags.kafkaOffset, row.offset);
    at = writeInteger(target, at, tags.ingestedAt, row.ingestedAtMs * 1000);
    at = row.data === null ? at : writeBytes(target, at, tags.data, row.data);
    at = row.extensions === null ? at : writeBytes(target, at, tags.extensions, row.extensions);
    for (const { column, fieldNumber: number, values } of cells) {
      for (const value of values) {
        at = writeValue(target, at, number, column.type, value);
      }
    }
    return target.subarray(0, at);
  };
}

function encodeOrigin(topic: string, partition: number): Buffer {
  const name = Buffer.from(topic);
  const target = Buffer.alloc(name.length + 24);
  const at = writeBytes(target, 0, tags.kafkaTopic, name);
  return target.subarray(0, writeInteger(target, at, tags.kafkaPartition, partition));
}

/** Bytes that the row takes at most, without its origin. */
function maxLength({ id, source, type, subject, data, extensions }: AnalyticsRow): number {
  const texts = [id, source, type, subject, data, extensions];
  return texts.reduce((sum, text) => sum + (text === null ? 0 : text.length + 6), maxNumberBytes);
}

/** A tag of a field number up to 2^29 and the longest varint, or the length of a text. */
function maxCellsLength(cells: readonly Cell[]): number {
  let length = 0;
  for (const { values } of cells) {
    for (const value of values) {
      length += 5 + (Buffer.isBuffer(value) ? value.length + 5 : 10);
    }
  }
  return length;
}

/** An array's elements are a field each, as proto2 has them. */
function writeValue(target: Buffer, start: number, number: number, type: Column['type'], value: CellValue): number {
  const key = number << 3;
  if (Buffer.isBuffer(value)) {
    return writeBytes(target, start, key | lengthDelimited, value);
  }
  if (typeof value === 'number' && type === 'FLOAT64') {
    return target.writeDoubleLE(value, writeVarint(target, start, key | fixed64, 0));
  }
  return writeBigint(target, start, key | varint, BigInt(value));
}

function writeBytes(target: Buffer, start: number, fieldTag: number, bytes: Buffer): number {
  const at = writeVarint(target, writeVarint(target, start, fieldTag, 0), bytes.length, 0);
  bytes.copy(target, at);
  return at + bytes.length;
}

/** A whole number of 0 to 2^53. */
function writeInteger(target: Buffer, start: number, fieldTag: number, value: number): number {
  const at = writeVarint(target, start, fieldTag, 0);
  return writeVarint(target, at, value >>> 0, Math.floor(value / 2 ** 32));
}

/** Any int64; a negative one is its two's complement, as protobuf has it. */
function writeBigint(target: Buffer, start: number, fieldTag: number, value: bigint): number {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
    return writeInteger(target, start, fieldTag, Number(value));
  }
  const at = writeVarint(target, start, fieldTag, 0);
  const bits = BigInt.asUintN(64, value);
  return writeVarint(target, at, Number(bits & 0xffffffffn), Number(bits >> 32n));
}

/** Seven bits a byte, the lowest first; the value is given as its low and high 32 bits. */
function writeVarint(target: Buffer, start: number, low: number, high: number): number {
  let at = start;
  let lower = low >>> 0;
  let upper = high >>> 0;
  while (upper !== 0 || lower > 0x7f) {
    target[at] = (lower & 0x7f) | 0x80;
    at += 1;
    lower = ((lower >>> 7) | (upper << 25)) >>> 0;
    upper >>>= 7;
  }
  target[at] = lower;
  return at + 1;
}

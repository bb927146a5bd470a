import type { ProjectionChange } from '../records/projection.ts';
import { RowEncoder, type EncodedRow } from './copy-binary.ts';

/**
 * What a record does to the operational tables, as bytes until it is applied: as objects, the changes of waiting batches
 * outlive the young generation and are most of what the old one holds. A change stands there as a row of COPY does: the
 * number of its fields, then each field's length and bytes; the projection, whether it deletes, the key, the columns.
 */
export interface RowChanges {
  readonly offset: bigint;
  /** null: it changes none. */
  readonly changes: EncodedRow | null;
}

/** One change where it stands. */
export interface EncodedChange {
  readonly offset: bigint;
  readonly projection: number;
  readonly kind: 'upsert' | 'delete';
  readonly bytes: Buffer;
  /** Where its key's first field begins: an int32 of its length, and the value. */
  readonly start: number;
  readonly end: number;
  /** Of key and columns together; a delete has no columns. */
  readonly fields: number;
  readonly keyFields: number;
  /** The key's bytes with their lengths, as a string to compare by: no two keys have the same. */
  readonly key: string;
}

const int32Bytes = 4;
const int16Bytes = 2;
/** Fields that every change has: the projection (int2) and whether it deletes (boolean). */
const headFields = 2;
const headBytes = int16Bytes + (int32Bytes + int16Bytes) + (int32Bytes + 1);

/** Encodes a record's changes; null where it has none. */
export function createChangeEncoder(): (offset: bigint, changes: readonly ProjectionChange[]) => EncodedRow | null {
  const encoder = new RowEncoder(headFields);
  return (offset, changes) => {
    if (changes.length === 0) {
      return null;
    }
    for (const { projection, kind, key, columns } of changes) {
      encoder.startRow(headFields + key.length + columns.length);
      encoder.int2(projection);
      encoder.boolean(kind === 'delete');
      key.forEach((value) => encoder.text(value));
      columns.forEach((value) => encoder.text(value));
    }
    return encoder.take(offset);
  };
}

/**
 * A table's final state after a batch: of the changes of one projection to one key the last one, rows coming in offset
 * order. `keyLengths`: how many columns each projection's key has.
 */
export function lastChanges(rows: Iterable<RowChanges>, keyLengths: readonly number[]): readonly EncodedChange[] {
  const last = new Map<string, EncodedChange>();
  for (const { changes } of rows) {
    if (changes !== null) {
      const { offset, memory, start, end } = changes;
      for (let at = start; at < end;) {
        const change = readChange(offset, memory, at, keyLengths);
        last.set(`${change.projection} ${change.key}`, change);
        at = change.end;
      }
    }
  }
  return [...last.values()];
}

function readChange(offset: bigint, bytes: Buffer, at: number, keyLengths: readonly number[]): EncodedChange {
  const fields = bytes.readInt16BE(at) - headFields;
  const projection = bytes.readInt16BE(at + int16Bytes + int32Bytes);
  const kind = bytes[at + headBytes - 1] === 1 ? 'delete' : 'upsert';
  const start = at + headBytes;
  const keyFields = keyLengths[projection] ?? 0;
  const keyEnd = afterFields(bytes, start, keyFields);
  const end = afterFields(bytes, keyEnd, fields - keyFields);
  const key = bytes.toString('latin1', start, keyEnd);
  return { offset, projection, kind, bytes, start, end, fields, keyFields, key };
}

function afterFields(bytes: Buffer, start: number, count: number): number {
  let at = start;
  for (let field = 0; field < count; field += 1) {
    at += int32Bytes + Math.max(0, bytes.readInt32BE(at));
  }
  return at;
}

/** The change with its values as texts again. */
export function changeOf({
  offset,
  projection,
  kind,
  bytes,
  start,
  fields,
  keyFields,
}: EncodedChange): ProjectionChange {
  const values: (string | null)[] = [];
  for (let at = start; values.length < fields;) {
    const length = bytes.readInt32BE(at);
    at += int32Bytes;
    values.push(length < 0 ? null : bytes.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  const key = values.slice(0, keyFields).map((value) => value ?? '');
  return { projection, kind, key, columns: values.slice(keyFields), offset };
}

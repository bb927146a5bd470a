import type { EncodedChange } from './encoded-changes.ts';

/**
 * Parameters in PostgreSQL's binary format of arrays (array_recv): the driver sends a buffer as it is, where it would
 * write an array as one long text and quote each element. One dimension, lower bound 1: the number of dimensions, whether
 * there are nulls, the element's type, the length, the bound; then each element as its length (-1: null) and its bytes.
 */
const headerBytes = 20;
const int32Bytes = 4;
const int8Oid = 20;
const textOid = 25;

export function int8Array(values: readonly bigint[]): Buffer {
  const elementBytes = int32Bytes + 8;
  const array = arrayOf(int8Oid, values.length, values.length * elementBytes);
  values.forEach((value, index) => {
    array.writeInt32BE(8, headerBytes + index * elementBytes);
    array.writeBigInt64BE(value, headerBytes + index * elementBytes + int32Bytes);
  });
  return array;
}

/** One field of each change: elements stand in an array as they stand in a change. */
export function textArray(changes: readonly EncodedChange[], field: number): Buffer {
  const starts = changes.map((change) => startOf(change, field));
  const sizes = changes.map(({ bytes }, index) => sizeAt(bytes, starts[index] ?? 0));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  const array = arrayOf(textOid, changes.length, total);
  let at = headerBytes;
  changes.forEach(({ bytes }, index) => {
    const start = starts[index] ?? 0;
    at += bytes.copy(array, at, start, start + (sizes[index] ?? 0));
  });
  return array;
}

function startOf({ bytes, start }: EncodedChange, field: number): number {
  let at = start;
  for (let before = 0; before < field; before += 1) {
    at += sizeAt(bytes, at);
  }
  return at;
}

/** Of a field with its length. */
function sizeAt(bytes: Buffer, at: number): number {
  return int32Bytes + Math.max(0, bytes.readInt32BE(at));
}

/** The header, and room for the elements. */
function arrayOf(elementType: number, length: number, elementBytes: number): Buffer {
  const array = Buffer.allocUnsafeSlow(headerBytes + elementBytes);
  const mayHoldNulls = 1;
  [1, mayHoldNulls, elementType, length, 1].forEach((value, index) => array.writeInt32BE(value, index * int32Bytes));
  return array;
}

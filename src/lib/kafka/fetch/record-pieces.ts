import { Varints } from './varints.ts';

/** Neighbouring records of one batch. */
export interface RecordPiece {
  /** Where the first begins in the batch's unpacked bytes. */
  readonly start: number;
  readonly count: number;
  /** What they take there. */
  readonly bytes: number;
  /** The last record's offset, as its distance from the batch's first. */
  readonly lastDelta: number;
}

export interface PieceBounds {
  readonly maxRecords: number;
  /** A record larger than that is a piece alone. */
  readonly maxBytes: number;
}

/** What the unpacked bytes of a batch must hold. */
export interface ExpectedRecords {
  readonly count: number;
  readonly lastDelta: number;
  /** Records before it are left out. */
  readonly fromDelta: number;
}

/** The bytes are not what their format says. */
export class MalformedRecords extends Error {
  override readonly name = 'MalformedRecords';
}

/**
 * Walks over a batch's records, checks that each is whole and where it must be, and divides them into pieces, so that
 * whoever reads the records later need not check. A producer may have put anything there: lengths are held against the
 * record's end, the record's against the batch's, and every step moves on.
 *
 * A record is: its length, attributes (1 byte), timestamp delta, offset delta, key, value, headers.
 * @throws MalformedRecords
 */
export function* divideRecords(bytes: Buffer, expected: ExpectedRecords, bounds: PieceBounds): Generator<RecordPiece> {
  const varints = new Varints(bytes);
  let before = -1;
  let start = 0;
  let count = 0;
  for (let index = 0; index < expected.count; index += 1) {
    const begin = varints.at;
    const delta = checkRecord(varints);
    if (delta <= before || delta > expected.lastDelta) {
      throw new MalformedRecords(`record ${index} has the offset delta ${delta}, after ${before}`);
    }
    if (delta < expected.fromDelta) {
      start = varints.at;
    } else {
      if (count > 0 && (count === bounds.maxRecords || varints.at - start > bounds.maxBytes)) {
        yield { start, count, bytes: begin - start, lastDelta: before };
        start = begin;
        count = 0;
      }
      count += 1;
    }
    before = delta;
  }
  if (varints.at !== bytes.length) {
    throw new MalformedRecords(`${bytes.length - varints.at} bytes follow the last of ${expected.count} records`);
  }
  if (count > 0) {
    yield { start, count, bytes: varints.at - start, lastDelta: before };
  }
}

/** Moves over one record; answers its offset delta. */
function checkRecord(varints: Varints): number {
  const length = varints.next();
  const end = varints.at + length;
  if (length < 0 || end > varints.bytes.length) {
    throw new MalformedRecords(`a record of ${length} bytes in ${varints.bytes.length} bytes`);
  }
  const attributeBytes = 1;
  varints.at += attributeBytes;
  varints.next();
  const delta = varints.next();
  skipBytes(varints, end, -1);
  skipBytes(varints, end, -1);
  const headers = varints.next();
  if (headers < 0 || headers > end - varints.at) {
    throw new MalformedRecords(`a record with ${headers} headers in ${length} bytes`);
  }
  for (let index = 0; index < headers; index += 1) {
    skipBytes(varints, end, 0);
    skipBytes(varints, end, -1);
  }
  if (varints.at !== end) {
    throw new MalformedRecords(`a record of ${length} bytes that does not end where it says`);
  }
  return delta;
}

/** Over a length, and as many bytes; a length of -1 is null. */
function skipBytes(varints: Varints, end: number, shortest: 0 | -1): void {
  const length = varints.next();
  if (length < shortest || varints.at + length > end) {
    throw new MalformedRecords(`a key, value or header of ${length} bytes`);
  }
  if (length > 0) {
    varints.at += length;
  }
}

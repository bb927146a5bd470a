import type { Span } from '../records/span.ts';

/**
 * Rows in PostgreSQL's binary COPY format (documentation of COPY, "Binary Format"): nothing is escaped, so nothing can
 * break out, and the server parses no text but the JSON.
 */
const signature = Buffer.from('PGCOPY\n\u00ff\r\n\u0000', 'latin1');
const headerBytes = signature.length + 8;
/** 2000-01-01, where timestamptz counts microseconds from. */
const postgresEpochMs = 946_684_800_000;
const wordSize = 2 ** 32;
const chunkBytes = 256 * 1024;
const longestLoop = 40;
/** A batch of unusual size does not keep its memory. */
const keptBytes = 16 * 1024 * 1024;

/** A record's rows in the format of COPY, in memory that other records' rows share. */
export interface EncodedRow {
  readonly offset: bigint;
  readonly memory: Buffer;
  readonly start: number;
  readonly end: number;
  /** How many rows of the table: the lines of COPY. */
  readonly lines: number;
}

/** The object, its offset and its place in the batch (measured). */
const rowObjectBytes = 110;

export function encodedRowBytes({ start, end }: EncodedRow): number {
  return rowObjectBytes + end - start;
}

/**
 * Encodes rows while their records are decoded, one record after another: what a batch keeps of a record until it is
 * written are its bytes here and one small object, so that there is next to nothing to collect as garbage.
 */
export class RowEncoder {
  readonly #fields: number;
  #bytes = Buffer.allocUnsafeSlow(chunkBytes);
  /** Over the same memory: its methods are faster than the buffer's. */
  #view = viewOver(this.#bytes);
  #length = 0;
  #start = 0;
  #lines = 0;

  constructor(fields: number) {
    this.#fields = fields;
  }

  /** The rows since the last call. */
  take(offset: bigint): EncodedRow {
    const row = { offset, memory: this.#bytes, start: this.#start, end: this.#length, lines: this.#lines };
    this.#start = this.#length;
    this.#lines = 0;
    return row;
  }

  startRow(fields = this.#fields): void {
    this.#reserve(2);
    this.#lines += 1;
    this.#view.setInt16(this.#length, fields);
    this.#length += 2;
  }

  null(): void {
    this.#reserve(4);
    this.#int32(-1);
  }

  boolean(value: boolean): void {
    this.#reserve(5);
    this.#int32(1);
    this.#view.setUint8(this.#length, value ? 1 : 0);
    this.#length += 1;
  }

  int2(value: number): void {
    this.#reserve(6);
    this.#int32(2);
    this.#view.setInt16(this.#length, value);
    this.#length += 2;
  }

  int4(value: number): void {
    this.#reserve(8);
    this.#int32(4);
    this.#int32(value);
  }

  int8(value: bigint): void {
    this.#reserve(12);
    this.#int32(8);
    this.#view.setBigInt64(this.#length, value);
    this.#length += 8;
  }

  /** Milliseconds since 1970, and 0–999 microseconds on top. */
  timestamptz(ms: number, micros: number): void {
    const value = (ms - postgresEpochMs) * 1000 + micros;
    if (!Number.isSafeInteger(value)) {
      this.int8(BigInt(ms - postgresEpochMs) * 1000n + BigInt(micros));
      return;
    }
    this.#reserve(12);
    const high = Math.floor(value / wordSize);
    this.#int32(8);
    this.#int32(high);
    this.#view.setUint32(this.#length, value - high * wordSize);
    this.#length += 4;
  }

  /** text or bytea: the bytes are the value. */
  bytes(value: Buffer | null): void {
    if (value === null) {
      this.null();
    } else {
      this.slice(value, 0, value.length);
    }
  }

  /** text or bytea. */
  span(value: Span | null): void {
    if (value === null) {
      this.null();
    } else {
      this.slice(value.bytes, value.start, value.end);
    }
  }

  /** text or bytea: `bytes[start, end)`. */
  slice(bytes: Buffer, start: number, end: number): void {
    this.#reserve(4 + end - start);
    this.#int32(end - start);
    this.#copy(bytes, start, end);
  }

  text(value: string | null): void {
    if (value === null) {
      this.null();
      return;
    }
    this.#reserve(4 + value.length * 3);
    const written = this.#bytes.write(value, this.#length + 4);
    this.#int32(written);
    this.#length += written;
  }

  /** jsonb: a version byte, then JSON text. */
  jsonb(value: Span | null): void {
    if (value === null) {
      this.null();
      return;
    }
    this.#reserve(5 + value.length);
    this.#int32(value.length + 1);
    this.#view.setUint8(this.#length, 1);
    this.#length += 1;
    this.#copy(value.bytes, value.start, value.end);
  }

  #int32(value: number): void {
    this.#view.setInt32(this.#length, value);
    this.#length += 4;
  }

  /** A call into the runtime takes as long as some tens of bytes. */
  #copy(bytes: Buffer, start: number, end: number): void {
    if (end - start > longestLoop) {
      this.#length += bytes.copy(this.#bytes, this.#length, start, end);
      return;
    }
    const target = this.#bytes;
    let at = this.#length;
    for (let from = start; from < end; from += 1) {
      target[at] = bytes[from] ?? 0;
      at += 1;
    }
    this.#length = at;
  }

  /** A full chunk stays with its rows; the rows in hand move to the next one. */
  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) {
      return;
    }
    const taken = this.#length - this.#start;
    const chunk = Buffer.allocUnsafeSlow(Math.max(chunkBytes, (taken + bytes) * 2));
    this.#bytes.copy(chunk, 0, this.#start, this.#length);
    this.#bytes = chunk;
    this.#view = viewOver(chunk);
    this.#start = 0;
    this.#length = taken;
  }
}

function viewOver(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Joins rows into streams, in memory that is used again: a stream is gone when the next one is made. */
export class CopyStream {
  #bytes = Buffer.allocUnsafeSlow(chunkBytes);

  /** Header, rows, trailer. */
  of(rows: readonly EncodedRow[]): Buffer {
    const bytes = this.#room(rows.reduce((sum, { start, end }) => sum + end - start, headerBytes + 2));
    signature.copy(bytes);
    bytes.fill(0, signature.length, headerBytes);
    let at = headerBytes;
    for (let index = 0; index < rows.length;) {
      const run = runFrom(rows, index);
      at += run.memory.copy(bytes, at, run.start, run.end);
      index = run.next;
    }
    return bytes.subarray(0, bytes.writeInt16BE(-1, at));
  }

  #room(bytes: number): Buffer {
    if (bytes > this.#bytes.length || this.#bytes.length > keptBytes) {
      this.#bytes = Buffer.allocUnsafeSlow(Math.max(chunkBytes, Math.ceil(bytes * 1.25)));
    }
    return this.#bytes;
  }
}

/** Rows that stand one behind the other, from `first` on: they are copied as one. */
function runFrom(
  rows: readonly EncodedRow[],
  first: number,
): Pick<EncodedRow, 'memory' | 'start' | 'end'> & { readonly next: number } {
  const { memory = Buffer.alloc(0), start = 0 } = rows[first] ?? {};
  let end = start;
  let next = first;
  for (let row = rows[next]; row?.memory === memory && row.start === end; row = rows[next]) {
    end = row.end;
    next += 1;
  }
  return { memory, start, end, next };
}

/** The same stream without its first `lines` rows. */
export function fromLine(stream: Buffer, lines: number): Buffer {
  let at = headerBytes;
  for (let line = 0; line < lines; line += 1) {
    const fields = stream.readInt16BE(at);
    at += 2;
    for (let field = 0; field < fields; field += 1) {
      at += 4 + Math.max(0, stream.readInt32BE(at));
    }
  }
  return Buffer.concat([stream.subarray(0, headerBytes), stream.subarray(at)]);
}

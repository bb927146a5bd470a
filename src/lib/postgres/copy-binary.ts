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

/**
 * Encodes rows while their records are decoded, one record after another: what a batch keeps of a record until it is
 * written are its bytes here and one small object, so that there is next to nothing to collect as garbage.
 */
export class RowEncoder {
  readonly #fields: number;
  #bytes = Buffer.allocUnsafeSlow(chunkBytes);
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

  startRow(): void {
    this.#reserve(2);
    this.#lines += 1;
    this.#length = this.#bytes.writeInt16BE(this.#fields, this.#length);
  }

  null(): void {
    this.#reserve(4);
    this.#length = this.#bytes.writeInt32BE(-1, this.#length);
  }

  boolean(value: boolean): void {
    this.#reserve(5);
    this.#length = this.#bytes.writeInt32BE(1, this.#length);
    this.#length = this.#bytes.writeUInt8(value ? 1 : 0, this.#length);
  }

  int2(value: number): void {
    this.#reserve(6);
    this.#length = this.#bytes.writeInt32BE(2, this.#length);
    this.#length = this.#bytes.writeInt16BE(value, this.#length);
  }

  int4(value: number): void {
    this.#reserve(8);
    this.#length = this.#bytes.writeInt32BE(4, this.#length);
    this.#length = this.#bytes.writeInt32BE(value, this.#length);
  }

  int8(value: bigint): void {
    this.#reserve(12);
    this.#length = this.#bytes.writeInt32BE(8, this.#length);
    this.#length = this.#bytes.writeBigInt64BE(value, this.#length);
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
    this.#length = this.#bytes.writeInt32BE(8, this.#length);
    this.#length = this.#bytes.writeInt32BE(high, this.#length);
    this.#length = this.#bytes.writeUInt32BE(value - high * wordSize, this.#length);
  }

  /** text or bytea: the bytes are the value. */
  bytes(value: Uint8Array | null): void {
    if (value === null) {
      this.null();
      return;
    }
    this.#reserve(4 + value.length);
    this.#length = this.#bytes.writeInt32BE(value.length, this.#length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  text(value: string | null): void {
    if (value === null) {
      this.null();
      return;
    }
    this.#reserve(4 + value.length * 3);
    const written = this.#bytes.write(value, this.#length + 4);
    this.#bytes.writeInt32BE(written, this.#length);
    this.#length += 4 + written;
  }

  /** jsonb: a version byte, then JSON text. */
  jsonb(value: Uint8Array | null): void {
    if (value === null) {
      this.null();
      return;
    }
    this.#reserve(5 + value.length);
    this.#length = this.#bytes.writeInt32BE(value.length + 1, this.#length);
    this.#length = this.#bytes.writeUInt8(1, this.#length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  /** `bytes[start, end)`: text or bytea, without a view of its own. */
  slice(bytes: Buffer, start: number, end: number): void {
    this.#reserve(4 + end - start);
    this.#length = this.#bytes.writeInt32BE(end - start, this.#length);
    this.#length += bytes.copy(this.#bytes, this.#length, start, end);
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
    this.#start = 0;
    this.#length = taken;
  }
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
    for (const { memory, start, end } of rows) {
      at += memory.copy(bytes, at, start, end);
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

import type { Timestamp } from '../records/timestamp.ts';

/**
 * Rows in PostgreSQL's binary COPY format (documentation of COPY, "Binary Format"): nothing is escaped, so nothing can
 * break out, and the server parses no text but the JSON.
 */
const signature = Buffer.from('PGCOPY\n\u00ff\r\n\u0000', 'latin1');
const headerBytes = signature.length + 8;
/** 2000-01-01, where timestamptz counts microseconds from. */
const postgresEpochMs = 946_684_800_000;
const wordSize = 2 ** 32;
const initialBytes = 64 * 1024;
/** A batch of unusual size does not keep its memory. */
const keptBytes = 16 * 1024 * 1024;

export class CopyRows {
  #bytes: Buffer;
  #length = headerBytes;
  readonly #fields: number;

  constructor(fields: number) {
    this.#fields = fields;
    this.#bytes = Buffer.allocUnsafe(initialBytes);
    this.clear();
  }

  /** Begins a new stream in the same memory; what `finish()` answered before is overwritten. */
  clear(): void {
    if (this.#bytes.length > keptBytes) {
      this.#bytes = Buffer.allocUnsafe(initialBytes);
    }
    signature.copy(this.#bytes);
    this.#bytes.fill(0, signature.length, headerBytes);
    this.#length = headerBytes;
  }

  startRow(): void {
    this.#reserve(2);
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

  timestamptz({ ms, micros }: Timestamp): void {
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

  /** The whole stream: header, rows, trailer. */
  finish(): Buffer {
    this.#reserve(2);
    return this.#bytes.subarray(0, this.#bytes.writeInt16BE(-1, this.#length));
  }

  #reserve(bytes: number): void {
    // Two more for the trailer.
    if (this.#length + bytes + 2 <= this.#bytes.length) {
      return;
    }
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + bytes + 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
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

/**
 * Reads zigzag varints, one after another. Lengths and deltas of record batches are such; a delta of milliseconds may
 * have 64 bits, so they are read as doubles, which hold every one that a clock can make; `timeAfter` is exact for the others.
 *
 * A varint that runs over the end, or has more than the 10 bytes of 64 bits, moves `at` beyond every end: whoever
 * compares `at` with an end after reading sees it.
 */
export class Varints {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  next(): number {
    const first = this.bytes[this.at];
    if (first !== undefined && first < 0x80) {
      this.at += 1;
      return (first >>> 1) ^ -(first & 1);
    }
    const second = this.bytes[this.at + 1];
    if (first !== undefined && second !== undefined && second < 0x80) {
      this.at += 2;
      const raw = (first & 0x7f) | (second << 7);
      return (raw >>> 1) ^ -(raw & 1);
    }
    return this.#long();
  }

  /**
   * The time that lies a varint's milliseconds after another one. A producer's clock may say anything: one record at 2^63 in a
   * batch makes the deltas of all others as large, and they must still come out right.
   */
  timeAfter(base: bigint, baseMs: number): number {
    const start = this.at;
    const delta = this.next();
    return Number.isSafeInteger(delta) && Number.isSafeInteger(baseMs)
      ? baseMs + delta
      : Number(BigInt.asIntN(64, base + longAt(this.bytes, start)));
  }

  #long(): number {
    const { bytes } = this;
    const longest = 10;
    let raw = 0;
    let scale = 1;
    for (let read = 0; read < longest; read += 1) {
      const byte = bytes[this.at + read];
      if (byte === undefined) {
        break;
      }
      raw += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        const start = this.at;
        this.at += read + 1;
        return raw > Number.MAX_SAFE_INTEGER ? Number(longAt(bytes, start)) : raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
      }
    }
    this.at = Number.MAX_SAFE_INTEGER;
    return 0;
  }
}

/** The zigzag varint that begins at `start`, with all of its 64 bits. */
function longAt(bytes: Buffer, start: number): bigint {
  let raw = 0n;
  let shift = 0n;
  for (let at = start; at < bytes.length && shift < 70n; at += 1, shift += 7n) {
    const byte = bytes[at] ?? 0;
    raw |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) {
      break;
    }
  }
  return BigInt.asIntN(64, (raw >> 1n) ^ -(raw & 1n));
}

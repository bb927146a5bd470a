/**
 * Reads zigzag varints, one after another. Lengths and deltas of record batches are such; a delta of milliseconds may
 * have 64 bits, so they are read as doubles, which hold every one that a clock can make.
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
        this.at += read + 1;
        return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
      }
    }
    this.at = Number.MAX_SAFE_INTEGER;
    return 0;
  }
}

/**
 * Bytes where they stand: a part of a buffer, without a view of its own. A view costs more than all else that the hot path
 * does with a short text.
 */
export class Span {
  readonly bytes: Buffer;
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  static of(bytes: Buffer): Span {
    return new Span(bytes, 0, bytes.length);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** The same memory as a buffer. */
  view(): Buffer {
    return this.bytes.subarray(this.start, this.end);
  }

  /** As UTF-8. */
  toString(): string {
    return this.bytes.toString('utf8', this.start, this.end);
  }

  equals(other: Span): boolean {
    return this.bytes.compare(other.bytes, other.start, other.end, this.start, this.end) === 0;
  }
}

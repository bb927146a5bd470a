import type { ClosedBatch } from './batch.ts';
import type { OffsetRow } from './sink.ts';

/**
 * Trips when more than a share of the last `of` records of a partition are dead: then the sink's or a producer's schema
 * is wrong rather than the data, and the dead letter topic must not be flooded.
 */
export class DeadLetterBreaker {
  readonly #share: number;
  /** The last records, oldest first from `#next`; 1 = dead. */
  #ring: Uint8Array;
  #next = 0;
  #seen = 0;

  constructor({ share, of }: { readonly share: number; readonly of: number }) {
    this.#share = share;
    this.#ring = new Uint8Array(of);
  }

  /** Whether the breaker would trip on this batch. Nothing is counted. */
  tripsOn(batch: ClosedBatch<OffsetRow>): boolean {
    if (batch.dead.length === 0) {
      return false;
    }
    const [ring, next, seen] = [this.#ring.slice(), this.#next, this.#seen];
    const tripped = this.#push(batch);
    [this.#ring, this.#next, this.#seen] = [ring, next, seen];
    return tripped;
  }

  count(batch: ClosedBatch<OffsetRow>): void {
    this.#push(batch);
  }

  /** Pushes the batch's records in offset order; answers whether the share was exceeded at any point. */
  #push(batch: ClosedBatch<OffsetRow>): boolean {
    const deadOffsets = new Set(batch.dead.map(({ record }) => record.offset));
    const offsets = [...batch.sink.rows.map((row) => row.offset), ...deadOffsets];
    if (deadOffsets.size > 0) {
      offsets.sort((left, right) => (left < right ? -1 : 1));
    }
    const size = this.#ring.length;
    let dead = this.#ring.reduce((sum, flag) => sum + flag, 0);
    let tripped = false;
    for (const offset of offsets) {
      const flag = deadOffsets.has(offset) ? 1 : 0;
      dead += flag - (this.#ring[this.#next] ?? 0);
      this.#ring[this.#next] = flag;
      this.#next = (this.#next + 1) % size;
      this.#seen += 1;
      tripped ||= this.#seen >= size && dead > size * this.#share;
    }
    return tripped;
  }
}

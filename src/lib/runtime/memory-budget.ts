import type { SourceRecord } from '../ports.ts';

/** A row of texts and views over its record's bytes, such as the analytics role's: 590 bytes of objects (measured). */
export const objectRowBytes = 600;
/** A dead record, with its buffers and its reason: 420 bytes of objects (measured). */
export const deadRecordBytes = 450;
/** Lengths, offset and time, as they stand in the log. */
const framingBytes = 16;
const headerBytes = 200;

/** A record's own bytes: its fetch holds them until the batch is durable, since a refused row is decoded from them again. */
export function weightOf({ key, value, headers }: SourceRecord): number {
  return framingBytes + (key?.length ?? 0) + (value?.length ?? 0) + headers.length * headerBytes;
}

/**
 * What all partitions of a role may hold in memory together: records that were decoded and are not yet durable, each with
 * its own bytes and its row's. Not in it, each with a bound of its own: answers that wait to be read (the source's 8 MB and
 * what a fetch in flight brings), the streams of the batches that are being written, and garbage.
 *
 * Who would go over it waits, unless it holds nothing itself: so every partition goes on, and a batch larger than the
 * budget still passes, alone.
 */
export class MemoryBudget {
  readonly #limitBytes: number;
  #usedBytes = 0;
  #waiting: (() => void)[] = [];

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get isExhausted(): boolean {
    return this.#usedBytes >= this.#limitBytes;
  }

  take(bytes: number): void {
    this.#usedBytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#usedBytes -= bytes;
    for (const resume of this.#waiting.splice(0)) {
      resume();
    }
  }

  /** Resolves when something was given back. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

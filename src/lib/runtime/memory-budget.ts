import type { SourceRecord } from '../ports.ts';

/** What a record costs beside its bytes while it waits: the objects around it, measured at about 1.2 kB. */
const objectBytes = 1200;

export function weightOf({ key, value, headers }: SourceRecord): number {
  return objectBytes + (key?.length ?? 0) + (value?.length ?? 0) + headers.length * 200;
}

/**
 * What all partitions of a role may hold in memory together. Who would go over it waits, unless it holds nothing itself:
 * so every partition goes on, and a batch larger than the budget still passes, alone.
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

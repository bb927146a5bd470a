import type { ProjectionChange } from '../records/projection.ts';

/** A change with the partition of its event: both offsets together are its version. */
export interface VersionedChange {
  readonly partition: number;
  readonly change: ProjectionChange;
}

/**
 * What the cache could not be told, until it can be: of each entry the newest change. Bounded: past `maxBytes` it forgets
 * them and remembers only that, and then every entry has to go.
 */
export class MissedChanges {
  readonly #maxBytes: number;
  readonly #byEntry = new Map<string, VersionedChange>();
  #bytes = 0;
  #all = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get isEmpty(): boolean {
    return !this.#all && this.#byEntry.size === 0;
  }

  add(entry: string, missed: VersionedChange): void {
    const before = this.#byEntry.get(entry);
    if (before !== undefined && !isNewer(missed, before)) {
      return;
    }
    this.#byEntry.set(entry, missed);
    this.#bytes += sizeOf(entry, missed) - (before === undefined ? 0 : sizeOf(entry, before));
    if (this.#bytes > this.#maxBytes) {
      this.addAll();
      this.#byEntry.clear();
      this.#bytes = 0;
    }
  }

  /** Any entry may be wrong; what else is missed stays remembered, to be written when all of them are gone. */
  addAll(): void {
    this.#all = true;
  }

  /** Answers once whether every entry has to go; what fails is said again by `addAll`. */
  takeAll(): boolean {
    const all = this.#all;
    this.#all = false;
    return all;
  }

  entries(): readonly (readonly [string, VersionedChange])[] {
    return [...this.#byEntry];
  }

  /** The cache knows it now, unless a newer one was missed meanwhile. */
  made(entry: string, missed: VersionedChange): void {
    if (this.#byEntry.get(entry) === missed) {
      this.#byEntry.delete(entry);
      this.#bytes -= sizeOf(entry, missed);
    }
  }
}

function isNewer(one: VersionedChange, other: VersionedChange): boolean {
  return one.partition === other.partition ? one.change.offset > other.change.offset : one.partition > other.partition;
}

/** About what the text takes; the objects around it are put at 200 bytes. */
function sizeOf(entry: string, { change }: VersionedChange): number {
  const values = [...change.key, ...change.columns, ...Object.values(change.row ?? {})];
  const text = values.reduce((sum: number, value) => sum + (value?.length ?? 0), entry.length);
  return 200 + 2 * text;
}

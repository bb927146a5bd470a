import type { SourceRecord, TopicPartition } from '../ports.ts';
import { identityOf, placeText, readDeadLetter, type DeadLetter, type Place } from './dead-letter.ts';

/** `quarantined`: redriven so often, and dead again, that the next time must be somebody's explicit word. */
export type LetterState = 'dead' | 'quarantined' | 'redriven';

export const quarantineAfter = 3;

/** What is kept of every letter: without content. */
export interface IndexedLetter {
  readonly identity: string;
  readonly source: Place;
  readonly role: string | null;
  readonly reason: string;
  readonly redrives: number;
  readonly atMs: number;
  /** Of its first copy: where its content is read from. */
  readonly lies: Place;
  /** The partitions of the dead-letter topic that hold copies of it. */
  readonly partitions: ReadonlySet<number>;
  readonly copies: number;
  /** Key, value and headers; where the value was left behind, its length too. */
  readonly bytes: number;
  /** The value is where the record came from. */
  readonly isPointer: boolean;
  readonly isUndecodable: boolean;
}

/** A dead-letter topic, read once: its letters that match, each once, and which ones were redriven. */
export class LetterIndex {
  readonly #letters = new Map<string, IndexedLetter>();
  readonly #redriven = new Set<string>();
  readonly #matches: (letter: DeadLetter) => boolean;
  #foreign = 0;

  constructor(matches: (letter: DeadLetter) => boolean) {
    this.#matches = matches;
  }

  add(at: TopicPartition, record: SourceRecord): void {
    const read = readDeadLetter(at, record);
    switch (read.kind) {
      case 'foreign':
        this.#foreign += 1;
        return;
      case 'marker':
        this.#redriven.add(read.marker.identity);
        return;
      case 'letter':
        if (this.#matches(read.letter)) {
          this.#addLetter(read.letter, record);
        }
    }
  }

  #addLetter(letter: DeadLetter, record: SourceRecord): void {
    const identity = identityOf(letter);
    const known = this.#letters.get(identity);
    const partitions = new Set([...(known?.partitions ?? []), letter.lies.partition]);
    const copies = (known?.copies ?? 0) + 1;
    this.#letters.set(
      identity,
      known === undefined ? indexed(identity, letter, record, partitions) : { ...known, partitions, copies },
    );
  }

  /** Records that are neither dead letters nor ours. */
  get foreign(): number {
    return this.#foreign;
  }

  get letters(): readonly IndexedLetter[] {
    return [...this.#letters.values()];
  }

  find(place: Place): readonly IndexedLetter[] {
    const text = placeText(place);
    return this.letters.filter(({ source }) => placeText(source) === text);
  }

  isRedriven(identity: string): boolean {
    return this.#redriven.has(identity);
  }

  stateOf({ identity, redrives }: IndexedLetter): LetterState {
    return this.isRedriven(identity) ? 'redriven' : redrives >= quarantineAfter ? 'quarantined' : 'dead';
  }
}

function indexed(
  identity: string,
  letter: DeadLetter,
  record: SourceRecord,
  partitions: ReadonlySet<number>,
): IndexedLetter {
  const { source, role, reason, redrives, atMs, lies, omittedBytes, undecodableUpTo } = letter;
  return {
    identity,
    source,
    role,
    reason,
    redrives,
    atMs,
    lies,
    partitions,
    copies: 1,
    bytes: bytesOf(record) + (omittedBytes ?? 0),
    isPointer: omittedBytes !== null,
    isUndecodable: undecodableUpTo !== null,
  };
}

function bytesOf({ key, value, headers }: SourceRecord): number {
  const headerBytes = headers.reduce((sum, [name, bytes]) => sum + name.length + (bytes?.length ?? 0), 0);
  return (key?.length ?? 0) + (value?.length ?? 0) + headerBytes;
}

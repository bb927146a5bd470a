import type { SourceRecord, TopicPartition } from '../ports.ts';
import { identityOf, readDeadLetter, type DeadLetter } from './dead-letter.ts';
import { quarantineAfter } from './letter-index.ts';

/** Kafka deletes only from a log's beginning. What a purge may take of a record, when everything before it goes too. */
interface LogEntry {
  readonly offset: bigint;
  readonly kind: 'letter' | 'marker' | 'foreign';
  /** null: of no dead letter. */
  readonly identity: string | null;
  readonly matches: boolean;
  readonly reason: string;
  readonly redrives: number;
}

/** Up to where a partition would be deleted. */
export interface PurgeCut extends TopicPartition {
  readonly from: bigint;
  /** Everything below goes. */
  readonly to: bigint;
}

export interface PurgeLoss {
  /** Dead letters that would be lost: never redriven. */
  readonly dead: number;
  readonly quarantined: number;
  /** Redriven before: nothing is lost with them. */
  readonly redriven: number;
  readonly foreign: number;
  /** Of the dead and quarantined. */
  readonly byReason: Readonly<Record<string, number>>;
  /** Match, but lie behind a letter that does not: Kafka cannot delete them alone. */
  readonly behind: number;
}

export interface PurgeSelection {
  /** Whether a letter that was not redriven may go. */
  readonly matches: (letter: DeadLetter) => boolean;
  readonly matchesForeign: (atMs: number) => boolean;
}

/**
 * What a purge deletes: of each partition the longest beginning in which every letter is meant or was redriven. A marker
 * stays as long as a copy of its letter does, or that letter would count as dead again.
 */
export class PurgePlanner {
  readonly #selection: PurgeSelection;
  readonly #logs = new Map<number, LogEntry[]>();
  readonly #redriven = new Set<string>();

  constructor(selection: PurgeSelection) {
    this.#selection = selection;
  }

  /** Every record of the topic, of each partition in order. */
  add(at: TopicPartition, record: SourceRecord): void {
    const log = this.#logs.get(at.partition) ?? [];
    this.#logs.set(at.partition, log);
    const read = readDeadLetter(at, record);
    const { offset } = record;
    switch (read.kind) {
      case 'letter': {
        const { reason, redrives } = read.letter;
        const matches = this.#selection.matches(read.letter);
        log.push({ offset, kind: 'letter', identity: identityOf(read.letter), matches, reason, redrives });
        return;
      }
      case 'marker':
        this.#redriven.add(read.marker.identity);
        log.push({ offset, kind: 'marker', identity: read.marker.identity, matches: true, reason: '', redrives: 0 });
        return;
      case 'foreign': {
        const matches = this.#selection.matchesForeign(record.timestampMs);
        log.push({ offset, kind: 'foreign', identity: null, matches, reason: '', redrives: 0 });
      }
    }
  }

  /** `ends` are the positions up to which the partitions were read. */
  plan(ends: readonly (TopicPartition & { readonly from: bigint; readonly to: bigint })[]): {
    readonly cuts: readonly PurgeCut[];
    readonly loss: PurgeLoss;
  } {
    const cuts = new Map(ends.map(({ partition, to }) => [partition, this.#firstKept(partition) ?? to]));
    this.#keepMarkers(cuts);
    return {
      cuts: ends.map(({ topic, partition, from, to }) => ({ topic, partition, from, to: cuts.get(partition) ?? to })),
      loss: this.#loss(cuts),
    };
  }

  #firstKept(partition: number): bigint | undefined {
    return this.#logs.get(partition)?.find((entry) => !entry.matches && !this.#isRedriven(entry))?.offset;
  }

  #isRedriven({ kind, identity }: LogEntry): boolean {
    return kind === 'letter' && identity !== null && this.#redriven.has(identity);
  }

  /** A cut that is moved back keeps more letters, whose markers may lie before another partition's cut: until it rests. */
  #keepMarkers(cuts: Map<number, bigint>): void {
    for (let moved = true; moved;) {
      moved = false;
      const kept = this.#keptIdentities(cuts);
      for (const [partition, log] of this.#logs) {
        const cut = cuts.get(partition) ?? 0n;
        const marker = log.find(
          ({ kind, offset, identity }) => kind === 'marker' && offset < cut && identity !== null && kept.has(identity),
        );
        if (marker !== undefined) {
          cuts.set(partition, marker.offset);
          moved = true;
        }
      }
    }
  }

  #keptIdentities(cuts: ReadonlyMap<number, bigint>): ReadonlySet<string> {
    const kept = new Set<string>();
    for (const [partition, log] of this.#logs) {
      const cut = cuts.get(partition) ?? 0n;
      for (const { kind, offset, identity } of log) {
        if (kind === 'letter' && offset >= cut && identity !== null) {
          kept.add(identity);
        }
      }
    }
    return kept;
  }

  #loss(cuts: ReadonlyMap<number, bigint>): PurgeLoss {
    const kept = this.#keptIdentities(cuts);
    const counted = new Set<string>();
    const loss = { dead: 0, quarantined: 0, redriven: 0, foreign: 0, behind: 0 };
    const byReason: Record<string, number> = {};
    for (const [partition, log] of this.#logs) {
      const cut = cuts.get(partition) ?? 0n;
      for (const entry of log) {
        const { identity, offset, kind, reason, redrives, matches } = entry;
        if (kind === 'foreign' && offset < cut) {
          loss.foreign += 1;
        }
        // Of several copies one is enough to keep a letter.
        if (kind !== 'letter' || identity === null || counted.has(identity)) {
          continue;
        }
        counted.add(identity);
        if (kept.has(identity)) {
          loss.behind += matches && !this.#isRedriven(entry) ? 1 : 0;
        } else if (this.#isRedriven(entry)) {
          loss.redriven += 1;
        } else {
          loss[redrives >= quarantineAfter ? 'quarantined' : 'dead'] += 1;
          byReason[reason] = (byReason[reason] ?? 0) + 1;
        }
      }
    }
    return { ...loss, byReason };
  }
}

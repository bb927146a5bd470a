import type { CopyEntry } from '../copy/copy-entry.ts';
import { truthOf } from './truth.ts';
import { isOpen, type JournalEntry, type JournalStory } from './journal.ts';
import type { ReplayObservation } from './observation.ts';

/** What was done to positions, newest first; the JSON contract of `replay history`. */
export interface ReplayHistory {
  readonly replays: readonly HistoryItem[];
  /** Copies from topic to topic, newest first. */
  readonly copies: readonly CopyItem[];
}

export interface CopyItem {
  readonly id: string;
  readonly source: string;
  readonly destination: string;
  readonly where: string | null;
  readonly at: string;
  readonly by: string;
  /** `half-done`: its process ended, or is still at work. */
  readonly state: 'done' | 'half-done';
  readonly next: string | null;
}

export interface HistoryItem {
  readonly id: string;
  readonly kind: JournalEntry['kind'];
  readonly role: string;
  readonly group: string;
  readonly topic: string;
  readonly at: string;
  readonly by: string;
  readonly target: string;
  readonly undoes: string | null;
  /** `half-done`: its process ended, or is still at work. */
  readonly state: 'done' | 'undone' | 'withdrawn' | 'half-done';
  readonly reason: string | null;
  /** Of a half-done one, as the stores have it now. */
  readonly halfDone: {
    readonly truth: 'set' | 'not set' | 'unknown';
    readonly mirror: 'set' | 'not set' | 'unknown';
    readonly next: readonly string[];
  } | null;
  readonly partitions: readonly {
    readonly partition: number;
    readonly from: bigint | null;
    readonly to: bigint | null;
  }[];
}

/** `seen` has an observation for each role with a half-done replay; null where it could not be looked at. */
export function tellHistory(
  stories: readonly JournalStory[],
  seen: ReadonlyMap<string, ReplayObservation | null>,
  copies: readonly CopyEntry[],
): ReplayHistory {
  return {
    replays: stories.toReversed().map((story) => item(story, seen.get(story.entry.role) ?? null)),
    copies: copies.toReversed().map(({ id, source, destination, where, at, by, state }) => ({
      id,
      source,
      destination,
      where,
      at,
      by,
      state: state === 'done' ? 'done' : 'half-done',
      next: state === 'done' ? null : `kpipe replay copy --resume ${id}`,
    })),
  };
}

function item({ entry, state }: JournalStory, seen: ReplayObservation | null): HistoryItem {
  const { id, kind, role, group, topic, at, by, target, undoes, reason, moves } = entry;
  return {
    id,
    kind,
    role,
    group,
    topic,
    at,
    by,
    target,
    undoes,
    state: state === 'begun' || state === 'set' ? 'half-done' : state,
    reason,
    halfDone: isOpen({ state }) ? halfDone(entry, seen) : null,
    partitions: moves.map(({ partition, from, to }) => ({ partition, from, to })),
  };
}

function halfDone(entry: JournalEntry, seen: ReplayObservation | null): HistoryItem['halfDone'] {
  const next = [`kpipe replay apply --resume ${entry.id}`, `kpipe replay undo ${entry.id}`];
  if (seen === null) {
    return { truth: entry.state === 'set' ? 'set' : 'unknown', mirror: 'unknown', next };
  }
  const isMirrored = entry.moves.every(
    ({ partition, to }) =>
      seen.partitions.find((situation) => situation.partition === partition)?.committedOffset === to,
  );
  return { truth: truthOf(entry, seen), mirror: isMirrored ? 'set' : 'not set', next };
}

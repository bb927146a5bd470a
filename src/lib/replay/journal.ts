import { z } from 'zod';

import { KpipeError } from '../errors.ts';

/**
 * The journal of what was done to positions: a topic (`kafka.journal`), since Kafka is where every role's group is, and
 * role analytics knows no other store. Each step of a replay is an entry with its id as key; the newest entry of an id
 * tells how far it has come. Nothing is ever deleted from it.
 *
 *   begun ──▶ set ──▶ done          positions set in the role's truth, then mirrored and read back
 *     └──▶ withdrawn                nothing was changed
 *
 * A replay whose undo is done counts as undone.
 *
 * It is the lock too. Of two replays of a group that begin at once, the log's order decides: whoever reads another one's
 * open entry before its own, or one that has gone further, withdraws. An entry whose process died stays open: the next
 * replay is refused until somebody finishes it or undoes it.
 */
const offset = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt)
  .nullable();

const move = z.strictObject({
  partition: z.int().min(0),
  /** The position before; null: there was none. */
  from: offset,
  /** Of kpipe.consumer_offset. */
  epoch: offset,
  to: offset,
});

const entry = z.strictObject({
  version: z.literal(1),
  id: z.string().min(1).max(100),
  kind: z.enum(['replay', 'undo']),
  state: z.enum(['begun', 'set', 'done', 'withdrawn']),
  role: z.string(),
  group: z.string(),
  topic: z.string(),
  topicId: z.string(),
  truth: z.enum(['postgres', 'group']),
  /** ISO 8601: when it began. */
  at: z.string(),
  /** `user@host`. */
  by: z.string(),
  /** As it was asked for. */
  target: z.string(),
  /** Of an undo: the replay whose positions it gives back. */
  undoes: z.string().nullable(),
  reason: z.string().nullable(),
  moves: z.array(move),
});

export type JournalEntry = z.output<typeof entry>;
export type JournalMove = JournalEntry['moves'][number];

/** A record of the journal's topic. */
export interface JournalRecord {
  readonly offset: bigint;
  readonly value: Buffer | null;
}

/** What became of one id. */
export interface JournalStory {
  /** Its newest entry. */
  readonly entry: JournalEntry;
  readonly state: JournalEntry['state'] | 'undone';
  /** Where its first entry lies: the order in which replays began. */
  readonly beganAt: bigint;
}

export function formatEntry(value: JournalEntry): Buffer {
  return Buffer.from(
    JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item)),
  );
}

/** The stories in the order they began. Records that are none of ours (or of a newer kpipe) are passed over. */
export function readStories(records: readonly JournalRecord[]): readonly JournalStory[] {
  const stories = new Map<string, JournalStory>();
  for (const record of records) {
    const parsed = parseEntry(record.value);
    if (parsed !== null) {
      const beganAt = stories.get(parsed.id)?.beganAt ?? record.offset;
      stories.set(parsed.id, { entry: parsed, state: parsed.state, beganAt });
    }
  }
  const all = [...stories.values()];
  const undone = new Set(
    all.flatMap(({ entry: { undoes, state } }) => (state === 'done' && undoes !== null ? undoes : [])),
  );
  return all.map((story) => (undone.has(story.entry.id) ? { ...story, state: 'undone' } : story));
}

function parseEntry(value: Buffer | null): JournalEntry | null {
  try {
    const parsed = entry.safeParse(JSON.parse(value?.toString('utf8') ?? 'null'));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

export function isOpen({ state }: Pick<JournalStory, 'state'>): boolean {
  return state === 'begun' || state === 'set';
}

/** The open story that forbids `id` to go on: another one of the group that began earlier, or has gone further. */
export function inTheWay(stories: readonly JournalStory[], id: string): JournalStory | undefined {
  const own = stories.find((story) => story.entry.id === id);
  return own === undefined
    ? undefined
    : stories.find(
        ({ entry: other, state, beganAt }) =>
          other.group === own.entry.group &&
          other.id !== id &&
          other.id !== own.entry.undoes &&
          isOpen({ state }) &&
          (beganAt < own.beganAt || state === 'set'),
      );
}

/** The story of an id. @throws KPIPE_USAGE */
export function storyOf(stories: readonly JournalStory[], id: string): JournalStory {
  const story = stories.find((candidate) => candidate.entry.id === id);
  if (story === undefined) {
    throw new KpipeError('KPIPE_USAGE', `the journal has no replay ${id}`, {
      next: '`kpipe replay history` shows them',
    });
  }
  return story;
}

/** What `undo` without an id means: the newest that was done or is half done, and that nobody has undone. */
export function newestUndoable(stories: readonly JournalStory[], roles: readonly string[]): JournalStory | undefined {
  return stories.findLast(
    ({ entry: { kind, role }, state }) =>
      kind === 'replay' && roles.includes(role) && (state === 'done' || isOpen({ state })),
  );
}

/** Replays of the same partitions that were done later: they must be undone first. */
export function laterThan(stories: readonly JournalStory[], story: JournalStory): readonly JournalStory[] {
  const partitions = new Set(story.entry.moves.map(({ partition }) => partition));
  return stories.filter(
    ({ entry: other, state, beganAt }) =>
      beganAt > story.beganAt &&
      other.kind === 'replay' &&
      other.group === story.entry.group &&
      state === 'done' &&
      other.moves.some(({ partition }) => partitions.has(partition)),
  );
}

import { describe, expect, test } from 'vitest';

import { readCopies } from '../../../src/lib/copy/copy-entry.ts';
import {
  formatEntry,
  inTheWay,
  laterThan,
  newestUndoable,
  readStories,
  storyOf,
  type JournalEntry,
  type JournalRecord,
} from '../../../src/lib/replay/journal.ts';

function entry(id: string, state: JournalEntry['state'], over: Partial<JournalEntry> = {}): JournalEntry {
  return {
    version: 1,
    id,
    kind: 'replay',
    state,
    role: 'events',
    group: 'g',
    topic: 'events',
    topicId: 't',
    truth: 'postgres',
    at: '2026-02-14T12:00:00.000Z',
    by: 'me@here',
    target: '-2h',
    undoes: null,
    reason: null,
    moves: [{ partition: 0, from: 9_007_199_254_740_993n, epoch: 4n, to: null }],
    ...over,
  };
}

const log = (...entries: readonly JournalEntry[]): readonly JournalRecord[] =>
  entries.map((value, index) => ({ offset: BigInt(index), value: formatEntry(value) }));
const stories = (...entries: readonly JournalEntry[]) => readStories(log(...entries));

test('an entry comes back as it was written, offsets beyond 2^53 too', () => {
  expect(stories(entry('a', 'begun'))).toEqual([{ entry: entry('a', 'begun'), state: 'begun', beganAt: 0n }]);
});

test('the newest entry of an id counts, at the place where it began', () => {
  const told = stories(entry('a', 'begun'), entry('b', 'begun'), entry('a', 'done'));
  expect(told.map(({ entry: { id }, state, beganAt }) => [id, state, beganAt])).toEqual([
    ['a', 'done', 0n],
    ['b', 'begun', 1n],
  ]);
});

test('what is none of ours is passed over', () => {
  const foreign = ['', 'null', '[]', '{"version":2}', '{"version":1,"id":"x"}', '\u0000'].map((text, index) => ({
    offset: BigInt(100 + index),
    value: Buffer.from(text),
  }));
  const records = [...foreign, { offset: 200n, value: null }, ...log(entry('a', 'done'))];
  expect(readStories(records).map(({ entry: { id } }) => id)).toEqual(['a']);
  expect(readCopies(records)).toEqual([]);
});

describe('two at once', () => {
  test('the one that began first goes on, the other finds it in the way', () => {
    const told = stories(entry('a', 'begun'), entry('b', 'begun'));
    expect(inTheWay(told, 'a')).toBeUndefined();
    expect(inTheWay(told, 'b')?.entry.id).toBe('a');
  });

  test('one that has set positions is in the way, whenever it began', () => {
    expect(inTheWay(stories(entry('a', 'begun'), entry('b', 'set')), 'a')?.entry.id).toBe('b');
  });

  test.each(['done', 'withdrawn'] as const)('one that is %s is not', (state) => {
    expect(inTheWay(stories(entry('a', state), entry('b', 'begun')), 'b')).toBeUndefined();
  });

  test('another group is not', () => {
    expect(inTheWay(stories(entry('a', 'begun', { group: 'other' }), entry('b', 'begun')), 'b')).toBeUndefined();
  });

  test('the half-done replay that an undo takes back is not in the way of that undo', () => {
    const told = stories(entry('a', 'set'), entry('u', 'begun', { kind: 'undo', undoes: 'a' }));
    expect(inTheWay(told, 'u')).toBeUndefined();
  });
});

describe('undo', () => {
  const undo = (id: string, undoes: string, state: JournalEntry['state']): JournalEntry =>
    entry(id, state, { kind: 'undo', undoes });

  test('a replay counts as undone once its undo is done, not before', () => {
    expect(storyOf(stories(entry('a', 'done'), undo('u', 'a', 'begun')), 'a').state).toBe('done');
    expect(storyOf(stories(entry('a', 'done'), undo('u', 'a', 'withdrawn')), 'a').state).toBe('done');
    expect(storyOf(stories(entry('a', 'set'), undo('u', 'a', 'done')), 'a').state).toBe('undone');
  });

  test('without an id it means the newest that can be undone, of a role that is declared', () => {
    const told = stories(
      entry('a', 'done'),
      entry('b', 'set'),
      entry('c', 'done'),
      undo('u', 'c', 'done'),
      entry('d', 'withdrawn'),
      entry('e', 'done', { role: 'logs' }),
    );
    expect(newestUndoable(told, ['events'])?.entry.id).toBe('b');
    expect(newestUndoable(told, ['analytics'])).toBeUndefined();
  });

  test('later replays of the same partitions come first', () => {
    const told = stories(
      entry('a', 'done'),
      entry('b', 'done', { moves: [{ partition: 1, from: 1n, epoch: 1n, to: 0n }] }),
      entry('c', 'done'),
    );
    expect(laterThan(told, storyOf(told, 'a')).map(({ entry: { id } }) => id)).toEqual(['c']);
  });

  test('an unknown id is usage', () => {
    expect(() => storyOf(stories(entry('a', 'done')), 'z')).toThrow(
      expect.objectContaining({ code: 'KPIPE_USAGE' }) as Error,
    );
  });
});

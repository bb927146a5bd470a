import { describe, expect, test } from 'vitest';

import { formatCommitMark, replayOfCommit } from '../../../src/lib/replay/commit-mark.ts';
import { truthOf } from '../../../src/lib/replay/truth.ts';
import type { JournalEntry, JournalMove } from '../../../src/lib/replay/journal.ts';
import type { ReplayObservation } from '../../../src/lib/replay/observation.ts';
import { planUndo } from '../../../src/lib/replay/undo.ts';

function entryOf(move: JournalMove, over: Partial<JournalEntry> = {}): JournalEntry {
  return {
    version: 1,
    id: 'a',
    kind: 'replay',
    state: 'done',
    role: 'events',
    group: 'g',
    topic: 'events',
    topicId: 't',
    truth: 'postgres',
    at: '2026-02-14T12:00:00.000Z',
    by: 'me',
    target: 'x',
    undoes: null,
    reason: null,
    moves: [move],
    ...over,
  };
}

function seenAt(position: bigint | null, replayId: string | null = null): ReplayObservation {
  return {
    observedAtMs: 0,
    clusterId: 'c',
    role: 'events',
    group: 'g',
    topic: 'events',
    topicId: 't',
    truth: 'postgres',
    protocol: 'classic',
    state: 'Empty',
    members: [],
    partitions: [
      {
        topic: 'events',
        partition: 0,
        position,
        epoch: 2n,
        committedOffset: position,
        openIntentTo: null,
        recreated: false,
        replayId,
        logStartOffset: 0n,
        highWatermark: 1000n,
        logBytes: null,
      },
    ],
    rate: { recordsPerSec: null, basis: '' },
    sizesProblem: null,
  };
}

describe('undoing a replay that is done', () => {
  test.each<[string, bigint | null, bigint | null, bigint | null, bigint | null]>([
    // from, to, position now → target
    ['that went back and was not read yet', 100n, 40n, 40n, 100n],
    ['that went back and is half-way again', 100n, 40n, 70n, 100n],
    ['that went back and has passed the old position', 100n, 40n, 130n, 130n],
    ['that went forward', 100n, 400n, 400n, 100n],
    ['that went forward and was read on', 100n, 400n, 450n, 100n],
    ['of a partition that had never been read', null, 0n, 0n, null],
    ['of one that had never been read, and was since', null, 0n, 30n, 30n],
  ])('%s', (_name, from, to, position, target) => {
    const undo = planUndo(
      { entry: entryOf({ partition: 0, from, epoch: 1n, to }), state: 'done', beganAt: 0n },
      seenAt(position),
      false,
    );
    expect(undo.kind === 'positions' && undo.plan.partitions[0]?.targetOffset).toBe(target);
  });
});

describe('how far a half-done replay has come', () => {
  const move = { partition: 0, from: 100n, epoch: 1n, to: 40n };

  test.each<[string, Partial<JournalEntry>, ReplayObservation, ReturnType<typeof truthOf>]>([
    ['journalled as set', { state: 'set' }, seenAt(500n), 'set'],
    ['PostgreSQL names it', { state: 'begun' }, seenAt(70n, 'a'), 'set'],
    ['PostgreSQL does not name it', { state: 'begun' }, seenAt(100n), 'not set'],
    ['PostgreSQL does not name it, and consumers have read on', { state: 'begun' }, seenAt(130n), 'not set'],
    ['the commit names it', { state: 'begun', truth: 'group' }, seenAt(40n, 'a'), 'set'],
    ['the commit is the old one', { state: 'begun', truth: 'group' }, seenAt(100n), 'not set'],
    ['the commit is a later one', { state: 'begun', truth: 'group' }, seenAt(55n), 'unknown'],
  ])('%s', (_name, over, seen, expected) => {
    expect(truthOf(entryOf(move, over), seen)).toBe(expected);
  });

  test('one that has set nothing is only ended', () => {
    const story = { entry: entryOf(move, { state: 'begun' }), state: 'begun', beganAt: 0n } as const;
    expect(planUndo(story, seenAt(100n), false)).toEqual({ kind: 'withdraw' });
  });
});

test('the mark in a commit is told from all other metadata', () => {
  expect(replayOfCommit(formatCommitMark('20260214-093000-9f2c'))).toBe('20260214-093000-9f2c');
  for (const other of ['', '{}', '{"replay":1}', '{"replay":"a","x":1}', 'some text', '{"intent":{}}']) {
    expect(replayOfCommit(other)).toBeNull();
  }
});

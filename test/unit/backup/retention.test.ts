import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decideRetention, type RetentionCandidate } from '../../../src/lib/backup/retention.ts';
import { dueAtMs, isMissed, jitterMs } from '../../../src/lib/backup/schedule.ts';

const day = 86_400_000;
const now = 1000 * day;
const backup = (ageDays: number, more: Partial<RetentionCandidate> = {}): RetentionCandidate => {
  return { id: `d${ageDays}`, completedAtMs: now - ageDays * day, parent: null, proven: false, ...more };
};
const kept = (candidates: readonly RetentionCandidate[], full: number, windowDays: number): string[] =>
  decideRetention(candidates, { full, windowMs: windowDays * day }, now)
    .filter(({ keep }) => keep)
    .map(({ id }) => id);

describe('retention', () => {
  test('given one a day, then the newest, the window, and the one that its beginning is restored from', () => {
    const candidates = [0, 1, 2, 3, 4, 5, 6, 7, 8].map((age) => backup(age));

    expect(kept(candidates, 1, 2.5)).toEqual(['d0', 'd1', 'd2', 'd3']);
    expect(kept(candidates, 5, 0.5)).toEqual(['d0', 'd1', 'd2', 'd3', 'd4']);
  });

  test('given none within the window, then the newest ones stay', () => {
    expect(kept([backup(50), backup(60), backup(70)], 2, 14)).toEqual(['d50', 'd60']);
  });

  test('given the newest that was proven is old, then it stays', () => {
    expect(kept([backup(0), backup(1), backup(40, { proven: true }), backup(50, { proven: true })], 1, 0.1)).toEqual([
      'd0',
      'd1',
      'd40',
    ]);
  });

  test('given a kept increment, then its parents stay, to the full one', () => {
    const candidates = [
      backup(0, { parent: 'd10' }),
      backup(10, { parent: 'd20' }),
      backup(20),
      backup(30),
      backup(1),
      backup(2),
    ];

    expect(kept(candidates, 1, 0.5)).toEqual(['d0', 'd1', 'd10', 'd20']);
  });

  test('given the newest is an increment, and older than the window, then it stays', () => {
    expect(kept([backup(20, { parent: 'd22' }), backup(21, { parent: 'd22' }), backup(22)], 1, 14)).toEqual([
      'd20',
      'd22',
    ]);
  });

  test('given what is held or cannot be trusted, then it stays, and what it is an increment of, but it stands for no other', () => {
    const candidates = [
      backup(0),
      backup(30, { parent: 'd40', held: 'is being verified or restored' }),
      backup(40),
      backup(50, { parent: 'd60', held: 'its entry cannot be trusted', untrusted: true }),
      backup(60),
      backup(70),
    ];

    const decisions = decideRetention(candidates, { full: 1, windowMs: day / 2 }, now);

    expect(decisions.filter(({ keep }) => keep).map(({ id, reason }) => [id, reason])).toEqual([
      ['d0', 'one of the newest 1'],
      ['d30', 'is being verified or restored'],
      // The window's beginning is restored from a trusted full one.
      ['d40', "the window's beginning is restored from it"],
      ['d50', 'its entry cannot be trusted'],
      ['d60', 'd50 is an increment of it'],
    ]);
  });

  test('given any chains, then no kept increment lacks a link, and an increment comes before its parent', () => {
    const chains = fc.array(
      fc.record({
        isFull: fc.boolean(),
        back: fc.integer({ min: 1, max: 4 }),
        held: fc.boolean(),
        proven: fc.boolean(),
      }),
      { minLength: 1, maxLength: 30 },
    );
    fc.assert(
      fc.property(chains, fc.integer({ min: 1, max: 4 }), fc.integer({ min: 0, max: 20 }), (made, full, windowDays) => {
        // Oldest first; an increment's parent is one of the four before it.
        const candidates = made.map(({ isFull, back, held, proven }, index) => {
          const parent = isFull || index === 0 ? null : `d${made.length - Math.max(0, index - back)}`;
          return backup(made.length - index, { parent, proven, held: held ? 'held' : undefined });
        });
        const decisions = decideRetention(candidates, { full, windowMs: windowDays * day }, now);
        const keptIds = new Set(decisions.filter(({ keep }) => keep).map(({ id }) => id));
        const order = decisions.map(({ id }) => id);
        for (const { id, parent } of candidates) {
          expect(parent === null || !keptIds.has(id) || keptIds.has(parent)).toBe(true);
          expect(parent === null || order.indexOf(id) < order.indexOf(parent)).toBe(true);
        }
        expect(keptIds.size).toBeGreaterThan(0);
      }),
    );
  });

  test('given any backups, then something stays, and every moment of the window has one that is older', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { minLength: 1 }),
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 20 }),
        (ages, full, windowDays) => {
          const ids = kept(
            ages.map((age) => backup(age)),
            full,
            windowDays,
          );
          const keptAges = ids.map((id) => Number(id.slice(1)));
          expect(ids.length).toBeGreaterThanOrEqual(Math.min(full, ages.length));
          const restorable = ages.some((age) => age >= windowDays);
          expect(keptAges.some((age) => age >= windowDays) || !restorable).toBe(true);
        },
      ),
    );
  });
});

describe('the schedule', () => {
  test.each([
    ['there is none', null, now],
    ['the last one is fresh', now - day / 2, now + day / 2],
    ['the last one is overdue', now - 3 * day, now],
  ])('given %s, then it is due when it should be', (_what, lastCompletedAtMs, due) => {
    expect(dueAtMs({ everyMs: day, lastCompletedAtMs }, now)).toBe(due);
  });

  test('given a whole interval has passed since it was due, then it is missed', () => {
    expect(isMissed(now, day, now + day - 1)).toBe(false);
    expect(isMissed(now, day, now + day)).toBe(true);
  });

  test('given any interval, then the jitter is at most a twentieth of it, and never more than 10 minutes', () => {
    expect(jitterMs(3_600_000, () => 0.5)).toBe(90_000);
    expect(jitterMs(30 * day, () => 1)).toBe(600_000);
  });
});

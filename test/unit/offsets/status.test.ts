import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  addCommit,
  defaultJudgement,
  isTrivial,
  judgePartition,
  lagStatuses,
  worstStatus,
  type Commit,
  type Judgement,
} from '../../../src/lib/offsets/status.ts';

/** Burrow's own terms: any lag counts, in records only, and no window is too short. */
const burrow: Judgement = { ...defaultJudgement, allowedRecords: 0, minSilenceMs: 0, minWindowMs: 0, minSpacingMs: 0 };

/** [time in s, position, lag] */
function commits(...points: readonly (readonly [number, number, number])[]): readonly Commit[] {
  return points.map(([seconds, position, lag]) => ({
    atMs: seconds * 1000,
    position: BigInt(position),
    lagRecords: lag,
    timeLagMs: null,
  }));
}

function judge(window: readonly Commit[], seconds: number, lag: number, ends: readonly number[] = [100_000]): string {
  const now = {
    lagRecords: lag,
    timeLagMs: null,
    atMs: seconds * 1000,
    recentHighWatermarks: ends.map(BigInt),
  };
  return judgePartition(window, now, burrow).status;
}

describe("Burrow's rules", () => {
  // Commits at 100 … 500 s, with lag, and none at the start.
  const caughtUpAtFirst = commits(
    [100, 1000, 0],
    [200, 2000, 50],
    [300, 3000, 100],
    [400, 4000, 150],
    [500, 5000, 200],
  );

  test.each([
    ['silent as long as the window spans', caughtUpAtFirst, 900, 200, 'ok'],
    ['silent longer than the window spans', caughtUpAtFirst, 1000, 200, 'stop'],
    ['nothing to read any more', caughtUpAtFirst, 9000, 0, 'ok'],
    [
      'stands, but had no lag in the window',
      commits([100, 1000, 0], [200, 1000, 100], [300, 1000, 200]),
      400,
      300,
      'ok',
    ],
    ['stands with lag all along', commits([100, 1000, 100], [200, 1000, 200], [300, 1000, 300]), 400, 300, 'stall'],
    [
      'went back and recovered',
      commits([100, 1000, 50], [200, 2000, 50], [300, 3000, 50], [400, 2000, 40], [500, 4000, 60]),
      550,
      60,
      'ok',
    ],
    [
      'went back and has not recovered',
      commits([100, 1000, 50], [200, 2000, 50], [300, 3000, 50], [400, 2000, 1050]),
      450,
      1050,
      'rewind',
    ],
    [
      'moves, the lag grows',
      commits([100, 1000, 50], [200, 2000, 60], [300, 3000, 60], [400, 4000, 90]),
      450,
      90,
      'warn',
    ],
    [
      'moves, the lag fell once',
      commits([100, 1000, 50], [200, 2000, 60], [300, 3000, 59], [400, 4000, 90]),
      450,
      90,
      'ok',
    ],
  ])('%s', (_name, window, seconds, lag, expected) => {
    expect(judge(window, seconds, lag)).toBe(expected);
  });

  test('a consumer that reached the end of an idle topic has not stopped', () => {
    expect(judge(caughtUpAtFirst, 1000, 200, [5000, 5200])).toBe('ok');
    expect(judge(caughtUpAtFirst, 1000, 200, [5001, 5200])).toBe('stop');
  });
});

describe('no alarm', () => {
  const judged = (window: readonly Commit[], now: { lag: number; timeLagMs: number | null; atMs: number }): string =>
    judgePartition(
      window,
      { lagRecords: now.lag, timeLagMs: now.timeLagMs, atMs: now.atMs, recentHighWatermarks: [] },
      defaultJudgement,
    ).status;

  test('on trivial lag: a thousand records of this second are, one that has waited an hour is not', () => {
    expect(isTrivial({ lagRecords: 1000, timeLagMs: 900 }, defaultJudgement)).toBe(true);
    expect(isTrivial({ lagRecords: 1, timeLagMs: 3_600_000 }, defaultJudgement)).toBe(false);
    expect(isTrivial({ lagRecords: 100, timeLagMs: null }, defaultJudgement)).toBe(true);
    expect(isTrivial({ lagRecords: 101, timeLagMs: null }, defaultJudgement)).toBe(false);
  });

  test('before a commit was seen, or in a window too short to tell', () => {
    expect(judged([], { lag: 5000, timeLagMs: 60_000, atMs: 0 })).toBe('unknown');
    expect(judged(commits([0, 10, 5000], [2, 10, 6000]), { lag: 6000, timeLagMs: 60_000, atMs: 2000 })).toBe('unknown');
    expect(judged(commits([0, 10, 5000], [21, 10, 6000]), { lag: 6000, timeLagMs: 60_000, atMs: 21_000 })).toBe(
      'stall',
    );
  });

  test('on a pause shorter than 30 s, however short the window', () => {
    expect(judged(commits([0, 10, 5000]), { lag: 6000, timeLagMs: 60_000, atMs: 30_000 })).toBe('unknown');
    expect(judged(commits([0, 10, 5000]), { lag: 6000, timeLagMs: 60_000, atMs: 30_001 })).toBe('stop');
  });
});

describe('the window', () => {
  const commit = fc.record({
    atMs: fc.integer({ min: 0, max: 1_000_000 }),
    position: fc.bigInt({ min: 0n, max: 10_000n }),
    lagRecords: fc.integer({ min: 0, max: 10_000 }),
    timeLagMs: fc.option(fc.integer({ min: 0, max: 100_000 }), { nil: null }),
  });
  const inOrder = fc
    .array(commit, { maxLength: 60 })
    .map((all) => all.toSorted((left, right) => left.atMs - right.atMs));
  const windowOf = (all: readonly Commit[]): readonly Commit[] =>
    all.reduce<readonly Commit[]>((window, next) => addCommit(window, next, defaultJudgement), []);

  test('is bounded, ordered, and ends with the last commit', () => {
    fc.assert(
      fc.property(inOrder, (all) => {
        const window = windowOf(all);
        expect(window.length).toBeLessThanOrEqual(defaultJudgement.commits);
        expect(window.map(({ atMs }) => atMs)).toEqual(
          window.map(({ atMs }) => atMs).toSorted((left, right) => left - right),
        );
        expect(window.at(-1)).toEqual(all.at(-1));
      }),
    );
  });

  test('spans enough time at two looks a second', () => {
    const all = commits(...Array.from({ length: 200 }, (_, index) => [index / 2, index * 10, 500] as const));
    const window = windowOf(all);
    expect((window.at(-1)?.atMs ?? 0) - (window[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(defaultJudgement.minWindowMs);
  });

  test('is never in error without lag, and always has one of the statuses', () => {
    fc.assert(
      fc.property(
        inOrder,
        fc.integer({ min: 0, max: 20_000 }),
        fc.integer({ min: 0, max: 100_000 }),
        (all, lag, later) => {
          const window = windowOf(all);
          const now = {
            lagRecords: lag,
            timeLagMs: null,
            atMs: (all.at(-1)?.atMs ?? 0) + later,
            recentHighWatermarks: [],
          };
          const { status, reason } = judgePartition(window, now, defaultJudgement);
          expect(lagStatuses).toContain(status);
          expect(reason === null).toBe(status === 'ok');
          if (lag <= defaultJudgement.allowedRecords) {
            expect(status).toBe('ok');
          }
        },
      ),
    );
  });
});

test('a group is as its worst partition', () => {
  expect(worstStatus(['ok', 'warn', 'stop', 'stall'])).toBe('stop');
  expect(worstStatus(['ok', 'unknown'])).toBe('unknown');
  expect(worstStatus([])).toBe('ok');
});

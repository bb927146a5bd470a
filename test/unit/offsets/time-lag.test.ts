import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { addEndPoint, timeOfOffset, type EndPoint } from '../../../src/lib/offsets/time-lag.ts';

const table = (...points: readonly (readonly [number, number])[]): readonly EndPoint[] =>
  points.map(([offset, atMs]) => ({ offset: BigInt(offset), atMs }));

describe('interpolation', () => {
  const withFlatRun = table([100, 30], [200, 60], [200, 700], [300, 730]);

  test.each([
    [199, 59.7],
    [200, 700],
    [250, 715],
    [100, 30],
    [300, 730],
  ])('of offset %i', (offset, expected) => {
    expect(timeOfOffset(withFlatRun, BigInt(offset))).toBeCloseTo(expected, 6);
  });

  test.each([
    ['an empty table', table(), 5],
    ['one point', table([100, 30]), 100],
    ['a flat table', table([100, 30], [100, 9000]), 100],
    ['an offset before the table', withFlatRun, 99],
    ['an offset after the table', withFlatRun, 301],
  ])('%s gives no answer, not an infinite one', (_name, points, offset) => {
    expect(timeOfOffset(points, BigInt(offset))).toBeNull();
  });
});

describe('the table', () => {
  const looks = fc
    .array(fc.record({ grown: fc.integer({ min: 0, max: 3 }), waitedMs: fc.integer({ min: 1, max: 5000 }) }), {
      maxLength: 200,
    })
    .map((steps) => {
      let at = { offset: 0n, atMs: 0 };
      return steps.map(
        ({ grown, waitedMs }): EndPoint => (at = { offset: at.offset + BigInt(grown), atMs: at.atMs + waitedMs }),
      );
    });
  const tableOf = (all: readonly EndPoint[]): readonly EndPoint[] => all.reduce<readonly EndPoint[]>(addEndPoint, []);

  test('keeps a flat run by its two ends', () => {
    expect(tableOf(table([100, 1], [100, 2], [100, 3], [100, 4], [200, 5]))).toEqual(
      table([100, 1], [100, 4], [200, 5]),
    );
  });

  test('begins anew with a log that begins anew', () => {
    expect(tableOf(table([100, 1], [200, 2], [5, 3]))).toEqual(table([5, 3]));
  });

  test('is bounded, and answers within its own times only', () => {
    fc.assert(
      fc.property(looks, fc.bigInt({ min: 0n, max: 700n }), (all, offset) => {
        const points = tableOf(all);
        expect(points.length).toBeLessThanOrEqual(60);
        const time = timeOfOffset(points, offset);
        if (time !== null) {
          expect(time).toBeGreaterThanOrEqual(points[0]!.atMs);
          expect(time).toBeLessThanOrEqual(points.at(-1)!.atMs);
        }
      }),
    );
  });

  test('later offsets were written later', () => {
    fc.assert(
      fc.property(looks, fc.bigInt({ min: 0n, max: 700n }), (all, offset) => {
        const points = tableOf(all);
        const [first, second] = [timeOfOffset(points, offset), timeOfOffset(points, offset + 1n)];
        if (first !== null && second !== null) {
          expect(second).toBeGreaterThanOrEqual(first);
        }
      }),
    );
  });
});

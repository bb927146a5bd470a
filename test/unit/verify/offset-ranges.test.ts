import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  countOffsets,
  mergedRanges,
  rangeLookup,
  rangesOf,
  rangeText,
  withoutRanges,
  type OffsetRange,
} from '../../../src/lib/verify/offset-ranges.ts';

const offsets = fc.uniqueArray(fc.bigInt(0n, 60n));
const listed = (ranges: readonly OffsetRange[]): bigint[] =>
  ranges.flatMap(({ from, to }) => Array.from({ length: Number(to - from) }, (_, index) => from + BigInt(index)));
const ascending = (left: bigint, right: bigint): number => (left < right ? -1 : Number(left > right));

describe('ranges of offsets', () => {
  test('hold the offsets that they were made of, ascending and apart', () => {
    fc.assert(
      fc.property(offsets, (some) => {
        const ranges = rangesOf(some);
        expect(listed(ranges)).toEqual(some.toSorted(ascending));
        expect(countOffsets(ranges)).toBe(some.length);
        expect(ranges.every(({ from }, index) => index === 0 || from > (ranges[index - 1]?.to ?? 0n))).toBe(true);
      }),
    );
  });

  test('less other ranges leave the difference, and a lookup tells what they hold', () => {
    fc.assert(
      fc.property(offsets, offsets, (some, others) => {
        const left = withoutRanges(rangesOf(some), rangesOf(others));
        const expected = some.filter((offset) => !others.includes(offset)).toSorted(ascending);
        expect(listed(left)).toEqual(expected);
        const holds = rangeLookup(left);
        for (let offset = 0n; offset <= 60n; offset += 1n) {
          expect(holds(offset)).toBe(expected.includes(offset));
        }
      }),
    );
  });

  test('that overlap merge, whatever contains what', () => {
    expect(
      mergedRanges([
        { from: 10n, to: 20n },
        { from: 0n, to: 5n },
        { from: 12n, to: 14n },
        { from: 20n, to: 21n },
      ]),
    ).toEqual([
      { from: 0n, to: 5n },
      { from: 10n, to: 21n },
    ]);
  });

  test('are told with both ends', () => {
    expect([rangeText({ from: 5n, to: 6n }), rangeText({ from: 7n, to: 10n })]).toEqual(['5', '7-9']);
  });
});

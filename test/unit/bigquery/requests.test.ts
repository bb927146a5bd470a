import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  findRefused,
  fitsRequest,
  fullRequestBytes,
  maxRequestBytes,
  splitIntoRequests,
} from '../../../src/lib/bigquery/requests.ts';

const ofBytes = (length: number): Buffer => Buffer.alloc(length);

describe('rows in requests', () => {
  test('requests hold every row once and in order, at least 1 MB each but the last, none too large', () => {
    const sizes = fc.array(fc.oneof(fc.nat(400_000), fc.integer({ min: 3_000_000, max: 9_900_000 })), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(sizes, (lengths) => {
        const rows = lengths.map(ofBytes);
        const ranges = splitIntoRequests(rows);
        const covered = ranges.flatMap(({ start, end }) =>
          Array.from({ length: end - start }, (_, index) => start + index),
        );
        expect(covered).toEqual(rows.map((_, index) => index));
        for (const [index, { start, end }] of ranges.entries()) {
          const bytes = rows.slice(start, end).reduce((sum, row) => sum + row.length + 6, 0);
          const next = rows[end];
          expect(bytes).toBeLessThanOrEqual(maxRequestBytes);
          const couldNotTakeNext = next !== undefined && bytes + next.length + 6 > maxRequestBytes;
          expect(index === ranges.length - 1 || bytes >= fullRequestBytes || couldNotTakeNext).toBe(true);
        }
      }),
      { numRuns: 50 },
    );
  });

  test('a row fits up to the request’s limit', () => {
    expect(fitsRequest(ofBytes(maxRequestBytes - 6))).toBe(true);
    expect(fitsRequest(ofBytes(maxRequestBytes - 5))).toBe(false);
    expect(splitIntoRequests([ofBytes(maxRequestBytes - 6), ofBytes(1)])).toEqual([
      { start: 0, end: 1 },
      { start: 1, end: 2 },
    ]);
  });
});

describe('rows that are refused without being named', () => {
  test('exactly the bad ones are found', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 200 }), async (bad) => {
        const expected = bad.flatMap((isBad, index) => (isBad ? [index] : []));
        const found = await findRefused(bad, (some) => Promise.resolve(!some.includes(true)), 200);
        expect((found ?? []).toSorted((left, right) => left - right)).toEqual(expected);
      }),
    );
  });

  test('one among 50,000 costs two attempts a halving', async () => {
    const rows = Array.from({ length: 50_000 }, (_, index) => index);
    let attempts = 0;
    const found = await findRefused(
      rows,
      (some) => {
        attempts += 1;
        return Promise.resolve(!some.includes(31_337));
      },
      20,
    );
    expect(found).toEqual([31_337]);
    expect(attempts).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(50_000)) + 1);
  });

  test('when everything is refused it gives up instead of blaming every row', async () => {
    let attempts = 0;
    const found = await findRefused(
      Array.from({ length: 10_000 }),
      () => {
        attempts += 1;
        return Promise.resolve(false);
      },
      20,
    );
    expect(found).toBeNull();
    expect(attempts).toBeLessThan(100);
  });
});

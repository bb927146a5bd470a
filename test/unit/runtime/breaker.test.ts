import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { BatchBuilder, type ClosedBatch } from '../../../src/lib/runtime/batch.ts';
import { DeadLetterBreaker } from '../../../src/lib/runtime/breaker.ts';
import { decodeTest, fetchOf, type TestRow } from './batches.ts';

function batchOf(start: number, flags: readonly boolean[]): ClosedBatch<TestRow> {
  const builder = new BatchBuilder(decodeTest, { maxRows: 10_000, maxBytes: 1_000_000, maxWaitMs: 1 });
  builder.add(
    fetchOf(
      start,
      flags.map((isDead) => (isDead ? 'dead' : 'row')),
    ),
    0,
  );
  return builder.close()!;
}

/** At any record of a batch that brings dead ones, more than the share of the last `of` are dead. */
function naiveTrips(history: readonly boolean[], added: readonly boolean[], share: number, of: number): boolean {
  const isOver = added.some((_, index) => {
    const last = [...history, ...added.slice(0, index + 1)].slice(-of);
    return last.length === of && last.filter(Boolean).length > of * share;
  });
  return added.includes(true) && isOver;
}

test('it trips exactly when a naive count over the last records does', () => {
  const batches = fc.array(fc.array(fc.boolean(), { minLength: 1, maxLength: 15 }), { maxLength: 12 });
  const options = fc.record({ share: fc.constantFrom(0.1, 0.5, 0.75, 1), of: fc.integer({ min: 1, max: 12 }) });
  fc.assert(
    fc.property(batches, options, (plan, { share, of }) => {
      const breaker = new DeadLetterBreaker({ share, of });
      const history: boolean[] = [];
      for (const flags of plan) {
        const batch = batchOf(history.length, flags);
        const expected = naiveTrips(history, flags, share, of);
        expect(breaker.tripsOn(batch)).toBe(expected);
        // Asking counts nothing.
        expect(breaker.tripsOn(batch)).toBe(expected);
        breaker.count(batch);
        history.push(...flags);
      }
    }),
    { numRuns: 1000 },
  );
});

test('half of the records exactly are not too many, and a first few are none at all', () => {
  const breaker = new DeadLetterBreaker({ share: 0.5, of: 10 });
  expect(
    breaker.tripsOn(
      batchOf(
        0,
        Array.from({ length: 9 }, () => true),
      ),
    ),
  ).toBe(false);
  expect(
    breaker.tripsOn(
      batchOf(
        0,
        Array.from({ length: 10 }, (_, index) => index % 2 === 0),
      ),
    ),
  ).toBe(false);
  expect(
    breaker.tripsOn(
      batchOf(
        0,
        Array.from({ length: 10 }, (_, index) => index % 2 === 0 || index === 1),
      ),
    ),
  ).toBe(true);
});

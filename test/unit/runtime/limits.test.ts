import * as fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';

import { backoffMs, wait } from '../../../src/lib/runtime/backoff.ts';
import { MemoryBudget } from '../../../src/lib/runtime/memory-budget.ts';
import { Semaphore } from '../../../src/lib/runtime/semaphore.ts';

describe('backoff', () => {
  test('is between nothing and the bound, which doubles up to its cap', () => {
    const options = fc.record({
      baseMs: fc.integer({ min: 1, max: 1000 }),
      capMs: fc.integer({ min: 1, max: 60_000 }),
    });
    fc.assert(
      fc.property(
        fc.nat(10_000),
        options,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, bounds, random) => {
          const bound = Math.min(bounds.capMs, bounds.baseMs * 2 ** Math.min(attempt, 30));
          const delay = backoffMs(attempt, bounds, () => random);
          expect(delay).toBe(random * bound);
          expect(delay).toBeLessThanOrEqual(bounds.capMs);
        },
      ),
    );
  });

  test('a wait ends at once when it is aborted, before or meanwhile', async () => {
    const giveUp = new AbortController();
    const waiting = wait(3_600_000, giveUp.signal);
    giveUp.abort();
    await waiting;
    await wait(3_600_000, giveUp.signal);
  });
});

describe('the semaphore', () => {
  test('lets no more in than it has permits, the longest wait first, and gives back what a failure held', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.record({ turns: fc.nat(3), fails: fc.boolean() }), { maxLength: 12 }),
        async (permits, jobs) => {
          const semaphore = new Semaphore(permits);
          const started: number[] = [];
          let running = 0;
          const outcomes = await Promise.allSettled(
            jobs.map((job, index) =>
              semaphore.run(async () => {
                started.push(index);
                running += 1;
                expect(running).toBeLessThanOrEqual(permits);
                for (let turn = 0; turn < job.turns; turn += 1) {
                  await Promise.resolve();
                }
                running -= 1;
                if (job.fails) {
                  throw new Error('failed');
                }
                return index;
              }),
            ),
          );
          expect(started).toEqual(jobs.map((_, index) => index));
          expect(outcomes.map(({ status }) => status === 'rejected')).toEqual(jobs.map(({ fails }) => fails));
          expect(await semaphore.run(() => Promise.resolve('free'))).toBe('free');
        },
      ),
    );
  });
});

describe('the memory budget', () => {
  test('is exhausted from its limit on, and every giving back wakes all who wait', async () => {
    const budget = new MemoryBudget(100);
    budget.take(99);
    expect(budget.isExhausted).toBe(false);
    budget.take(1);
    expect(budget.isExhausted).toBe(true);
    const woken = vi.fn<() => void>();
    const waiting = [budget.change().then(woken), budget.change().then(woken)];
    budget.giveBack(1);
    await Promise.all(waiting);
    expect(woken).toHaveBeenCalledTimes(2);
    expect(budget.isExhausted).toBe(false);
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { AbortedTransactions } from '../../../../src/lib/kafka/fetch/aborted-transactions.ts';

interface LogBatch {
  readonly lastOffset: bigint;
  readonly firstOffset: bigint;
  readonly transactional: boolean;
  readonly control: boolean;
  readonly producerId: bigint;
  /** The oracle: what its producer made of it in the end. */
  readonly visible: boolean;
}

interface LogTransaction {
  readonly producerId: bigint;
  readonly firstOffset: bigint;
  /** Of the marker. */
  readonly lastOffset: bigint;
  readonly aborted: boolean;
}

/** A step of a producer: records inside its transaction (begun where none is open), its end, or records outside of any. */
const step = fc.record({
  producer: fc.integer({ min: 1, max: 4 }),
  what: fc.constantFrom('records' as const, 'records' as const, 'commit' as const, 'abort' as const, 'plain' as const),
  records: fc.integer({ min: 1, max: 3 }),
});

function write(
  steps: readonly { producer: number; what: 'records' | 'commit' | 'abort' | 'plain'; records: number }[],
) {
  const log: LogBatch[] = [];
  const transactions: LogTransaction[] = [];
  const open = new Map<number, number[]>();
  let next = 0n;
  const append = (producer: number, count: number, kind: 'plain' | 'transactional' | 'control'): number => {
    const firstOffset = next;
    next += BigInt(count);
    const flags = { transactional: kind !== 'plain', control: kind === 'control', visible: kind !== 'control' };
    log.push({ firstOffset, lastOffset: next - 1n, producerId: BigInt(kind === 'plain' ? -1 : producer), ...flags });
    return log.length - 1;
  };
  const all = [...steps, ...[1, 2, 3, 4].map((producer) => ({ producer, what: 'abort' as const, records: 1 }))];
  for (const { producer, what, records } of all) {
    const begun = open.get(producer);
    if (what === 'plain') {
      append(producer, records, 'plain');
    } else if (what === 'records') {
      open.set(producer, [...(begun ?? []), append(producer, records, 'transactional')]);
    } else if (begun !== undefined) {
      const marker = append(producer, 1, 'control');
      const aborted = what === 'abort';
      begun.forEach((index) => (log[index] = { ...log[index]!, visible: !aborted }));
      const { firstOffset } = log[begun[0]!]!;
      transactions.push({ producerId: BigInt(producer), firstOffset, lastOffset: log[marker]!.lastOffset, aborted });
      open.delete(producer);
    }
  }
  return { log, transactions };
}

describe('what a read-committed consumer gets', () => {
  test('of any log, read in any number of fetches, is what was committed', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 6 })),
        (steps, sizes) => {
          const { log, transactions } = write(steps);
          const got: bigint[] = [];
          for (let at = 0; at < log.length;) {
            const fetched = log.slice(at, at + Number(sizes.next().value));
            at += fetched.length;
            const [from, to] = [fetched[0]!.firstOffset, fetched.at(-1)!.lastOffset];
            // A broker lists those whose range touches the fetch, in the order of their ends.
            const listed = transactions.filter(
              ({ aborted, firstOffset, lastOffset }) => aborted && firstOffset <= to && lastOffset >= from,
            );
            const filter = new AbortedTransactions(listed);
            got.push(...fetched.filter((batch) => filter.isVisible(batch)).map(({ firstOffset }) => firstOffset));
          }
          expect(got).toEqual(log.filter(({ visible }) => visible).map(({ firstOffset }) => firstOffset));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

import fc from 'fast-check';
import { expect, test } from 'vitest';

import type { RangeBatch } from '../../../src/lib/kafka/range-batch.ts';
import { TimeMerge } from '../../../src/lib/kafka/time-merge.ts';
import type { SourceRecord } from '../../../src/lib/ports.ts';

const record = (offset: number, timestampMs: number): SourceRecord => ({
  offset: BigInt(offset),
  timestampMs,
  key: null,
  value: null,
  headers: [],
});

/** Partitions as lists of batches as lists of timestamps; they arrive in the order that `pick` says. */
function merged(partitions: readonly (readonly (readonly number[])[])[], pick: () => number): readonly string[] {
  const logs = partitions.map((batches, partition) => {
    let offset = 0;
    return batches.map((times, index) => {
      const records = times.map((time) => record(offset++, time));
      return {
        batch: { topic: 't', partition, records, nextPosition: BigInt(offset) } satisfies RangeBatch,
        isLast: index === batches.length - 1,
      };
    });
  });
  const merge = new TimeMerge(
    logs.map((log, partition) => ({ topic: 't', partition, from: 0n, to: log.length === 0 ? 0n : 1n })),
  );
  const out: string[] = [];
  const take = (batches: Iterable<RangeBatch>): void => {
    for (const { partition, records } of batches) {
      out.push(...records.map(({ offset, timestampMs }) => `${timestampMs}:${partition}@${offset}`));
    }
  };
  // As from Kafka: of each partition one batch, and the next when that one is taken.
  const busy = new Set<number>();
  for (;;) {
    const askable = logs.flatMap((log, partition) => (log.length > 0 && !busy.has(partition) ? [partition] : []));
    if (askable.length === 0) {
      break;
    }
    const partition = askable[pick() % askable.length]!;
    const item = logs[partition]!.shift()!;
    busy.add(partition);
    merge.add({ ...item, taken: () => busy.delete(partition) });
    take(merge.ready());
  }
  take(merge.rest());
  return out;
}

test('ordered partitions come out in the order of their times', () => {
  expect(merged([[[1, 4, 9]], [[2, 3], [10]], []], () => 0)).toEqual([
    '1:0@0',
    '2:1@0',
    '3:1@1',
    '4:0@1',
    '9:0@2',
    '10:1@2',
  ]);
});

test('whatever arrives when: nothing is lost, each partition keeps its order, and times rise where they can', () => {
  const times = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 6 });
  const log = fc.array(times, { maxLength: 4 });
  fc.assert(
    fc.property(
      fc.array(log, { minLength: 1, maxLength: 4 }),
      fc.array(fc.nat(), { minLength: 1 }),
      fc.boolean(),
      (given, picks, sorted) => {
        const partitions = sorted
          ? given.map((batches) => {
              const all = batches.flat().toSorted((left, right) => left - right);
              return batches.map(({ length }) => all.splice(0, length));
            })
          : given;
        let step = 0;
        const out = merged(partitions, () => picks[step++ % picks.length]!);
        const expected = partitions.flatMap((batches, partition) =>
          batches.flat().map((time, offset) => `${time}:${partition}@${offset}`),
        );
        expect(out.toSorted()).toEqual(expected.toSorted());
        for (const partition of partitions.keys()) {
          const own = out.filter((entry) => entry.includes(`:${partition}@`));
          expect(own).toEqual(expected.filter((entry) => entry.includes(`:${partition}@`)));
        }
        if (sorted) {
          const order = out.map((entry) => Number(entry.split(':')[0]));
          expect(order).toEqual(order.toSorted((left, right) => left - right));
        }
      },
    ),
    { numRuns: 500 },
  );
});

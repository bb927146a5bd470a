import { expect, test } from 'vitest';

import type { ProjectionChange } from '../../../src/lib/records/projection.ts';
import { MissedChanges } from '../../../src/lib/redis/missed-changes.ts';

const change = (offset: number, text = ''): ProjectionChange => ({
  projection: 0,
  kind: 'upsert',
  key: ['k'],
  columns: [text],
  offset: BigInt(offset),
});
const offsets = (missed: MissedChanges): readonly (readonly [string, number, number])[] =>
  missed.entries().map(
    ([
      entry,
      {
        partition,
        change: { offset },
      },
    ]) => [entry, partition, Number(offset)],
  );

test('of each entry the newest is kept, by partition and offset, whatever the order', () => {
  const missed = new MissedChanges(1_000_000);
  for (const [entry, partition, offset] of [
    ['a', 0, 5],
    ['a', 0, 4],
    ['b', 2, 1],
    ['b', 10, 0],
    ['b', 2, 9],
  ] as const) {
    missed.add(entry, { partition, change: change(offset) });
  }
  expect(offsets(missed)).toEqual([
    ['a', 0, 5],
    ['b', 10, 0],
  ]);
  expect(missed.takeAll()).toBe(false);
});

test('what was made up is forgotten, unless a newer one was missed meanwhile', () => {
  const missed = new MissedChanges(1_000_000);
  missed.add('a', { partition: 0, change: change(1) });
  missed.add('b', { partition: 0, change: change(2) });
  const told = missed.entries();
  missed.add('a', { partition: 0, change: change(3) });
  told.forEach(([entry, version]) => missed.made(entry, version));
  expect(offsets(missed)).toEqual([['a', 0, 3]]);
  missed.entries().forEach(([entry, version]) => missed.made(entry, version));
  expect(missed.isEmpty).toBe(true);
});

test('past its bound it remembers only that everything has to go, and then what comes after', () => {
  const missed = new MissedChanges(10_000);
  for (let entry = 0; entry < 100; entry += 1) {
    missed.add(`entry-${entry}`, { partition: 0, change: change(entry) });
  }
  expect(missed.entries().length).toBeLessThan(50);
  expect(missed.isEmpty).toBe(false);
  expect(missed.takeAll()).toBe(true);
  expect(missed.takeAll()).toBe(false);
});

test('that everything has to go does not make it forget what is newest', () => {
  const missed = new MissedChanges(10_000);
  missed.add('a', { partition: 0, change: change(1) });
  missed.addAll();
  expect(offsets(missed)).toEqual([['a', 0, 1]]);
  missed.entries().forEach(([entry, version]) => missed.made(entry, version));
  expect(missed.isEmpty).toBe(false);
  expect([missed.takeAll(), missed.isEmpty]).toEqual([true, true]);
});

test('one entry that changes again and again takes no more room', () => {
  const missed = new MissedChanges(10_000);
  for (let offset = 0; offset < 1000; offset += 1) {
    missed.add('a', { partition: 0, change: change(offset, 'x'.repeat(100)) });
  }
  expect(offsets(missed)).toEqual([['a', 0, 999]]);
  expect(missed.takeAll()).toBe(false);
});

import { expect, test } from 'vitest';

import { askUntilSettled } from '../../../src/lib/kafka/repeat.ts';

const isMoving = (answer: string): boolean => answer === 'moving';

test('only what is moving is asked again, until it is not', async () => {
  const asked: (readonly string[])[] = [];
  const answers = await askUntilSettled(
    ['a', 'b', 'c'],
    (open) => {
      asked.push(open);
      const still = asked.length < 3 ? open.filter((key) => key !== 'a') : [];
      return Promise.resolve(new Map(open.map((key) => [key, still.includes(key) ? 'moving' : `${key} settled`])));
    },
    isMoving,
    performance.now() + 60_000,
  );
  expect(asked).toEqual([
    ['a', 'b', 'c'],
    ['b', 'c'],
    ['b', 'c'],
  ]);
  expect([...answers]).toEqual([
    ['a', 'a settled'],
    ['b', 'b settled'],
    ['c', 'c settled'],
  ]);
});

test('what is moving when the time is over stays so; no keys, no question', async () => {
  let rounds = 0;
  const ask = (open: readonly string[]): Promise<ReadonlyMap<string, string>> => {
    rounds += 1;
    return Promise.resolve(new Map(open.map((key) => [key, 'moving'])));
  };
  expect([...(await askUntilSettled(['a'], ask, isMoving, performance.now()))]).toEqual([['a', 'moving']]);
  expect(rounds).toBe(1);
  expect((await askUntilSettled([], ask, isMoving, performance.now() + 60_000)).size).toBe(0);
  expect(rounds).toBe(1);
});

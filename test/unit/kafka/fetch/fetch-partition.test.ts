import { expect, test } from 'vitest';

import { FetchPartition } from '../../../../src/lib/kafka/fetch/fetch-partition.ts';
import type { FetchedBytes } from '../../../../src/lib/kafka/fetch-request.ts';
import { encodeBatch } from '../../../support/record-batches.ts';

const leader = (leaderEpoch: number) => ({ host: 'a', port: 1, leaderEpoch, topicId: 'id' });

function opened(position = 0n): FetchPartition {
  const partition = new FetchPartition({ topic: 'events', partition: 2 }, position, () => Promise.resolve());
  partition.lead(leader(5));
  return partition;
}

const answered = (...batches: readonly Buffer[]): FetchedBytes => ({
  topic: 'events',
  partition: 2,
  errorCode: 0,
  highWatermark: 100n,
  lastStableOffset: 100n,
  aborted: [],
  batches,
  divergesAt: null,
  leader: null,
});
const batch = encodeBatch({ baseOffset: 10, records: [{ offsetDelta: 0 }, { offsetDelta: 1 }], leaderEpoch: 4 });

test('a question is open until it is answered, and a seek or a removal overtakes it', () => {
  const partition = opened(10n);
  const first = partition.ask();
  expect(first.question).toMatchObject({ position: 10n, topicId: 'id', leaderEpoch: 5, lastFetchedEpoch: -1 });
  expect(partition.mayBeAsked).toBe(false);
  partition.seek(3n);
  expect(partition.mayBeAsked).toBe(true);
  const second = partition.ask();
  expect(partition.settle(first)).toBe(false);
  expect(partition.mayBeAsked).toBe(false);
  expect(partition.settle(second)).toBe(true);
  const third = partition.ask();
  partition.remove();
  expect(partition.settle(third)).toBe(false);
  expect(partition.mayBeAsked).toBe(false);
});

test('an answer moves the position behind its whole batches, and waits; the next question says what it followed', () => {
  const partition = opened(11n);
  expect(partition.take(answered(batch, batch.subarray(0, 70)))).toBeNull();
  expect(partition.waiting).toMatchObject({ position: 11n, nextPosition: 12n, bytes: batch.length + 70 });
  expect(partition.mayBeAsked).toBe(false);
  partition.waiting = null;
  expect(partition.ask().question).toMatchObject({ position: 12n, lastFetchedEpoch: 4 });
});

test('an answer without a whole batch, or with one from before the position, leaves everything as it is', () => {
  const partition = opened(12n);
  partition.take(answered());
  partition.take(answered(batch.subarray(0, 65)));
  partition.take(answered(batch));
  expect(partition.waiting).toBeNull();
  expect(partition.position).toBe(12n);
});

test('an older leader than the one that is known is none', () => {
  const partition = opened();
  partition.loseLeader(0, () => 1);
  expect(partition.lead(leader(4))).toBe(false);
  expect(partition.leader).toBeNull();
  expect(partition.lead(leader(5))).toBe(true);
});

test('the pause before the cluster is asked again grows to a second, and an answer ends it', () => {
  const partition = opened();
  const pauses = Array.from({ length: 8 }, () => {
    partition.loseLeader(0, () => 1);
    return partition.retryAtMs;
  });
  expect(pauses).toEqual([100, 200, 400, 800, 1000, 1000, 1000, 1000]);
  partition.take(answered(batch));
  expect(partition.failures).toBe(0);
});

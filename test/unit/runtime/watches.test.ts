import { describe, expect, test } from 'vitest';

import type { ClusterAdmin, OffsetAnswer } from '../../../src/lib/ports.ts';
import { untilDrained, type WatchedRun, type WatchedWorker } from '../../../src/lib/runtime/watches.ts';

const worker = (writtenPosition: bigint, isIdle = true): WatchedWorker => ({
  claim: { topic: 'events', partition: 0, position: 0n, epoch: 1n },
  writtenPosition,
  isIdle,
  isClosed: false,
});
const end = (offset: bigint | null): readonly OffsetAnswer[] => [
  { topic: 'events', partition: 0, offset, timestampMs: null },
];

/** Answers one look after the other, the last one for ever; resolves with how many it took. */
async function looks(
  workers: readonly (readonly WatchedWorker[])[],
  ends: readonly (readonly OffsetAnswer[])[],
): Promise<number> {
  let look = 0;
  const at = <Value>(values: readonly Value[]): Value => values[Math.min(look, values.length) - 1]!;
  const run: WatchedRun = {
    workers: () => {
      look += 1;
      return at(workers);
    },
    assigned: () => at(workers).length,
    isEnding: () => false,
    stillMs: () => 0,
  };
  const admin = { listOffsets: () => Promise.resolve(at(ends)) } as unknown as ClusterAdmin;
  await untilDrained(run, admin, new AbortController().signal, 1);
  return look;
}

describe('a run is drained', () => {
  test('when what it holds is written up to the end, and not while a batch is in hand', async () => {
    expect(await looks([[worker(10n)]], [end(10n)])).toBe(1);
    expect(await looks([[worker(9n)], [worker(10n, false)], [worker(10n)]], [end(10n)])).toBe(3);
  });

  test('not while Kafka names no end', async () => {
    expect(await looks([[worker(3n)]], [[], end(null), end(3n)])).toBe(3);
  });

  test('not at once where the group gave nothing: what it gives next still counts', async () => {
    expect(await looks([[], [], [worker(5n)], [worker(10n)]], [end(10n)])).toBe(4);
    expect(await looks([[]], [[]])).toBe(20);
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import type { RetentionBounds } from '../../../src/lib/health/cluster-observation.ts';
import {
  directoryKey,
  forecastDisk,
  noDiskHistory,
  rememberDisks,
  timeUntilFull,
  type DiskHistory,
  type GrowingReplica,
} from '../../../src/lib/health/disk-forecast.ts';
import { cluster, directory } from './cluster-fixtures.ts';

const grows = (perSec: number, room: number): GrowingReplica => ({ bytes: 0, perSec, limit: room });
const never = Number.POSITIVE_INFINITY;

describe('timeUntilFull', () => {
  test.each<[string, readonly GrowingReplica[], number, number, number | null]>([
    ['nothing grows', [grows(0, 0)], 0, 100, null],
    ['one that never stops', [grows(10, never)], 0, 100, 10_000],
    ['two at once', [grows(10, never), grows(10, never)], 0, 100, 5000],
    ['one that settles before', [grows(10, 50)], 0, 100, null],
    ['one that settles too late', [grows(10, 150)], 0, 100, 10_000],
    ['the first settles, the second fills', [grows(10, 50), grows(10, never)], 0, 150, 10_000],
    ['only something else writes', [], 5, 100, 20_000],
    ['replicas settle, something else goes on', [grows(10, 50)], 10, 150, 10_000],
    ['full now', [grows(1, never)], 0, 0, 0],
  ])('%s', (_, replicas, other, room, expected) => {
    expect(timeUntilFull(replicas, other, room)).toBe(expected);
  });

  test('is what growing step by step comes to', () => {
    const replica = fc.record({ perSec: fc.integer({ min: 0, max: 20 }), limit: fc.integer({ min: 0, max: 400 }) });
    fc.assert(
      fc.property(
        fc.array(replica, { maxLength: 5 }),
        fc.nat(5),
        fc.integer({ min: 1, max: 2000 }),
        (list, other, room) => {
          const replicas = list.map(({ perSec, limit }) => ({ bytes: 0, perSec, limit }));
          const used = (seconds: number): number =>
            replicas.reduce((sum, { perSec, limit }) => sum + Math.min(limit, perSec * seconds), other * seconds);
          const ms = timeUntilFull(replicas, other, room);
          if (ms === null) {
            expect(used(1_000_000)).toBeLessThanOrEqual(room);
          } else {
            expect(used(ms / 1000)).toBeGreaterThanOrEqual(room - 1);
            expect(used(Math.max(0, ms / 1000 - 0.002))).toBeLessThanOrEqual(room);
          }
        },
      ),
    );
  });
});

describe('forecastDisk', () => {
  const bounds: RetentionBounds = { retentionMs: 20_000, retentionBytes: null, segmentBytes: 10 };
  const samples = (...looks: readonly [atMs: number, usableBytes: number | null, bytes: number][]): DiskHistory =>
    looks.reduce(
      (history, [observedAtMs, usableBytes, bytes]) =>
        rememberDisks(
          history,
          cluster({
            observedAtMs,
            brokers: cluster()
              .brokers.slice(0, 1)
              .map((broker) => ({
                ...broker,
                logDirectories: [directory({ usableBytes, replicas: [{ topic: 'events', partition: 0, bytes }] })],
              })),
          }),
        ),
      noDiskHistory,
    );
  const seenNow = (usableBytes: number | null, bytes: number) =>
    directory({ usableBytes, replicas: [{ topic: 'events', partition: 0, bytes }] });
  const of = (history: DiskHistory) => history.get(directoryKey(1, '/data')) ?? [];

  test('one look tells no growth', () => {
    expect(forecastDisk(seenNow(500, 100), of(samples([0, 500, 100])), () => bounds)).toEqual({
      kind: 'unknown',
      reason: 'seen only once: growth needs two looks',
    });
  });

  test('retention holds the replica before the disk is full', () => {
    const history = samples([0, 500, 100], [10_000, 400, 200]);
    expect(forecastDisk(seenNow(400, 200), of(history), () => bounds)).toEqual({
      kind: 'known',
      forecast: { growthPerSec: 10, otherPerSec: 0, fullInMs: null, settlesAtBytes: 210 },
    });
  });

  test('without retention it goes on; what else writes is apart', () => {
    const history = samples([0, 500, 100], [10_000, 300, 200]);
    expect(forecastDisk(seenNow(300, 200), of(history), () => null)).toEqual({
      kind: 'known',
      forecast: { growthPerSec: 10, otherPerSec: 10, fullInMs: 15_000, settlesAtBytes: null },
    });
  });

  test('records that are deleted are no growth below zero', () => {
    const history = samples([0, 500, 300], [10_000, 700, 100]);
    expect(forecastDisk(seenNow(700, 100), of(history), () => null)).toMatchObject({
      forecast: { growthPerSec: 0, otherPerSec: 0, fullInMs: null },
    });
  });

  test('a broker that does not tell the size of its disk', () => {
    const history = samples([0, null, 100], [10_000, null, 200]);
    expect(forecastDisk(seenNow(null, 200), of(history), () => bounds)).toMatchObject({
      kind: 'unknown',
      reason: 'the broker does not tell the size of its disk',
    });
  });

  test('keeps sixty looks', () => {
    const history = samples(...Array.from({ length: 70 }, (_, at): [number, number, number] => [at, 1, 1]));
    expect(of(history)).toHaveLength(60);
    expect(of(history)[0]?.atMs).toBe(10);
  });
});

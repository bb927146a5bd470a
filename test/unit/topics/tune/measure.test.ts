import { describe, expect, test } from 'vitest';

import type { ThroughputLook } from '../../../../src/lib/offsets/throughput.ts';
import { historyOf } from '../../../../src/lib/topics/tune/log-history.ts';
import { measureTopic, type TopicFacts } from '../../../../src/lib/topics/tune/measure.ts';
import { peakOf } from '../../../../src/lib/topics/tune/peak.ts';
import { batches } from './fixtures.ts';

const facts: TopicFacts = {
  topic: 'events',
  partitions: 2,
  replicationFactor: 1,
  retentionMs: 1000,
  retentionBytes: -1,
  minInsyncReplicas: 1,
  compacted: false,
  diskBytes: 10,
  history: null,
  batches: null,
  readers: [{ role: 'events', group: 'g', members: 2 }],
};

interface Seen {
  readonly atMs: number;
  readonly ends: readonly (number | null)[];
  readonly bytes?: readonly (number | null)[];
  readonly positions?: readonly number[];
}

function look({ atMs, ends, bytes = ends.map((end) => (end ?? 0) * 100), positions = [] }: Seen): ThroughputLook {
  return {
    atMs,
    partitions: ends.map((end, partition) => ({
      topic: 'events',
      partition,
      leader: 1,
      highWatermark: end === null ? null : BigInt(end),
      bytes: bytes[partition] ?? null,
    })),
    groups: positions.map((position, partition) => ({
      group: 'g',
      topic: 'events',
      partition,
      position: BigInt(position),
    })),
  };
}

describe('rates', () => {
  test('the mean over the watch, the peak over five seconds of it', () => {
    // 0–5 s: 500 records; 5–10 s: 2,000; 10–20 s: none
    const looks = [
      look({ atMs: 0, ends: [0, 0] }),
      look({ atMs: 5000, ends: [500, 0] }),
      look({ atMs: 10_000, ends: [1500, 1000] }),
      look({ atMs: 20_000, ends: [1500, 1000] }),
    ];
    expect(measureTopic(facts, looks)).toMatchObject({
      watchedMs: 20_000,
      looks: 4,
      recordsPerSec: 125,
      bytesPerSec: 12_500,
      peakRecordsPerSec: 400,
      peakBytesPerSec: 40_000,
      busiestPartitionBytesPerSec: 20_000,
    });
  });

  test('a watch shorter than five seconds is its own peak', () => {
    const looks = [look({ atMs: 0, ends: [0, 0] }), look({ atMs: 2000, ends: [100, 100] })];
    expect(measureTopic(facts, looks)).toMatchObject({ recordsPerSec: 100, peakRecordsPerSec: 100 });
  });

  test('one look, or none, is no rate', () => {
    for (const looks of [[], [look({ atMs: 0, ends: [5, 5] })]]) {
      const measured = measureTopic(facts, looks);
      expect([measured.watchedMs, measured.recordsPerSec, measured.peakRecordsPerSec]).toEqual([0, null, null]);
      expect(peakOf(measured)).toBeNull();
    }
  });

  test('a log that shrank: bytes by the records, or not at all', () => {
    const looks = [
      look({ atMs: 0, ends: [0, 0], bytes: [900, 0] }),
      look({ atMs: 10_000, ends: [100, 100], bytes: [100, 10_000] }),
    ];
    expect(measureTopic(facts, looks)).toMatchObject({ recordsPerSec: 20, bytesPerSec: null });
    // 20 records/s of 100 B
    expect(measureTopic({ ...facts, batches: batches() }, looks)).toMatchObject({ bytesPerSec: 2000 });
  });

  test('a topic that was made again goes back: no rate, never a negative one', () => {
    const looks = [look({ atMs: 0, ends: [500, 500] }), look({ atMs: 10_000, ends: [3, 4] })];
    expect(measureTopic(facts, looks)).toMatchObject({ recordsPerSec: null, peakRecordsPerSec: null });
  });
});

describe('readers', () => {
  const reading = (over: readonly Seen[]): unknown => measureTopic(facts, over.map(look)).readers[0];

  test('with a backlog at every look its rate is what it can do', () => {
    expect(
      reading([
        { atMs: 0, ends: [10_000, 10_000], positions: [0, 0] },
        { atMs: 10_000, ends: [10_000, 10_000], positions: [500, 500] },
      ]),
    ).toEqual({
      role: 'events',
      group: 'g',
      members: 2,
      recordsPerSec: 100,
      leastLagRecords: 19_000,
      saturated: true,
    });
  });

  test('less than two seconds of work is no backlog', () => {
    expect(
      reading([
        { atMs: 0, ends: [1000, 1000], positions: [900, 900] },
        { atMs: 10_000, ends: [2000, 2000], positions: [1950, 1951] },
      ]),
    ).toMatchObject({ recordsPerSec: 210.1, leastLagRecords: 99, saturated: false });
  });

  test('one that stands with a backlog has no rate to count with', () => {
    expect(
      reading([
        { atMs: 0, ends: [1000, 1000], positions: [0, 0] },
        { atMs: 10_000, ends: [2000, 2000], positions: [0, 0] },
      ]),
    ).toMatchObject({ recordsPerSec: 0, saturated: false });
  });

  test('no commits: not known', () => {
    expect(
      reading([
        { atMs: 0, ends: [1, 1] },
        { atMs: 9000, ends: [2, 2] },
      ]),
    ).toMatchObject({
      recordsPerSec: null,
      leastLagRecords: null,
      saturated: false,
    });
  });
});

describe('the log’s own history', () => {
  const hour = 3_600_000;
  const timeline = (logStartOffset: number, ...offsets: readonly number[]) => ({
    logStartOffset: BigInt(logStartOffset),
    offsets: offsets.map(BigInt),
  });

  test('mean and peak of its hours', () => {
    // 3,600 and 10,800 records in an hour, over two partitions
    expect(historyOf([timeline(0, 10, 1810, 7210), timeline(0, 0, 1800, 7200)], hour)).toEqual({
      spanMs: 2 * hour,
      stepMs: hour,
      meanRecordsPerSec: 2,
      peakRecordsPerSec: 3,
    });
  });

  test('hours whose records were deleted, and those before the first record, say nothing', () => {
    expect(historyOf([timeline(500, 500, 500, 4100)], hour)).toBeNull();
    expect(historyOf([timeline(500, 500, 600, 4200)], hour)).toMatchObject({ spanMs: hour, peakRecordsPerSec: 1 });
    // It began in the second hour, and came for the whole of the third.
    expect(historyOf([timeline(0, 0, 0, 36, 3636)], hour)).toMatchObject({ spanMs: hour, meanRecordsPerSec: 1 });
    expect(historyOf([timeline(0, 0, 0, 0, 36)], hour)).toBeNull();
    expect(historyOf([timeline(0, 0, 0, 0)], hour)).toBeNull();
  });

  test('an idle log that holds older records was idle', () => {
    expect(historyOf([timeline(0, 90, 90, 90)], hour)).toMatchObject({ spanMs: 2 * hour, peakRecordsPerSec: 0 });
  });

  test('times that do not rise count nothing, never less', () => {
    expect(historyOf([timeline(0, 100, 50, 3650)], hour)).toMatchObject({
      meanRecordsPerSec: 0.5,
      peakRecordsPerSec: 1,
    });
  });

  test('nothing to look at', () => {
    expect(historyOf([], hour)).toBeNull();
    expect(historyOf([timeline(0)], hour)).toBeNull();
    expect(historyOf([timeline(0, 1, 2)], 0)).toBeNull();
  });
});

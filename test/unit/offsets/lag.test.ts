import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { remember, type LagHistory } from '../../../src/lib/offsets/history.ts';
import type { GroupLag } from '../../../src/lib/offsets/lag-report.ts';
import { calculateLag } from '../../../src/lib/offsets/lag.ts';
import { lossIn } from '../../../src/lib/offsets/loss.ts';
import type { GroupObservation, LagObservation, PartitionObservation } from '../../../src/lib/offsets/observation.ts';
import { partitionLagNow } from '../../../src/lib/offsets/partition-lag.ts';
import { defaultJudgement } from '../../../src/lib/offsets/status.ts';
import { day, group, nowMs, observation, partition } from './lag-fixtures.ts';

/** Judges the last of the looks with those before it, as `LagWatch` does. */
function lagAfter(looks: readonly LagObservation[]): GroupLag {
  let history: LagHistory = new Map();
  for (const seen of looks) {
    history = remember(history, seen, (_group, at) => partitionLagNow(at, [], seen.observedAtMs), defaultJudgement);
  }
  return calculateLag(looks.at(-1)!, history, defaultJudgement).roles[0]!;
}

const lagOf = (partitions: readonly PartitionObservation[], over: Partial<GroupObservation> = {}): GroupLag =>
  lagAfter([observation([group(partitions, over)])]);

describe('lag of a partition', () => {
  test('is what lies between the position and the high watermark, and the age of the first unread record', () => {
    expect(lagOf([partition()])).toMatchObject({
      lagRecords: 600,
      timeLagMs: 60_000,
      timeLagMethod: 'record',
      lossInMs: 7 * day - 60_000,
    });
  });

  test('counts from the log start where the position has expired, and tells what was lost', () => {
    const lag = lagOf([partition({ position: 100n, logStartOffset: 300n })]);
    expect(lag).toMatchObject({ lagRecords: 700, lostRecords: 200 });
    expect(lag.partitions[0]?.reason).toContain('200 records expired before they were read');
  });

  test('is 0 behind control and aborted records', () => {
    expect(lagOf([partition({ firstUnread: { kind: 'nothing' } })])).toMatchObject({
      lagRecords: 0,
      timeLagMs: 0,
      status: 'ok',
      lossInMs: 7 * day,
    });
  });

  test.each([
    ['nothing was ever committed', { position: null, committedOffset: null }, 'never started: no position yet'],
    [
      'the position is beyond the end',
      { position: 2000n },
      "the position 2000 is beyond the log's end 1000: was the topic recreated?",
    ],
    ['the partition has no leader', { highWatermark: null, logStartOffset: null }, 'the log cannot be read'],
    [
      'PostgreSQL forgot it',
      { position: null, positionProblem: 'PostgreSQL holds no position' },
      'PostgreSQL holds no position',
    ],
  ])('is not known where %s, and no alarm', (_name, over, reason) => {
    const lag = lagOf([partition({ firstUnread: null, ...over })]);
    expect(lag).toMatchObject({ lagRecords: null, timeLagMs: null, drainMs: null, status: 'unknown' });
    expect(lag.unknown['lagRecords']).toBe(reason);
  });

  test('is 0 in a partition that is empty and was never read', () => {
    const empty = partition({ position: null, committedOffset: null, highWatermark: 0n, firstUnread: null });
    expect(lagOf([empty])).toMatchObject({ lagRecords: 0, timeLagMs: 0, status: 'ok' });
  });

  test.each([
    [
      'an open transaction',
      { kind: 'held', lastStableOffset: 400n } as const,
      'an open transaction holds records back from offset 400',
    ],
    [
      'no answer',
      { kind: 'unknown', reason: 'Kafka says TOPIC_AUTHORIZATION_FAILED' } as const,
      'Kafka says TOPIC_AUTHORIZATION_FAILED',
    ],
    [
      'a record without a time',
      { kind: 'record', offset: 400n, timestampMs: -1, exact: true } as const,
      'the record carries no timestamp',
    ],
  ])('has no age with %s, but its records', (_name, firstUnread, reason) => {
    const lag = lagOf([partition({ firstUnread })]);
    expect(lag).toMatchObject({ lagRecords: 600, timeLagMs: null, timeLagMethod: null });
    expect(lag.unknown['timeLagMs']).toBe(reason);
  });

  test('of a record from the future is 0 ms old, not less', () => {
    const future = { kind: 'record', offset: 400n, timestampMs: nowMs + 5000, exact: true } as const;
    expect(lagOf([partition({ firstUnread: future })]).timeLagMs).toBe(0);
  });

  test('is an estimate where the time was interpolated', () => {
    const inBatch = { kind: 'record', offset: 400n, timestampMs: nowMs - 9000, exact: false } as const;
    expect(lagOf([partition({ firstUnread: inBatch })])).toMatchObject({ timeLagMs: 9000, timeLagMethod: 'estimate' });
    const looks = [0, 10, 20, 30].map((seconds) =>
      observation(
        [
          group([
            partition({
              position: 1050n,
              committedOffset: 1050n,
              highWatermark: 1000n + BigInt(seconds * 10),
              firstUnread: { kind: 'unknown', reason: 'no rights' },
            }),
          ]),
        ],
        {
          observedAtMs: nowMs + seconds * 1000,
        },
      ),
    );
    expect(lagAfter(looks.slice(1))).toMatchObject({ timeLagMs: null });
    expect(lagAfter(looks)).toMatchObject({ lagRecords: 250, timeLagMs: 25_000, timeLagMethod: 'estimate' });
  });
});

describe('rates', () => {
  const at = (seconds: number, position: number, end: number): LagObservation =>
    observation(
      [
        group([
          partition({ position: BigInt(position), committedOffset: BigInt(position), highWatermark: BigInt(end) }),
        ]),
      ],
      {
        observedAtMs: nowMs + seconds * 1000,
      },
    );

  test('need two looks', () => {
    expect(lagAfter([at(0, 400, 1000)])).toMatchObject({ inPerSec: null, outPerSec: null, drainMs: null });
  });

  test('give the time until the lag is gone', () => {
    expect(lagAfter([at(0, 400, 1000), at(10, 800, 1200)])).toMatchObject({
      inPerSec: 20,
      outPerSec: 40,
      lagRecords: 400,
      drainMs: 20_000,
    });
  });

  test('that do not gain on the log never drain it', () => {
    const lag = lagAfter([at(0, 400, 1000), at(10, 500, 1200)]);
    expect(lag).toMatchObject({ drainMs: null, unknown: { drainMs: 'never' } });
  });

  test('that went back are not known', () => {
    expect(lagAfter([at(0, 400, 1000), at(10, 100, 1200)])).toMatchObject({ inPerSec: 20, outPerSec: null });
  });
});

describe('status', () => {
  const looksEvery2s = (
    count: number,
    over: (index: number) => Partial<PartitionObservation>,
    groupOver: Partial<GroupObservation> = {},
  ): readonly LagObservation[] =>
    Array.from({ length: count }, (_, index) =>
      observation([group([partition(over(index))], groupOver)], { observedAtMs: nowMs + index * 2000 }),
    );
  const unreadFor = (ms: number): Partial<PartitionObservation> => ({
    firstUnread: { kind: 'record', offset: 400n, timestampMs: nowMs - ms, exact: true },
  });

  test('stall: a member holds the partition, the position stands', () => {
    const looks = looksEvery2s(15, (index) => ({ ...unreadFor(60_000), highWatermark: 1000n + BigInt(index * 100) }));
    expect(lagAfter(looks)).toMatchObject({ status: 'stall' });
  });

  test('stop: nobody is in the group, known with one look by the age of what is unread', () => {
    const lag = lagAfter(looksEvery2s(1, () => unreadFor(600_000), { state: 'Empty', members: 0 }));
    expect(lag).toMatchObject({ status: 'stop', reason: 'partition events-0: no member reads it, unread for 10m' });
  });

  test('stop: PostgreSQL tells when the position was written, with members or without', () => {
    const stored = { ...unreadFor(600_000), positionWrittenAtMs: nowMs - 2 * day };
    expect(lagAfter(looksEvery2s(1, () => stored, { positionSource: 'postgres' }))).toMatchObject({
      status: 'stop',
      reason: 'partition events-0: no commit for 2d',
    });
  });

  test('no alarm: an empty group that has read everything', () => {
    const done = { position: 1000n, committedOffset: 1000n, firstUnread: null };
    expect(lagAfter(looksEvery2s(20, () => done, { state: 'Empty', members: 0 }))).toMatchObject({
      status: 'ok',
      lagRecords: 0,
    });
  });

  test('no alarm: a restart that leaves the group empty for some seconds', () => {
    expect(lagAfter(looksEvery2s(3, () => unreadFor(15_000), { state: 'Empty', members: 0 })).status).toBe('unknown');
  });

  test('warn: the position moves, the lag grows', () => {
    const looks = looksEvery2s(15, (index) => ({
      ...unreadFor(60_000),
      position: 400n + BigInt(index),
      committedOffset: 400n + BigInt(index),
      highWatermark: 1000n + BigInt(index * 100),
    }));
    expect(lagAfter(looks)).toMatchObject({ status: 'warn' });
  });
});

describe('a group', () => {
  test('sums what is known, is as old as its oldest, loses first what expires first', () => {
    const lag = lagOf([
      partition(),
      partition({
        partition: 1,
        position: 900n,
        firstUnread: { kind: 'record', offset: 900n, timestampMs: nowMs - 5 * day, exact: true },
      }),
      partition({ partition: 2, position: null, committedOffset: null, firstUnread: null }),
    ]);
    expect(lag).toMatchObject({ lagRecords: 700, timeLagMs: 5 * day, lossInMs: 2 * day });
    expect(lag.reason).toContain('partition events-2: never started: no position yet');
  });

  test('that cannot be seen says why', () => {
    const lag = lagOf([], { problem: 'topic events does not exist', state: 'Dead', protocol: null });
    expect(lag).toMatchObject({ lagRecords: null, status: 'unknown', reason: 'topic events does not exist' });
  });

  test('never has NaN, Infinity or a negative figure, whatever was seen', () => {
    const offset = fc.option(fc.bigInt({ min: 0n, max: 5000n }), { nil: null });
    const unread = fc.option(
      fc.oneof(
        fc.record({
          kind: fc.constant('record' as const),
          offset: fc.bigInt({ min: 0n, max: 5000n }),
          timestampMs: fc.integer({ min: -1, max: nowMs * 2 }),
          exact: fc.boolean(),
        }),
        fc.constant({ kind: 'nothing' as const }),
        fc.constant({ kind: 'unknown' as const, reason: 'why not' }),
      ),
      { nil: null },
    );
    const seen = fc.record({ position: offset, highWatermark: offset, logStartOffset: offset, firstUnread: unread });
    fc.assert(
      fc.property(fc.array(fc.array(seen, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 5 }), (looks) => {
        const lag = lagAfter(
          looks.map((partitions, look) =>
            observation([group(partitions.map((over, index) => partition({ partition: index, ...over })))], {
              observedAtMs: nowMs + look * 2000,
            }),
          ),
        );
        for (const figures of [lag, ...lag.partitions]) {
          for (const name of ['timeLagMs', 'inPerSec', 'outPerSec', 'lossInMs'] as const) {
            const value = figures[name];
            expect(value === null || (Number.isFinite(value) && value >= 0)).toBe(true);
            expect(value === null).toBe(Object.hasOwn(figures.unknown, name));
          }
          expect(figures.lagRecords === null || figures.lagRecords >= 0).toBe(true);
          expect(figures.lagRecords === null).toBe(Object.hasOwn(figures.unknown, 'lagRecords'));
        }
      }),
    );
  });
});

describe('loss-in', () => {
  const week = { retentionMs: 7 * day, retentionBytes: -1, expires: true };

  test.each([
    ['retention less the age', nowMs - day, week, 6 * day],
    ['0 once it has expired', nowMs - 8 * day, week, 0],
    ['a whole retention with nothing unread', 'none' as const, week, 7 * day],
    ['not known without the age', null, week, null],
    ['never with unlimited retention', nowMs - day, { ...week, retentionMs: -1 }, null],
    ['never in a compacted topic', nowMs - day, { ...week, expires: false }, null],
    ['not known with a limit by size', nowMs - day, { ...week, retentionBytes: 1_000_000 }, null],
    ['not known without the configuration', nowMs - day, undefined, null],
  ])('is %s', (_name, oldest, retention, expected) => {
    const loss = lossIn(oldest, retention, nowMs);
    expect(loss.ms).toBe(expected);
    expect('reason' in loss).toBe(expected === null);
  });
});

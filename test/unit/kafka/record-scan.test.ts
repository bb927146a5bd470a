import { gzipSync } from 'node:zlib';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { firstVisibleRecord } from '../../../src/lib/kafka/record-scan.ts';
import { encodeBatch, type PlannedBatch } from '../../support/record-batches.ts';

type BatchPlan = Omit<PlannedBatch, 'records'> & {
  /** [offset delta, timestamp delta in ms] */
  readonly records: readonly (readonly [number, number])[];
};

function batch({ records, ...plan }: BatchPlan): Buffer {
  const value = Buffer.from('value');
  const planned = records.map(([offsetDelta, timestampDelta]) => ({ offsetDelta, timestampDelta, value }));
  return encodeBatch({ ...plan, records: planned });
}

const tenASecond = Array.from({ length: 10 }, (_, index) => [index, index * 100] as const);
const scan = (
  batches: readonly BatchPlan[],
  position: number,
  aborted: readonly { producerId: bigint; firstOffset: bigint }[] = [],
) => firstVisibleRecord(Buffer.concat(batches.map(batch)), BigInt(position), aborted);
const found = (offset: number, timestampMs: number, exact = true) => ({
  kind: 'record',
  offset: BigInt(offset),
  timestampMs,
  exact,
});

describe('the first record at a position', () => {
  test.each(['none', 'gzip', 'zstd'] as const)('is found inside a batch (%s)', (codec) => {
    expect(scan([{ baseOffset: 100, records: tenASecond, codec }], 107)).toEqual(found(107, 1_000_700));
  });

  test('is the next one where compaction took the one at the position', () => {
    expect(
      scan(
        [
          {
            baseOffset: 100,
            records: [
              [0, 0],
              [5, 500],
            ],
            lastOffsetDelta: 9,
          },
        ],
        102,
      ),
    ).toEqual(found(105, 1_000_500));
    expect(
      scan(
        [
          { baseOffset: 100, records: [[0, 0]], lastOffsetDelta: 9 },
          { baseOffset: 110, records: [[0, 0]], baseTimestampMs: 5 },
        ],
        103,
      ),
    ).toEqual(found(110, 5));
  });

  test('has the time that the log gave it, where the topic says so', () => {
    expect(scan([{ baseOffset: 100, records: tenASecond, logAppendTime: true }], 103)).toEqual(found(103, 1_000_900));
  });

  test('has an interpolated time, marked, in a batch that is not unpacked', () => {
    expect(scan([{ baseOffset: 100, records: tenASecond, codec: 'snappy' }], 103)).toEqual(
      found(103, 1_000_300, false),
    );
  });

  test('has the exact time at the beginning of such a batch', () => {
    expect(scan([{ baseOffset: 100, records: tenASecond, codec: 'snappy' }], 90)).toEqual(found(100, 1_000_000));
  });

  test('of a bomb is interpolated, not unpacked', () => {
    const bomb = batch({ baseOffset: 100, records: tenASecond, codec: 'gzip' });
    const packed = gzipSync(Buffer.alloc(40_000_000));
    const header = Buffer.from(bomb.subarray(0, 61));
    header.writeInt32BE(61 - 12 + packed.length, 8);
    expect(firstVisibleRecord(Buffer.concat([header, packed]), 103n, [])).toEqual(found(103, 1_000_300, false));
  });
});

describe('what a read-committed consumer does not get', () => {
  test('control records: nothing is left behind them', () => {
    expect(scan([{ baseOffset: 7, records: [[0, 0]], kind: 'control', producerId: 1 }], 7)).toEqual({
      kind: 'none',
      nextPosition: 8n,
    });
  });

  test('aborted records, up to the marker that aborts them', () => {
    const aborted = [{ producerId: 1n, firstOffset: 10n }];
    const batches: readonly BatchPlan[] = [
      {
        baseOffset: 10,
        records: [
          [0, 0],
          [1, 0],
        ],
        kind: 'transactional',
        producerId: 1,
      },
      { baseOffset: 12, records: [[0, 0]], kind: 'control', producerId: 1 },
      { baseOffset: 13, records: [[0, 0]], kind: 'transactional', producerId: 1, baseTimestampMs: 77 },
    ];
    expect(scan(batches, 10, aborted)).toEqual(found(13, 77));
    expect(scan(batches.slice(0, 2), 10, aborted)).toEqual({ kind: 'none', nextPosition: 13n });
  });

  test('aborted records only of that producer', () => {
    const aborted = [{ producerId: 1n, firstOffset: 10n }];
    const other: BatchPlan = {
      baseOffset: 11,
      records: [[0, 0]],
      kind: 'transactional',
      producerId: 2,
      baseTimestampMs: 88,
    };
    expect(
      scan([{ baseOffset: 10, records: [[0, 0]], kind: 'transactional', producerId: 1 }, other], 10, aborted),
    ).toEqual(found(11, 88));
  });
});

describe('bytes', () => {
  test('of a batch that is cut off are left for the next fetch', () => {
    const whole = batch({ baseOffset: 100, records: tenASecond });
    expect(firstVisibleRecord(whole.subarray(0, whole.length - 1), 100n, [])).toEqual({
      kind: 'none',
      nextPosition: 100n,
    });
    expect(firstVisibleRecord(Buffer.alloc(0), 100n, [])).toEqual({ kind: 'none', nextPosition: 100n });
  });

  test('of a format before 0.11 are named', () => {
    const old = batch({ baseOffset: 100, records: tenASecond });
    old.writeInt8(1, 16);
    expect(firstVisibleRecord(old, 100n, [])).toEqual({ kind: 'old format' });
  });

  test('that are broken in a record end the search, and do not hang or throw', () => {
    const whole = batch({ baseOffset: 100, records: tenASecond });
    fc.assert(
      fc.property(fc.integer({ min: 61, max: whole.length - 1 }), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const broken = Buffer.from(whole);
        broken[at] = byte;
        expect(['record', 'none']).toContain(firstVisibleRecord(broken, 105n, []).kind);
      }),
    );
  });

  test('of any batch give the record that a plain search gives', () => {
    const plan = fc
      .array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 10_000_000_000 })), {
        minLength: 1,
        maxLength: 30,
      })
      .map((steps) => {
        let offset = -1;
        return steps.map(([step, time]) => [(offset += step), time] as const);
      });
    fc.assert(
      fc.property(
        plan,
        fc.integer({ min: 0, max: 200 }),
        fc.constantFrom('none' as const, 'zstd' as const),
        (records, position, codec) => {
          const expected = records.find(([offset]) => 50 + offset >= position);
          const result = scan([{ baseOffset: 50, records, codec }], position);
          expect(result).toEqual(
            expected === undefined
              ? { kind: 'none', nextPosition: BigInt(Math.max(position, 50 + records.at(-1)![0] + 1)) }
              : found(50 + expected[0], 1_000_000 + expected[1]),
          );
        },
      ),
    );
  });
});

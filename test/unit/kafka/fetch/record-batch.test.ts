import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { findBatches } from '../../../../src/lib/kafka/fetch/record-batch.ts';
import { encodeBatch } from '../../../support/record-batches.ts';

const first = encodeBatch({ baseOffset: 100, records: [{ offsetDelta: 0 }, { offsetDelta: 4 }], leaderEpoch: 3 });
const second = encodeBatch({
  baseOffset: 105,
  records: [{ offsetDelta: 0, timestampDelta: -20 }],
  kind: 'transactional',
  producerId: 7,
  baseTimestampMs: -5,
  codec: 'gzip',
});

describe('batches in fetched bytes', () => {
  test('are found with what their headers say', () => {
    const { batches, foreign } = findBatches([Buffer.concat([first, second])]);
    expect(foreign).toBeNull();
    expect(batches).toMatchObject([
      { baseOffset: 100n, lastOffset: 104n, leaderEpoch: 3, codec: 0, transactional: false, control: false, count: 2 },
      {
        baseOffset: 105n,
        codec: 1,
        transactional: true,
        producerId: 7n,
        baseTimestampMs: -5,
        maxTimestampMs: -5,
        count: 1,
      },
    ]);
  });

  test('are whole ones, wherever the answer is cut off', () => {
    const both = Buffer.concat([first, second]);
    fc.assert(
      fc.property(fc.nat(both.length), (cut) => {
        const { batches, foreign } = findBatches([both.subarray(0, cut)]);
        expect(foreign).toBeNull();
        expect(batches).toHaveLength(cut < first.length ? 0 : cut < both.length ? 1 : 2);
      }),
    );
  });

  test.each([0, 1, 3])('of format %d are named, with their offset', (magic) => {
    const other = Buffer.from(second);
    other.writeInt8(magic, 16);
    const { batches, foreign } = findBatches([first, other]);
    expect(batches).toHaveLength(1);
    expect(foreign).toEqual({ offset: 105n, magic });
  });

  test.each([-1, -(2 ** 31), 0, 48])('whose length is %d end the search', (length) => {
    const broken = Buffer.from(first);
    broken.writeInt32BE(length, 8);
    expect(findBatches([broken])).toEqual({ batches: [], foreign: { offset: 100n, magic: 2 } });
  });
});

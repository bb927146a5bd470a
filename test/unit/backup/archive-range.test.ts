import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { archiveRange } from '../../../src/lib/backup/archive-range.ts';
import {
  formatLsn,
  parseLsn,
  parseSegmentName,
  segmentAt,
  segmentBefore,
  segmentName,
} from '../../../src/lib/backup/lsn.ts';

const mb = 1024 * 1024;
const segmentBytes = 16 * mb;
const at = (number: number): bigint => BigInt(number) * BigInt(segmentBytes);
const name = (number: number, timeline = 1): string => segmentName({ timeline, number: BigInt(number) }, segmentBytes);
const held = (...numbers: number[]) => numbers.map((number) => ({ name: name(number), complete: true }));
const question = { timeline: 1, segmentBytes, startLsn: at(3) + 40n, neededLsn: at(5) + 1n };

describe('LSNs and segments', () => {
  test.each([
    ['0/0', 0n],
    ['0/3000148', 0x3000148n],
    ['16/B374D848', 0x16b374d848n],
    ['FFFFFFFF/FFFFFFFF', 0xffffffffffffffffn],
  ])('given %s, then it is read and written the same', (text, lsn) => {
    expect(parseLsn(text)).toBe(lsn);
    expect(formatLsn(lsn)).toBe(text);
  });

  test.each(['', '0', '0/', 'x/1', '0/100000000', '1/2/3'])('given %s, then it is no LSN', (text) => {
    expect(parseLsn(text)).toBeUndefined();
  });

  test.each([
    [16 * mb, '0/0', '000000010000000000000000'],
    [16 * mb, '16/B374D848', '0000000100000016000000B3'],
    [mb, '0/2F00028', '00000001000000000000002F'],
    [mb, '1/00100000', '000000010000000100000001'],
    [1024 * mb, '1/C0000000', '000000010000000100000003'],
  ])('given segments of %i bytes, then %s lies in %s', (bytes, lsn, expected) => {
    const segment = segmentAt(1, parseLsn(lsn)!, bytes);

    expect(segmentName(segment, bytes)).toBe(expected);
    expect(parseSegmentName(expected, bytes)).toEqual(segment);
  });

  test('given the first byte of a segment, then what lies before it is in the segment before', () => {
    expect(segmentBefore(1, at(5), segmentBytes).number).toBe(4n);
    expect(segmentBefore(1, at(5) + 1n, segmentBytes).number).toBe(5n);
  });
});

describe('the range of an archive', () => {
  test('given every segment, then it is continuous to the last', () => {
    expect(archiveRange(held(2, 3, 4, 5, 6), question)).toEqual({
      kind: 'continuous',
      segments: held(3, 4, 5, 6),
      endLsn: at(7),
    });
  });

  test('given an unfinished segment at the end, then it is part of the range', () => {
    const range = archiveRange([...held(3, 4), { name: name(5), complete: false }], question);

    expect(range).toMatchObject({ kind: 'continuous', segments: [{}, {}, { complete: false }] });
  });

  test('given a segment that is finished and still there unfinished, then the finished one counts', () => {
    const range = archiveRange([{ name: name(5), complete: false }, ...held(3, 4, 5)], question);

    expect(range).toMatchObject({ kind: 'continuous', segments: held(3, 4, 5) });
  });

  test.each([
    ['in the middle', held(3, 5, 6), [4]],
    ['at the start', held(4, 5), [3]],
    ['before the needed LSN', held(3, 4), [5]],
    ['behind the needed LSN', held(3, 4, 5, 7), [6]],
    ['everywhere', [], [3, 4, 5]],
  ])('given a hole %s, then it is a gap that names the segments', (_where, archived, missing) => {
    expect(archiveRange(archived, question)).toMatchObject({
      kind: 'gap',
      missing: missing.map((number) => name(number)),
    });
  });

  test('given an unfinished segment before a later one, then it is a gap', () => {
    const archived = [...held(3, 5, 6), { name: name(4), complete: false }];

    expect(archiveRange(archived, question)).toMatchObject({ kind: 'gap', missing: [name(4)] });
  });

  test('given segments of another timeline, then they fill no hole', () => {
    const archived = [...held(3, 5), { name: name(4, 2), complete: true }];

    expect(archiveRange(archived, question)).toMatchObject({ kind: 'gap', missing: [name(4)] });
  });

  test('given any set of segments, then it is continuous exactly when none is missing', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 12 })), (numbers) => {
        const last = Math.max(5, ...numbers);
        const whole = Array.from({ length: last - 2 }, (_, index) => index + 3).every((number) =>
          numbers.includes(number),
        );
        expect(archiveRange(held(...numbers), question).kind).toBe(whole ? 'continuous' : 'gap');
      }),
    );
  });
});

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { nearestName } from '../../../src/lib/config/nearest.ts';
import {
  formatCount,
  formatDuration,
  formatSize,
  parseByteRate,
  parseDuration,
  parseRecordRate,
  parseSize,
} from '../../../src/lib/config/units.ts';

describe('durations', () => {
  test.each([
    ['200ms', 200],
    ['30s', 30_000],
    ['5m', 300_000],
    ['6h', 21_600_000],
    ['7d', 604_800_000],
    ['2w', 1_209_600_000],
    ['1h30m', 5_400_000],
    ['1.5s', 1500],
    ['0s', 0],
    [' 5m ', 300_000],
  ])('%s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });
  test.each(['', '5', 's', '5 m', '-5m', '5y', '5m!', '1,5s', '5M', 'm5', '9999999999999w', 'infinity'])(
    'no duration: %j',
    (text) => {
      expect(parseDuration(text)).toBeUndefined();
    },
  );
  test('what is shown reads back as what it was, to the unit that is shown', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 400 * 86_400_000 }), (ms) => {
        const back = parseDuration(formatDuration(ms));
        const unit = ms < 1000 ? 1 : ms < 10_000 ? 100 : ms < 3_600_000 ? 1000 : ms < 86_400_000 ? 60_000 : 3_600_000;
        expect(back).toBeDefined();
        expect(Math.abs(back! - ms)).toBeLessThanOrEqual(unit);
      }),
      { numRuns: 5000 },
    );
  });
  test.each([
    [12, '12ms'],
    [999, '999ms'],
    [1900, '1.9s'],
    [9960, '10s'],
    [252_000, '4m12s'],
    [3_600_000, '1h'],
    [244_800_000, '2d20h'],
    [86_460_000, '1d'],
  ])('%d ms is shown as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});

describe('sizes and rates', () => {
  test.each([
    ['512', 512],
    ['8MB', 8_000_000],
    ['8 mb', 8_000_000],
    ['1KiB', 1024],
    ['1GiB', 2 ** 30],
    ['1.5kB', 1500],
    ['2TB', 2e12],
    ['10b', 10],
  ])('%s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
    expect(parseByteRate(`${text}/s`)).toBe(bytes);
  });
  test.each(['', 'MB', '8XB', '-1', '8 M', '1e3', '99999999TB', '8MB/s'])('no size: %j', (text) => {
    expect(parseSize(text)).toBeUndefined();
  });
  test.each(['8MB', '/s', '8MB/m'])('no rate: %j', (text) => {
    expect(parseByteRate(text)).toBeUndefined();
  });
  test.each([
    ['5000', 5000],
    ['5k/s', 5000],
    ['2.5k', 2500],
    ['1M/s', 1_000_000],
  ])('%s records a second', (text, rate) => {
    expect(parseRecordRate(text)).toBe(rate);
  });
  test.each(['', '0', '-5', 'k', '5x', '5/m'])('no such rate: %j', (text) => {
    expect(parseRecordRate(text)).toBeUndefined();
  });
  test('a size that is shown reads back within its digits', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 9e14 }), (bytes) => {
        expect(Math.abs(parseSize(formatSize(bytes))! - bytes)).toBeLessThanOrEqual(bytes * 0.051);
      }),
    );
  });
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [999_960, '1 MB'],
    [8_200_000, '8.2 MB'],
    [41e9, '41 GB'],
    [999_600_000, '1 GB'],
  ])('%d is shown as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
  test.each([
    [0, '0'],
    [210, '210'],
    [0.25, '0.3'],
    [4120, '4.1k'],
    [2_100_000, '2.1M'],
    [999_960, '1M'],
    [-4120, '-4.1k'],
  ])('%d is counted as %s', (value, text) => {
    expect(formatCount(value)).toBe(text);
  });
});

describe('the nearest name', () => {
  const known = ['brokers', 'clientId', 'replicationFactor', 'retention', 'postgres'];
  test.each([
    ['broker', 'brokers'],
    ['borkers', 'brokers'],
    ['BROKERS', 'brokers'],
    ['clientid', 'clientId'],
    ['replicationFaktor', 'replicationFactor'],
    ['retnetion', 'retention'],
    ['xyz', undefined],
    ['post', undefined],
    ['', undefined],
  ])('of %s is %s', (typed, nearest) => {
    expect(nearestName(typed, known)).toBe(nearest);
  });
  test('of a known one is itself, and of one swapped pair the one it was', () => {
    fc.assert(
      fc.property(fc.constantFrom(...known), fc.nat(), (name, place) => {
        const at = 1 + (place % (name.length - 2));
        expect(nearestName(name, known)).toBe(name);
        expect(nearestName(name.slice(0, at) + name[at + 1]! + name[at]! + name.slice(at + 2), known)).toBe(name);
      }),
    );
  });
});

import { assert, integer, property } from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseDuration, parseSize } from '../../../src/lib/config/units.ts';
import { formatConfigValue, nearestConfigKey, sameConfigValue } from '../../../src/lib/topics/config-keys.ts';

describe('values that are the same to Kafka', () => {
  test.each([
    ['1', '1', true],
    ['+1', '1', true],
    ['9223372036854775807', '9223372036854775806', false],
    ['0.50', '0.5', true],
    ['.5', '0.5', true],
    ['1e3', '1000.0', true],
    ['True', 'true', true],
    ['compact, delete', 'compact,delete', true],
    ['compact,delete', 'delete,compact', false],
    ['zstd', 'gzip', false],
    ['', '0', false],
  ])('%j and %j: %s', (left, right, same) => {
    expect(sameConfigValue(left, right)).toBe(same);
    expect(sameConfigValue(right, left)).toBe(same);
  });
});

describe('values as people write them', () => {
  test.each([
    ['retention.ms', '604800000', '7d'],
    ['retention.ms', '-1', 'unlimited'],
    ['retention.ms', '604800001', '604800001 ms'],
    ['segment.bytes', '1000000000', '1 GB'],
    ['segment.bytes', '1073741824', '1073741824 B'],
    ['segment.bytes', '123400000', '123400000 B'],
    ['retention.bytes', '-1', 'unlimited'],
    ['retention.ms', 'abc', 'abc'],
    ['min.insync.replicas', '2', '2'],
  ])('%s %s: %s', (key, value, text) => {
    expect(formatConfigValue(key, value)).toBe(text);
  });

  test('are never rounded', () => {
    assert(
      property(integer({ min: 1, max: 2 ** 48 }), (number) => {
        const ms = formatConfigValue('retention.ms', String(number));
        expect(parseDuration(ms.replace(' ', ''))).toBe(number);
        expect(parseSize(formatConfigValue('retention.bytes', String(number)))).toBe(number);
      }),
    );
  });
});

test('the nearest key of a mistyped one', () => {
  expect(nearestConfigKey('retention.mss')).toBe('retention.ms');
  expect(nearestConfigKey('min.insync.replica')).toBe('min.insync.replicas');
  expect(nearestConfigKey('something.else')).toBeUndefined();
});

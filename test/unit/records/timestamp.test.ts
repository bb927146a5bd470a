import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { parseEpochMs, parseRfc3339 } from '../../../src/lib/records/timestamp.ts';

const at = (ms: number, micros = 0) => ({ ms, micros });
const two = (value: number): string => String(value).padStart(2, '0');

describe('an RFC 3339 time', () => {
  test.each([
    ['1970-01-01T00:00:00Z', at(0)],
    ['1970-01-01t00:00:00z', at(0)],
    ['2026-11-01T12:00:00.000Z', at(Date.UTC(2026, 10, 1, 12))],
    ['2026-11-01T12:00:00.1Z', at(Date.UTC(2026, 10, 1, 12, 0, 0, 100))],
    ['2026-11-01T12:00:00.123456Z', at(Date.UTC(2026, 10, 1, 12, 0, 0, 123), 456)],
    ['2026-11-01T12:00:00.123456999Z', at(Date.UTC(2026, 10, 1, 12, 0, 0, 123), 456)],
    ['2026-11-01T12:00:00.12345678901234Z', at(Date.UTC(2026, 10, 1, 12, 0, 0, 123), 456)],
    ['2026-11-01T12:00:00+02:00', at(Date.UTC(2026, 10, 1, 10))],
    ['2026-11-01T12:00:00-09:30', at(Date.UTC(2026, 10, 1, 21, 30))],
    ['2026-11-01T12:00:00-00:00', at(Date.UTC(2026, 10, 1, 12))],
    ['2026-11-01T12:00:00+15:59', at(Date.UTC(2026, 10, 1, 12) - (15 * 60 + 59) * 60_000)],
    ['2016-12-31T23:59:60Z', at(Date.UTC(2017, 0, 1))],
    ['2016-12-31T23:59:60.5Z', at(Date.UTC(2017, 0, 1, 0, 0, 0, 500))],
    ['2000-02-29T00:00:00Z', at(Date.UTC(2000, 1, 29))],
    ['2024-02-29T00:00:00Z', at(Date.UTC(2024, 1, 29))],
    ['1969-12-31T23:59:59.999999Z', at(-1, 999)],
    ['0000-01-01T00:00:00Z', at(Date.parse('0000-01-01T00:00:00Z'))],
    ['0001-01-01T00:00:00Z', at(Date.parse('0001-01-01T00:00:00Z'))],
    ['9999-12-31T23:59:59.999999Z', at(Date.parse('9999-12-31T23:59:59.999Z'), 999)],
    ['9999-12-31T23:59:59-15:00', at(Date.parse('9999-12-31T23:59:59Z') + 15 * 3_600_000)],
  ])('%s', (text, expected) => {
    expect(parseRfc3339(text)).toEqual(expected);
  });

  test.each([
    '',
    'now',
    'infinity',
    '-infinity',
    'today',
    'epoch',
    'allballs',
    '01/02/03',
    '20261101T120000Z',
    '2026-11-01',
    '2026-11-01T12:00:00',
    '2026-11-01 12:00:00Z',
    '2026-11-01T12:00Z',
    '2026-11-01T12:00:00.Z',
    '2026-11-01T12:00:00,5Z',
    '2026-11-01T12:00:00+0200',
    '2026-11-01T12:00:00+02',
    '2026-11-01T12:00:00+16:00',
    '2026-11-01T12:00:00+02:60',
    '2026-11-01T24:00:00Z',
    '2026-11-01T12:60:00Z',
    '2026-11-01T12:00:61Z',
    '2026-00-01T12:00:00Z',
    '2026-13-01T12:00:00Z',
    '2026-11-00T12:00:00Z',
    '2026-11-31T12:00:00Z',
    '2026-02-30T12:00:00Z',
    '2026-02-29T12:00:00Z',
    '1900-02-29T00:00:00Z',
    '26-11-01T12:00:00Z',
    '2026-11-01T12:00:00Z ',
    ' 2026-11-01T12:00:00Z',
    '2026-11-01T12:00:00Z\n',
    '2026-W45-1T00:00:00Z',
    '２026-11-01T12:00:00Z',
    '2026-11-01T12:00:00 Europe/Berlin',
    '1761998400',
    'Sun, 01 Nov 2026 12:00:00 GMT',
  ])('refused: %j', (text) => {
    expect(parseRfc3339(text)).toBe('invalid_timestamp');
  });

  test.each([
    '294277-01-01T00:00:00Z',
    '+294277-01-01T00:00:00Z',
    '-005000-01-01T00:00:00Z',
    '+275760-09-13T00:00:00.000Z',
    '10000-01-01T00:00:00Z',
    '-2026-11-01T12:00:00Z',
    '+2026-11-01T12:00:00Z',
  ])('of a year that RFC 3339 cannot write: %s', (text) => {
    expect(parseRfc3339(text)).toBe('timestamp_range');
  });

  const parts = fc.record({
    year: fc.integer({ min: 0, max: 9999 }),
    month: fc.integer({ min: 0, max: 13 }),
    day: fc.integer({ min: 0, max: 32 }),
    hour: fc.integer({ min: 0, max: 24 }),
    minute: fc.integer({ min: 0, max: 60 }),
    second: fc.integer({ min: 0, max: 59 }),
    fraction: fc.integer({ min: 0, max: 999_999 }),
    zone: fc.integer({ min: -15 * 60 - 59, max: 15 * 60 + 59 }),
  });

  test('any date and zone: what Date says of it, and nothing that Date would bend', () => {
    fc.assert(
      fc.property(parts, ({ year, month, day, hour, minute, second, fraction, zone }) => {
        const date = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}`;
        const digits = String(fraction).padStart(6, '0');
        const offset = `${zone < 0 ? '-' : '+'}${two(Math.floor(Math.abs(zone) / 60))}:${two(Math.abs(zone) % 60)}`;
        const text = `${date}T${two(hour)}:${two(minute)}:${two(second)}.${digits}${offset}`;
        const local = new Date(0);
        local.setUTCFullYear(year, month - 1, day);
        local.setUTCHours(hour, minute, second, Math.floor(fraction / 1000));
        const isReal =
          local.getUTCFullYear() === year &&
          local.getUTCMonth() === month - 1 &&
          local.getUTCDate() === day &&
          local.getUTCHours() === hour &&
          local.getUTCMinutes() === minute;
        expect(parseRfc3339(text)).toEqual(
          isReal ? at(local.getTime() - zone * 60_000, fraction % 1000) : 'invalid_timestamp',
        );
      }),
      { numRuns: 20_000 },
    );
  });

  test('any text at all is answered', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
        ),
        (text) => {
          const answer = parseRfc3339(text);
          expect(typeof answer === 'string' || Number.isSafeInteger(answer.ms)).toBe(true);
        },
      ),
    );
  });
});

describe('a number of milliseconds', () => {
  test.each([
    ['0', at(0)],
    ['-0', at(-0)],
    ['1761998400000', at(1_761_998_400_000)],
    ['1761998400000.5', at(1_761_998_400_000, 500)],
    ['-0.25', at(-1, 750)],
    ['1.7619984e12', at(1_761_998_400_000)],
    ['1761998400000.001', at(1_761_998_400_000, 1)],
    ['1761998400123.9999999', at(1_761_998_400_123, 999)],
    ['1761998399999.99999999999', at(1_761_998_399_999, 999)],
    ['17619984000000010000e-7', at(1_761_998_400_000, 1)],
    ['0.00000000000000000001e32', at(1_000_000_000_000)],
    ['-0.0000001', at(-1, 999)],
    ['0e999999999', at(0)],
    ['-1e-999999999', at(-1, 999)],
    ['-210866803200000', at(-210_866_803_200_000)],
    ['9224318015999000', at(9_224_318_015_999_000)],
  ])('%s', (text, expected) => {
    const answer = parseEpochMs(text);
    expect(typeof answer === 'string' ? answer : { ms: answer.ms + 0, micros: answer.micros }).toEqual({
      ms: expected.ms + 0,
      micros: expected.micros,
    });
  });

  test.each(['-210866803200001', '9224318016000000', '1e20', '-1e20', '1e400'])('out of range: %s', (text) => {
    expect(parseEpochMs(text)).toBe('timestamp_range');
  });

  test('the micros are 0 to 999 whatever the number', () => {
    fc.assert(
      fc.property(fc.double({ min: -2e14, max: 9e15, noNaN: true }), (value) => {
        const answer = parseEpochMs(String(value));
        expect(typeof answer).toBe('object');
        if (typeof answer === 'object') {
          expect(answer.micros).toBeGreaterThanOrEqual(0);
          expect(answer.micros).toBeLessThan(1000);
          expect(Math.abs(answer.ms + answer.micros / 1000 - value)).toBeLessThan(0.00101 + Math.abs(value) * 2e-16);
        }
      }),
    );
  });
});

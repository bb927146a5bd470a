import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { KpipeError } from '../../../src/lib/errors.ts';
import {
  parseOffsetPoint,
  parseOffsetRange,
  type OffsetPoint,
  type OffsetRangeEnd,
} from '../../../src/lib/offsets/offset-spec.ts';
import { resolveRange } from '../../../src/lib/offsets/resolve-offsets.ts';
import type { ClusterAdmin, OffsetAnswer } from '../../../src/lib/ports.ts';

const now = Date.parse('2026-03-01T12:00:00Z');
const minute = 60_000;
const hour = 60 * minute;
const at = (text: string | number): OffsetPoint => ({
  kind: 'time',
  timestampMs: typeof text === 'number' ? now + text : Date.parse(text),
});
const offset = (value: bigint): OffsetPoint => ({ kind: 'offset', offset: value });
const start: OffsetPoint = { kind: 'start' };
const end: OffsetPoint = { kind: 'end' };

describe('a place', () => {
  test.each<[string, OffsetPoint]>([
    ['start', start],
    ['@end', end],
    ['now', at(0)],
    ['0', offset(0n)],
    ['@1234', offset(1234n)],
    ['9007199254740993', offset(9007199254740993n)],
    ['@+3', { kind: 'afterStart', count: 3n }],
    ['@-3', { kind: 'beforeEnd', count: 3n }],
    ['@-15m', at(-15 * minute)],
    ['-1h30m', at(-90 * minute)],
    ['-0.5h', at(-30 * minute)],
    ['2022-02-14', at('2022-02-14T00:00:00Z')],
    ['2022-02-14+01:00', at('2022-02-13T23:00:00Z')],
    ['2022-02-14T10:30', at('2022-02-14T10:30:00Z')],
    ['2022-02-14T10:30Z', at('2022-02-14T10:30:00Z')],
    ['2022-02-14 10:30:15', at('2022-02-14T10:30:15Z')],
    ['2022-02-14T10:30:15.250-05:00', at('2022-02-14T15:30:15.250Z')],
    ['2022-02-14T10:30:15.2501Z', at('2022-02-14T10:30:15.251Z')],
    ['2024-02-29', at('2024-02-29T00:00:00Z')],
  ])('%s', (text, expected) => {
    expect(parseOffsetPoint(text, now)).toEqual(expected);
  });

  test.each([
    '',
    '@',
    'yesterday',
    '15m',
    '+15m',
    '1.5',
    '-',
    '2022-02-30',
    '2022-13-01',
    '2022-02-14T25:00Z',
    '2022-02-14T10',
    '2022-02-14T10:30:99Z',
    '-15minutes',
    '99999999999999999999',
    '@-15m:end',
    'start ',
  ])('%j is none: exit 2, with examples', (text) => {
    const error = failureOf(() => parseOffsetPoint(text, now));
    expect(error.exitCode).toBe(2);
    expect(error.next).not.toBe('');
  });
});

describe('a range', () => {
  test.each<[string, OffsetPoint, OffsetRangeEnd | null]>([
    ['@-15m:end', at(-15 * minute), end],
    ['@-15m', at(-15 * minute), null],
    ['@-15m:', at(-15 * minute), null],
    ['@-48h:-24h', at(-48 * hour), at(-24 * hour)],
    ['@2022-02-14:1h', at('2022-02-14T00:00:00Z'), at('2022-02-14T01:00:00Z')],
    ['@2022-02-14:+1h', at('2022-02-14T00:00:00Z'), at('2022-02-14T01:00:00Z')],
    ['@-15m:5m', at(-15 * minute), at(-10 * minute)],
    ['@2022-02-14:2022-02-15', at('2022-02-14T00:00:00Z'), at('2022-02-15T00:00:00Z')],
    ['@2022-02-14T10:30:2022-02-14T11:30', at('2022-02-14T10:30:00Z'), at('2022-02-14T11:30:00Z')],
    ['@2022-02-14T10:30:15:45m', at('2022-02-14T10:30:15Z'), at('2022-02-14T11:15:15Z')],
    ['@2022-02-14T10:30:15m', at('2022-02-14T10:30:00Z'), at('2022-02-14T10:45:00Z')],
    ['@2022-02-14T10:30Z:2022-02-14T13:00+02:00', at('2022-02-14T10:30:00Z'), at('2022-02-14T11:00:00Z')],
    ['@2022-02-14+01:00:1h', at('2022-02-13T23:00:00Z'), at('2022-02-14T00:00:00Z')],
    ['@2022-02-14:end', at('2022-02-14T00:00:00Z'), end],
    ['@-1h:now', at(-hour), at(0)],
    ['@start:end', start, end],
    ['@start', start, null],
    ['@end', end, null],
    ['@:end', start, end],
    ['@:100', start, offset(100n)],
    [':-1h', start, at(-hour)],
    ['@1234:+10', offset(1234n), { kind: 'afterFrom', count: 10n }],
    ['@1234:1244', offset(1234n), offset(1244n)],
    ['@+3:-3', { kind: 'afterStart', count: 3n }, { kind: 'beforeEnd', count: 3n }],
    ['@-3:end', { kind: 'beforeEnd', count: 3n }, end],
    ['1234', offset(1234n), null],
  ])('%s', (text, from, to) => {
    expect(parseOffsetRange(text, now)).toEqual({ from, to });
  });

  test.each([
    ['@', 'no place'],
    ['', 'no place'],
    ['@nope:end', 'no place'],
    ['@start:nope', 'no place'],
    ['@start:end:end', 'no place'],
    ['@1234:1h', 'counts from a time'],
    ['@end:15m', 'counts from a time'],
    ['@15m:end', 'lies ahead'],
    ['@-24h:-48h', 'ends before it begins'],
    ['@2022-02-15:2022-02-14', 'ends before it begins'],
    ['@180:170', 'ends before it begins'],
    ['@-3:-10', 'ends before it begins'],
    ['@end:-3', 'ends before it begins'],
    ['@end:start', 'ends before it begins'],
    ['@-15m:start', 'ends before it begins'],
  ])('%s is none: %s', (text, message) => {
    const error = failureOf(() => parseOffsetRange(text, now));
    expect([error.exitCode, error.message]).toEqual([2, expect.stringContaining(message)]);
  });

  test('any text at all is a range or a usage error', () => {
    const parts = fc.constantFrom(
      '@',
      ':',
      '-',
      '+',
      '1',
      '15m',
      '2022-02-14',
      'T10:30',
      ':15',
      'Z',
      '+02:00',
      'start',
      'end',
      'now',
      '.',
      ' ',
      '1h',
    );
    const texts = fc.oneof(
      fc.array(parts, { maxLength: 8 }).map((each) => each.join('')),
      fc.string(),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parseOffsetRange(text, now);
        } catch (error) {
          expect((error as KpipeError).code).toBe('KPIPE_USAGE');
        }
      }),
      { numRuns: 5000 },
    );
  });

  test('two instants and what is between them survive being written down', () => {
    const instants = fc.integer({ min: 0, max: 4_000_000_000_000 });
    fc.assert(
      fc.property(instants, instants, (one, other) => {
        const [from, to] = [Math.min(one, other), Math.max(one, other)];
        const text = `@${new Date(from).toISOString()}:${new Date(to).toISOString()}`;
        expect(parseOffsetRange(text, now)).toEqual({
          from: { kind: 'time', timestampMs: from },
          to: { kind: 'time', timestampMs: to },
        });
      }),
    );
  });
});

describe('where a range lies', () => {
  /** One partition that holds offsets 100 to 199, one record a minute up to `now`. */
  const admin = {
    listOffsets: (partitions: readonly { topic: string; partition: number }[], query: unknown) =>
      Promise.resolve(
        partitions.map(({ topic, partition }): OffsetAnswer => {
          if (query === 'earliest' || query === 'latest') {
            return { topic, partition, offset: query === 'earliest' ? 100n : 200n, timestampMs: null };
          }
          const { timestampMs } = query as { readonly timestampMs: number };
          const index = Math.max(0, Math.ceil((timestampMs - (now - 99 * minute)) / minute));
          return { topic, partition, offset: index > 99 ? null : 100n + BigInt(index), timestampMs: null };
        }),
      ),
  } as unknown as ClusterAdmin;

  test.each<[string, bigint, string | null, bigint | null, string | null]>([
    ['@start:end', 100n, null, 200n, null],
    ['@end', 200n, null, null, null],
    ['@150', 150n, null, null, null],
    ['@5', 100n, 'expired', null, null],
    ['@5:7', 100n, 'expired', 100n, 'expired'],
    ['@500', 200n, 'past the end', null, null],
    ['@+3:+2', 103n, null, 105n, null],
    ['@-3:end', 197n, null, 200n, null],
    ['@-3000:end', 100n, null, 200n, null],
    ['@190:+100', 190n, null, 200n, 'past the end'],
    ['@180:180', 180n, null, 180n, null],
    ['@-10m:-5m', 189n, null, 194n, null],
    ['@-10m:20m', 189n, null, 200n, 'past the end'],
    ['@-5d:end', 100n, null, 200n, null],
    ['@2026-03-01T12:00:00.001Z', 200n, 'past the end', null, null],
  ])('%s', async (text, position, moved, to, toMoved) => {
    const [range] = await resolveRange(admin, [{ topic: 'events', partition: 0 }], parseOffsetRange(text, now));
    expect(range?.from).toMatchObject({ position, moved });
    expect(range?.to?.position ?? null).toBe(to);
    expect(range?.to?.moved ?? null).toBe(toMoved);
  });
});

function failureOf(run: () => unknown): KpipeError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(KpipeError);
    return error as KpipeError;
  }
  throw new Error('it was accepted');
}

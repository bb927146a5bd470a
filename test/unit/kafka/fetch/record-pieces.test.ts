import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FetchedRecords } from '../../../../src/lib/kafka/fetch/fetched-records.ts';
import {
  divideRecords,
  MalformedRecords,
  type PieceBounds,
  type RecordPiece,
} from '../../../../src/lib/kafka/fetch/record-pieces.ts';
import { Varints } from '../../../../src/lib/kafka/fetch/varints.ts';
import type { SourceRecord } from '../../../../src/lib/ports.ts';
import { encodeRecord, encodeRecords, varint, type PlannedRecord } from '../../../support/record-batches.ts';

const everything: PieceBounds = { maxRecords: 1_000_000, maxBytes: 1_000_000_000 };
const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
const nullable = fc.option(bytes);
const planned = fc
  .array(
    fc.record({
      step: fc.integer({ min: 1, max: 400 }),
      timestampDelta: fc.integer({ min: -(2 ** 50), max: 2 ** 50 }),
      key: nullable,
      value: nullable,
      headers: fc.array(fc.tuple(fc.string(), nullable), { maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((steps) => {
    let offsetDelta = -1;
    return steps.map(({ step, ...record }): Required<PlannedRecord> => ({
      ...record,
      offsetDelta: (offsetDelta += step),
    }));
  });

function divide(body: Buffer, records: readonly PlannedRecord[], bounds = everything, fromDelta = 0) {
  const expected = { count: records.length, lastDelta: records.at(-1)?.offsetDelta ?? 0, fromDelta };
  return [...divideRecords(body, expected, bounds)];
}

function decode(body: Buffer, pieces: readonly RecordPiece[], more = {}): readonly SourceRecord[] {
  const segments = pieces.map((piece) => ({
    piece,
    bytes: body,
    baseOffset: 1000n,
    baseTimestampMs: 5,
    baseTimestamp: 5n,
    appendTimeMs: null,
    ...more,
  }));
  return [...new FetchedRecords(segments)];
}

const plain = ({ offset, timestampMs, key, value, headers }: SourceRecord) => ({
  offset,
  timestampMs,
  key: key?.toString('hex') ?? null,
  value: value?.toString('hex') ?? null,
  headers: headers.map(([name, each]) => [name, each?.toString('hex') ?? null]),
});

const expected = ({ offsetDelta, timestampDelta, key, value, headers }: Required<PlannedRecord>) => ({
  offset: 1000n + BigInt(offsetDelta),
  timestampMs: 5 + Number(timestampDelta),
  key: key?.toString('hex') ?? null,
  value: value?.toString('hex') ?? null,
  // What UTF-8 cannot say becomes U+FFFD on the way in.
  headers: headers.map(([name, each]) => [Buffer.from(name).toString(), each?.toString('hex') ?? null]),
});

describe('records', () => {
  test('of any batch are read as they were written, from any offset on, in pieces of any size', () => {
    const bounds = fc.record({
      maxRecords: fc.integer({ min: 1, max: 20 }),
      maxBytes: fc.integer({ min: 1, max: 2000 }),
    });
    fc.assert(
      fc.property(planned, bounds, fc.nat(2000), (records, limits, fromDelta) => {
        const body = encodeRecords(records);
        const pieces = divide(body, records, limits, fromDelta);
        const wanted = records.filter(({ offsetDelta }) => offsetDelta >= fromDelta);
        expect(decode(body, pieces).map(plain)).toEqual(wanted.map(expected));
        expect(pieces.reduce((sum, piece) => sum + piece.bytes, 0)).toBe(encodeRecords(wanted).length);
        for (const { count, bytes: size } of pieces) {
          expect(count).toBeLessThanOrEqual(limits.maxRecords);
          expect(size <= limits.maxBytes || count === 1).toBe(true);
        }
        expect(pieces.at(-1)?.lastDelta).toBe(wanted.at(-1)?.offsetDelta);
      }),
      { numRuns: 500 },
    );
  });

  test('have the time that the log gave them, where it gives it', () => {
    const records = [{ offsetDelta: 0, timestampDelta: -7 }, { offsetDelta: 1 }];
    const body = encodeRecords(records);
    const pieces = divide(body, records);
    expect(decode(body, pieces, { appendTimeMs: 99 }).map(({ timestampMs }) => timestampMs)).toEqual([99, 99]);
    expect(decode(body, pieces).map(({ timestampMs }) => timestampMs)).toEqual([-2, 5]);
  });

  test('share the bytes that they were fetched in, but copy them out of a large buffer', () => {
    const small = encodeRecords([{ offsetDelta: 0, key: Buffer.from('k'), value: Buffer.from('value') }]);
    const [shared] = decode(small, divide(small, [{ offsetDelta: 0 }]));
    expect(shared?.value?.buffer).toBe(small.buffer);
    const large = encodeRecords([
      { offsetDelta: 0, key: Buffer.from('k'), value: Buffer.from('value'), headers: [['h', Buffer.from('v')]] },
      { offsetDelta: 1, value: Buffer.alloc(2_000_000) },
    ]);
    const [copied] = decode(large, divide(large, [{ offsetDelta: 0 }, { offsetDelta: 1 }]));
    for (const part of [copied?.key, copied?.value, copied?.headers[0]?.[1]]) {
      expect(part!.buffer.byteLength).toBeLessThan(100_000);
    }
    expect(copied?.value?.toString()).toBe('value');
  });

  test('with 10,000 headers give them all, names repeated and in order', () => {
    const headers = Array.from({ length: 10_000 }, (_, index) => [`h${index % 7}`, null] as const);
    const body = encodeRecord({ offsetDelta: 0, headers });
    const [record] = decode(body, divide(body, [{ offsetDelta: 0 }]));
    expect(record?.headers).toEqual(headers);
    expect(record?.headers).toBe(record?.headers);
  });
});

describe('hostile bytes', () => {
  const good: readonly PlannedRecord[] = [
    {
      offsetDelta: 0,
      key: Buffer.from('key'),
      value: Buffer.from('v'.repeat(100)),
      headers: [['name', Buffer.from('x')]],
    },
    { offsetDelta: 1, value: Buffer.from('w') },
  ];
  const body = encodeRecords(good);
  const check = (count: number, lastDelta: number, broken = body): number =>
    [...divideRecords(broken, { count, lastDelta, fromDelta: 0 }, everything)].length;

  test.each([
    ['more records than there are', 3, 9],
    ['fewer records than there are', 1, 9],
    ['an unbelievable number of records', 2 ** 31 - 1, 2 ** 31 - 1],
    ['offsets that end before', 2, 0],
  ])('%s', (_what, count, lastDelta) => {
    expect(() => check(count, lastDelta)).toThrow(MalformedRecords);
  });

  const raw = (...parts: readonly Buffer[]): Buffer => {
    const inner = Buffer.concat([Buffer.from([0]), varint(0), varint(0), ...parts]);
    return Buffer.concat([varint(inner.length), inner]);
  };
  test.each([
    ['a negative length', varint(-5)],
    ['a length beyond the end', Buffer.concat([varint(2 ** 31 - 1), Buffer.from([0, 0])])],
    ['a varint without an end', Buffer.alloc(30, 0xff)],
    ['a key of length -2', raw(varint(-2), varint(-1), varint(0))],
    ['a value beyond the record', raw(varint(-1), varint(1000), varint(0))],
    ['a value of 2^62 bytes', raw(varint(-1), varint(2 ** 62), varint(0))],
    ['a negative number of headers', raw(varint(-1), varint(-1), varint(-1))],
    ['two thousand million headers', raw(varint(-1), varint(-1), varint(2 ** 31 - 1))],
    ['a header without a name', raw(varint(-1), varint(-1), varint(1), varint(-1), varint(-1))],
    ['bytes behind the headers', raw(varint(-1), varint(-1), varint(0), Buffer.from([0]))],
    ['nothing', Buffer.alloc(0)],
  ])('%s', (_what, broken) => {
    expect(() => check(1, 0, broken)).toThrow(MalformedRecords);
  });

  test('of any kind are refused, or read without a fault', () => {
    const mutation = fc.array(fc.tuple(fc.nat(body.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(mutation, fc.nat(body.length), fc.nat(5), (changes, cut, count) => {
        const broken = Buffer.from(body);
        for (const [at, byte] of changes) {
          broken[at] = byte;
        }
        const bytesLeft = cut % 3 === 0 ? broken.subarray(0, cut) : broken;
        const expectation = { count, lastDelta: 10, fromDelta: 0 };
        try {
          const pieces = [...divideRecords(bytesLeft, expectation, everything)];
          for (const { headers, key, value } of decode(bytesLeft, pieces)) {
            expect((key?.length ?? 0) + (value?.length ?? 0) + headers.length).toBeLessThanOrEqual(bytesLeft.length);
          }
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedRecords);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

test('varints of every length are read, one after another', () => {
  const numbers = fc.array(fc.maxSafeInteger().map((value) => (Math.abs(value) > 2 ** 52 ? value % 1000 : value)));
  fc.assert(
    fc.property(numbers, (values) => {
      const varints = new Varints(Buffer.concat(values.map(varint)));
      expect(values.map(() => varints.next())).toEqual(values.map((value) => value + 0));
      expect(varints.at).toBe(varints.bytes.length);
    }),
  );
});

describe('times in a batch', () => {
  const long = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const clock = fc.bigInt({ min: 0n, max: 2n ** 43n });

  test.each([
    ['whose first record is at the end of int64', 2n ** 63n - 1n, 1_793_534_400_123n],
    ['whose first record is at its beginning', -(2n ** 63n), 1_793_534_400_123n],
    ['that ends at the end of int64', 1_793_534_400_123n, 2n ** 63n - 1n],
  ])('%s are each record’s own', (_what, base, time) => {
    const varints = new Varints(Buffer.concat([varint(BigInt.asIntN(64, time - base)), varint(7n)]));
    expect([varints.timeAfter(base, Number(base)), varints.next()]).toEqual([Number(time), 7]);
  });

  test('are right whatever the others are', () => {
    fc.assert(
      fc.property(fc.oneof(long, clock), fc.oneof(long, clock), (base, time) => {
        const varints = new Varints(varint(BigInt.asIntN(64, time - base)));
        expect(varints.timeAfter(base, Number(base))).toBe(Number(time));
        expect(varints.at).toBe(varints.bytes.length);
      }),
    );
  });

  test('a long delta keeps its sign', () => {
    fc.assert(
      fc.property(long, (value) => {
        expect(new Varints(varint(value)).next()).toBe(Number(value));
      }),
    );
  });
});

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { BatchBuilder, withoutRejected, type ClosedBatch } from '../../../src/lib/runtime/batch.ts';
import { deadRecordBytes, weightOf } from '../../../src/lib/runtime/memory-budget.ts';
import { decodeTest, fetched, fetchOf, record, type TestRow } from './batches.ts';

/** What a log holds from a position on: `gap` offsets without a record, then a record (null: the fetch ends there). */
const item = fc.record({ gap: fc.nat(3), size: fc.nat(30), isDead: fc.boolean() });
const fetches = fc.array(fc.record({ items: fc.array(item, { maxLength: 12 }), tail: fc.nat(3) }), { maxLength: 12 });
const limitsOf = fc.record({ maxRows: fc.integer({ min: 1, max: 8 }), maxBytes: fc.integer({ min: 1, max: 60 }) });

function build(
  plan: readonly { items: readonly { gap: number; size: number; isDead: boolean }[]; tail: number }[],
  limits: { maxRows: number; maxBytes: number },
  rowBytes?: (row: TestRow) => number,
) {
  const builder = new BatchBuilder(decodeTest, { ...limits, maxWaitMs: 100 }, rowBytes);
  const closed: ClosedBatch<TestRow>[] = [];
  const sent: { offset: bigint; size: number; isDead: boolean }[] = [];
  let position = 0;
  for (const { items, tail } of plan) {
    const from = position;
    const records = items.map(({ gap, size, isDead }) => {
      position += gap;
      const value = isDead ? 'dead'.padEnd(size, '.') : 'v'.repeat(size);
      sent.push({ offset: BigInt(position), size: value.length, isDead });
      position += 1;
      return record(position - 1, value);
    });
    position += tail;
    closed.push(...builder.add(fetched(from, position, records), 0));
  }
  const last = builder.close();
  return { closed: last === null ? closed : [...closed, last], sent, end: BigInt(position) };
}

describe('batches of any fetches', () => {
  test('are contiguous, cover each position once, and hold each record once and in order', () => {
    fc.assert(
      fc.property(fetches, limitsOf, (plan, limits) => {
        const { closed, sent, end } = build(plan, limits);
        let position = 0n;
        for (const { sink, dead, recordCount } of closed) {
          expect(sink.position).toBe(position);
          expect(sink.nextPosition).toBeGreaterThan(sink.position);
          const offsets = [...sink.rows, ...dead.map((each) => each.record)].map(({ offset }) => offset);
          expect(offsets.every((offset) => offset >= sink.position && offset < sink.nextPosition)).toBe(true);
          expect(Number(sink.nextPosition - sink.position)).toBe(recordCount + sink.gaps);
          expect(recordCount).toBe(sink.rows.length + sink.deadLetters);
          position = sink.nextPosition;
        }
        expect(position).toBe(end);
        expect(closed.flatMap(({ sink }) => sink.rows.map(({ offset }) => offset))).toEqual(
          sent.filter(({ isDead }) => !isDead).map(({ offset }) => offset),
        );
        expect(closed.flatMap(({ dead }) => dead.map((each) => each.record.offset))).toEqual(
          sent.filter(({ isDead }) => isDead).map(({ offset }) => offset),
        );
      }),
      { numRuns: 2000 },
    );
  });

  test('hold no more rows than allowed, and no more bytes unless a single record does', () => {
    fc.assert(
      fc.property(fetches, limitsOf, (plan, limits) => {
        const { closed, sent } = build(plan, limits);
        for (const { sink, recordCount } of closed) {
          const inside = sent.filter(({ offset }) => offset >= sink.position && offset < sink.nextPosition);
          expect(recordCount).toBeLessThanOrEqual(limits.maxRows);
          const bytes = inside.reduce((sum, { size }) => sum + size, 0);
          expect(bytes <= limits.maxBytes || inside.length === 1).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('weigh together what their records and rows weigh', () => {
    fc.assert(
      fc.property(fetches, limitsOf, (plan, limits) => {
        const rowBytes = ({ text }: TestRow): number => 10 * text.length;
        const { closed, sent } = build(plan, limits, rowBytes);
        const weight = sent
          .map(({ size, isDead }) => weightOf(record(0, 'x'.repeat(size))) + (isDead ? deadRecordBytes : 10 * size))
          .reduce((sum, each) => sum + each, 0);
        expect(closed.reduce((sum, batch) => sum + batch.weight, 0)).toBe(weight);
      }),
    );
  });
});

describe('an open batch', () => {
  test('closes a wait after its first record, also when more came since', () => {
    const builder = new BatchBuilder(decodeTest, { maxRows: 100, maxBytes: 1000, maxWaitMs: 50 });
    expect(builder.closesAtMs).toBeNull();
    builder.add(fetchOf(0, ['a']), 1000);
    builder.add(fetchOf(1, ['b']), 1040);
    expect(builder.closesAtMs).toBe(1050);
    expect(builder.close()?.sink.rows.map(({ text }) => text)).toEqual(['a', 'b']);
    expect([builder.closesAtMs, builder.isEmpty, builder.close()]).toEqual([null, true, null]);
  });

  test('of gaps alone is a batch: the position must move behind control records', () => {
    const builder = new BatchBuilder(decodeTest, { maxRows: 100, maxBytes: 1000, maxWaitMs: 50 });
    builder.add(fetched(5, 9, []), 0);
    expect(builder.close()?.sink).toMatchObject({ position: 5n, nextPosition: 9n, rows: [], gaps: 4 });
  });

  test('a tombstone weighs and counts like a record', () => {
    const builder = new BatchBuilder(decodeTest, { maxRows: 1, maxBytes: 1000, maxWaitMs: 50 });
    const [first] = builder.add(fetched(0, 2, [record(0, null), record(1)]), 0);
    expect(first).toMatchObject({ recordCount: 1, sink: { nextPosition: 1n } });
  });
});

describe('a batch without what the sink refused', () => {
  test('keeps its range, its other rows and its dead records; the refused ones join the dead', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('row', 'dead'), { minLength: 1, maxLength: 20 }),
        fc.array(fc.nat(25)),
        (values, refused) => {
          const builder = new BatchBuilder(decodeTest, { maxRows: 100, maxBytes: 10_000, maxWaitMs: 50 });
          builder.add(fetchOf(0, values), 0);
          const batch = builder.close()!;
          const rejections = refused.map((offset) => ({
            offset: BigInt(offset),
            reason: 'sink_rejected',
            message: 'no',
            sqlstate: '23514',
          }));
          const rest = withoutRejected(batch, rejections, 3);
          const isRefused = (offset: bigint): boolean => refused.includes(Number(offset));
          expect(rest.sink.rows).toEqual(batch.sink.rows.filter(({ offset }) => !isRefused(offset)));
          const rowOffsets = new Set(batch.sink.rows.map(({ offset }) => offset));
          const moved = batch.fetches
            .flatMap(({ records }) => [...records])
            .filter(({ offset }) => rowOffsets.has(offset) && isRefused(offset));
          expect(rest.dead.slice(0, batch.dead.length)).toEqual(batch.dead);
          expect(rest.dead.slice(batch.dead.length)).toEqual(
            moved.map((each) => ({
              record: each,
              reason: 'sink_rejected',
              message: 'no',
              sqlstate: '23514',
              stage: 'sink',
              attempts: 3,
            })),
          );
          expect(rest.sink).toMatchObject({
            position: batch.sink.position,
            nextPosition: batch.sink.nextPosition,
            gaps: 0,
            deadLetters: rest.dead.length,
          });
          expect(rest).toMatchObject({ weight: batch.weight, recordCount: batch.recordCount });
        },
      ),
    );
  });
});

test('a range that nobody can decode becomes one dead letter at its first offset, which says where it ends', () => {
  const builder = new BatchBuilder(decodeTest, { maxRows: 10, maxBytes: 1000, maxWaitMs: 100 });
  builder.add(fetchOf(0, ['a', 'b']), 0);
  const unreadable = {
    firstOffset: 2n,
    lastOffset: 6n,
    timestampMs: 9,
    reason: 'too_large',
    message: 'a bomb',
  } as const;
  builder.add({ ...fetched(2, 8, []), unreadable }, 0);
  const closed = builder.close()!;
  expect(closed.sink).toMatchObject({ position: 0n, nextPosition: 8n, deadLetters: 1, gaps: 5 });
  expect(closed.recordCount).toBe(3);
  const [pointer] = closed.dead;
  expect(pointer).toMatchObject({ reason: 'too_large', message: 'a bomb', record: { offset: 2n, timestampMs: 9 } });
  expect(pointer!.record.headers).toEqual([['kpipe.last-offset', Buffer.from('6')]]);
});

test('a fetch of which a part is known already brings only the rest', () => {
  const builder = new BatchBuilder(decodeTest, { maxRows: 10, maxBytes: 1000, maxWaitMs: 100 });
  builder.add(fetchOf(0, ['a', 'b']), 0);
  builder.add(fetchOf(1, ['b', 'c']), 0, 2n);
  expect(builder.close()!.sink).toMatchObject({ position: 0n, nextPosition: 3n, gaps: 0 });
});

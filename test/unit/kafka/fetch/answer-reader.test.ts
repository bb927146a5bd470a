import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { AnswerReader, type AnswerReaderOptions } from '../../../../src/lib/kafka/fetch/answer-reader.ts';
import type { AbortedTransaction } from '../../../../src/lib/kafka/fetch/aborted-transactions.ts';
import type { FetchedBatch, SourceRecord } from '../../../../src/lib/ports.ts';
import { Semaphore } from '../../../../src/lib/runtime/semaphore.ts';
import { batchesOf, codecs, crc32c, encodeRecords, type PlannedBatch } from '../../../support/record-batches.ts';

interface Delivered extends Omit<FetchedBatch, 'records'> {
  readonly records: readonly SourceRecord[];
}

/** Reads an answer; what is delivered is decoded at once, as a consumer does. */
async function read(
  plans: readonly PlannedBatch[],
  position: number,
  { aborted = [], ...options }: Partial<AnswerReaderOptions> & { aborted?: readonly AbortedTransaction[] } = {},
): Promise<readonly Delivered[]> {
  const delivered: Delivered[] = [];
  const batches = batchesOf(plans);
  const nextPosition = batches.at(-1)!.lastOffset + 1n;
  const answer = { position: BigInt(position), nextPosition, highWatermark: 1000n, batches, aborted, bytes: 1 };
  const reader = new AnswerReader(
    {
      topic: 'events',
      partition: 3,
      crc32c,
      large: new Semaphore(1),
      isCurrent: () => true,
      deliver: (batch) => {
        delivered.push({ ...batch, records: [...batch.records] });
        return Promise.resolve();
      },
      ...options,
    },
    answer,
  );
  await reader.read();
  return delivered;
}

const one = (offsetDelta: number, text = 'v') => ({ offsetDelta, value: Buffer.from(text) });
const offsets = (delivered: readonly Delivered[]) =>
  delivered.flatMap(({ records }) => records.map(({ offset }) => Number(offset)));

describe('an answer', () => {
  test('of any batches is delivered whole: contiguous, each visible record once and in order, up to its end', async () => {
    const plan = fc
      .array(
        fc.record({
          gap: fc.nat(5),
          steps: fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 12 }),
          tail: fc.nat(3),
          codec: fc.constantFrom(...codecs),
          control: fc.boolean(),
        }),
        { minLength: 1, maxLength: 8 },
      )
      .map((batches) => {
        let next = 50;
        return batches.map(({ gap, steps, tail, codec, control }): PlannedBatch => {
          const baseOffset = next + gap;
          let offsetDelta = -1;
          const records = steps.map((step) => one((offsetDelta += step)));
          const lastOffsetDelta = Math.max(0, offsetDelta) + tail;
          next = baseOffset + lastOffsetDelta + 1;
          return { baseOffset, records, lastOffsetDelta, codec, kind: control ? 'control' : 'plain' };
        });
      });
    await fc.assert(
      fc.asyncProperty(plan, fc.integer({ min: 40, max: 70 }), async (plans, from) => {
        const last = plans.at(-1)!;
        const end = last.baseOffset + last.lastOffsetDelta!;
        const position = Math.min(from, end);
        const delivered = await read(plans, position);
        const wanted = plans
          .filter(({ kind }) => kind !== 'control')
          .flatMap(({ baseOffset, records }) => records.map(({ offsetDelta }) => baseOffset + offsetDelta))
          .filter((offset) => offset >= position);
        expect(offsets(delivered)).toEqual(wanted);
        let next = BigInt(position);
        for (const batch of delivered) {
          expect(batch.position).toBe(next);
          expect(batch.recordCount).toBe(batch.records.length);
          expect(batch.records.every(({ offset }) => offset >= next && offset < batch.nextPosition)).toBe(true);
          next = batch.nextPosition;
        }
        expect(next).toBe(BigInt(end + 1));
      }),
      { numRuns: 300 },
    );
  });

  test('without a record for us moves the position', async () => {
    const delivered = await read(
      [
        { baseOffset: 10, records: [one(0), one(1)], kind: 'transactional', producerId: 4 },
        { baseOffset: 12, records: [one(0)], kind: 'control', producerId: 4 },
      ],
      10,
      { aborted: [{ producerId: 4n, firstOffset: 10n }] },
    );
    expect(delivered).toMatchObject([{ position: 10n, nextPosition: 13n, recordCount: 0, highWatermark: 1000n }]);
  });

  test('is no longer delivered once it is overtaken', async () => {
    let current = true;
    const seen: bigint[] = [];
    await read(
      [
        { baseOffset: 0, records: Array.from({ length: 10_000 }, (_, index) => one(index)) },
        { baseOffset: 10_000, records: [one(0)] },
      ],
      0,
      {
        isCurrent: () => current,
        deliver: ({ nextPosition }) => {
          seen.push(nextPosition);
          current = false;
          return Promise.resolve();
        },
      },
    );
    expect(seen).toEqual([10_000n]);
  });

  test('with a batch of many records comes in pieces, each when there is room', async () => {
    const records = Array.from({ length: 25_000 }, (_, index) => one(index));
    let pending = 0;
    const most: number[] = [];
    await read([{ baseOffset: 0, records, codec: 'zstd' }], 0, {
      deliver: async ({ recordCount }) => {
        pending += 1;
        most.push(pending, recordCount);
        await new Promise((resolve) => setImmediate(resolve));
        pending -= 1;
      },
    });
    expect(most).toEqual([1, 10_000, 1, 10_000, 1, 5000]);
  });

  test('whose bytes were damaged is not delivered, and says where', async () => {
    const reading = read([{ baseOffset: 42, records: [one(0)] }], 42, { crc32c: () => 7 });
    await expect(reading).rejects.toMatchObject({
      code: 'KPIPE_KAFKA_FAILED',
      where: { topic: 'events', partition: 3, offset: 42n },
    });
  });
});

describe('a batch that cannot be read', () => {
  const before = { baseOffset: 7, records: [one(0), one(1), one(2)] };
  const after = { baseOffset: 20, records: [one(0)] };

  test('because it is a bomb is an unreadable range, and what stands around it is delivered', async () => {
    const body = Buffer.alloc(129 * 1024 * 1024);
    const bomb: PlannedBatch = { baseOffset: 10, records: [], lastOffsetDelta: 9, count: 1, body, codec: 'zstd' };
    const delivered = await read([before, { ...bomb, maxTimestampMs: 77 }, after], 8);
    expect(offsets(delivered)).toEqual([8, 9, 20]);
    expect(delivered.map(({ position, nextPosition }) => [position, nextPosition])).toEqual([
      [8n, 10n],
      [10n, 20n],
      [20n, 21n],
    ]);
    expect(delivered[1]?.unreadable).toMatchObject({
      firstOffset: 10n,
      lastOffset: 19n,
      timestampMs: 77,
      reason: 'too_large',
    });
  });

  test('because it does not unpack, or is not what it says, is one too', async () => {
    const damaged: readonly Partial<PlannedBatch>[] = [
      { body: Buffer.from('nonsense') },
      { records: [one(0)], count: 5 },
      { records: [one(0), one(0)] },
    ];
    for (const plan of damaged) {
      const batch = { baseOffset: 10, records: [], lastOffsetDelta: 3, count: 1, ...plan };
      const delivered = await read([before, batch, after], 12);
      expect(offsets(delivered)).toEqual([20]);
      expect(delivered[0]).toMatchObject({ position: 12n, nextPosition: 14n, recordCount: 0 });
      expect(delivered[0]?.unreadable).toMatchObject({ firstOffset: 12n, lastOffset: 13n, reason: 'undecodable' });
    }
    const packed = batchesOf([{ baseOffset: 10, records: [one(0)], codec: 'zstd' }]);
    for (const codec of [1, 2, 3, 5]) {
      const delivered: FetchedBatch[] = [];
      const batches = packed.map((batch) => ({ ...batch, codec }));
      const answer = { position: 10n, nextPosition: 11n, highWatermark: 11n, batches, aborted: [], bytes: 1 };
      const options = { topic: 't', partition: 0, crc32c, large: new Semaphore(1), isCurrent: () => true };
      await new AnswerReader(
        { ...options, deliver: (batch) => Promise.resolve(void delivered.push(batch)) },
        answer,
      ).read();
      expect(delivered.map(({ unreadable }) => unreadable?.reason)).toEqual(['undecodable']);
    }
  });

  test('because one of its records is large is read: whoever decodes it decides', async () => {
    const body = encodeRecords([{ offsetDelta: 0, key: Buffer.from('k'), value: Buffer.alloc(64 * 1024 * 1024) }]);
    const delivered = await read([before, { baseOffset: 10, records: [one(0)], body, codec: 'gzip' }, after], 7);
    expect(offsets(delivered)).toEqual([7, 8, 9, 10, 20]);
    const large = delivered.find(({ position }) => position === 10n);
    expect(large?.records[0]?.value).toHaveLength(64 * 1024 * 1024);
  });
});

import * as fc from 'fast-check';
import { expect, test } from 'vitest';

import { CopyStream, fromLine, RowEncoder, type EncodedRow } from '../../../src/lib/postgres/copy-binary.ts';
import { Span } from '../../../src/lib/records/span.ts';

const header = Buffer.concat([Buffer.from('PGCOPY\n\u00ff\r\n\u0000', 'latin1'), Buffer.alloc(8)]);
const trailer = Buffer.from([0xff, 0xff]);

/** A field as the format has it: its length in 4 bytes, then the bytes; -1 for null. */
function field(bytes: Uint8Array | null): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes?.length ?? -1);
  return Buffer.concat([length, bytes ?? Buffer.alloc(0)]);
}

const fieldCount = Buffer.from([0, 2]);
// Around the lengths at which a copy is made otherwise, and around a chunk.
const text = fc.oneof(
  fc.constant(null),
  fc.uint8Array({ maxLength: 100 }),
  fc.integer({ min: 200_000, max: 300_000 }).map((length) => new Uint8Array(length).fill(length % 251)),
);

test('rows are the bytes that COPY wants, whichever of them a stream holds, and wherever they stand in memory', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text, fc.boolean()), { maxLength: 40 }), (records) => {
      const encoder = new RowEncoder(2);
      const rows: EncodedRow[] = [];
      const expected: Buffer[] = [];
      for (const [index, [first, second, isWanted]] of records.entries()) {
        // A span inside something larger.
        const around = Buffer.concat([Buffer.from('<<'), first ?? Buffer.alloc(0), Buffer.from('>>')]);
        encoder.startRow();
        encoder.span(first === null ? null : new Span(around, 2, around.length - 2));
        encoder.jsonb(second === null ? null : Span.of(Buffer.from(second)));
        const row = encoder.take(BigInt(index));
        if (isWanted) {
          rows.push(row);
          const json = second === null ? null : Buffer.concat([Buffer.from([1]), second]);
          expected.push(Buffer.concat([fieldCount, field(first), field(json)]));
        }
      }

      const stream = new CopyStream();
      const joined = stream.of(rows);

      expect(joined.equals(Buffer.concat([header, ...expected, trailer]))).toBe(true);
      const behindFirst = Buffer.concat([header, ...expected.slice(1), trailer]);
      expect(expected.length === 0 || fromLine(joined, 1).equals(behindFirst)).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test.each([
  [0, 0],
  [946_684_800_000, 0],
  [-62_135_596_800_000, 999],
  [253_402_300_799_999, 999],
  [9_224_318_015_999_000, 1],
  [-210_866_803_200_000, 0],
])('the time %d ms and %d µs is microseconds since 2000', (ms, micros) => {
  const encoder = new RowEncoder(1);
  encoder.startRow();
  encoder.timestamptz(ms, micros);
  const { memory, start } = encoder.take(0n);

  expect(memory.readInt32BE(start + 2)).toBe(8);
  expect(memory.readBigInt64BE(start + 6)).toBe((BigInt(ms) - 946_684_800_000n) * 1000n + BigInt(micros));
});

test('numbers, booleans and texts are in network order, one row behind the other', () => {
  const encoder = new RowEncoder(6);
  encoder.startRow();
  encoder.int2(-2);
  encoder.int4(70_000);
  encoder.int8(-(2n ** 63n));
  encoder.boolean(true);
  encoder.text('é€');
  encoder.text(null);
  const { memory, start, end, lines } = encoder.take(9n);

  expect(lines).toBe(1);
  const fields = ['00000002fffe', '0000000400011170', '000000088000000000000000', '0000000101', '00000005c3a9e282ac'];
  expect(memory.toString('hex', start, end)).toBe(['0006', ...fields, 'ffffffff'].join(''));
});

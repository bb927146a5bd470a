import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { readLines, type Line } from '../../../src/lib/produce/lines.ts';

async function* chunks(...parts: readonly (string | Buffer)[]): AsyncGenerator<Buffer> {
  for (const part of parts) {
    await Promise.resolve();
    yield Buffer.from(part);
  }
}

async function all(stream: AsyncIterable<Buffer>): Promise<readonly Line[]> {
  const lines: Line[] = [];
  for await (const some of readLines(stream)) {
    lines.push(...some);
  }
  return lines;
}

describe('readLines', () => {
  test.each([
    ['nothing', [''], []],
    ['one line without a newline', ['a'], [[1, 'a']]],
    ['a newline at the end adds no line', ['a\n'], [[1, 'a']]],
    [
      'empty lines are left out but counted',
      ['a\n\n\nb\n'],
      [
        [1, 'a'],
        [4, 'b'],
      ],
    ],
    [
      'a line over several chunks',
      ['ab', 'cd', 'e\nf'],
      [
        [1, 'abcde'],
        [2, 'f'],
      ],
    ],
    [
      'a newline that begins a chunk',
      ['ab', '\ncd'],
      [
        [1, 'ab'],
        [2, 'cd'],
      ],
    ],
    [
      'a carriage return is part of the record',
      ['a\r\nb'],
      [
        [1, 'a\r'],
        [2, 'b'],
      ],
    ],
  ] as const)('%s', async (_name, parts, expected) => {
    const lines = await all(chunks(...parts));

    expect(lines.map(({ number, bytes }) => [number, bytes.toString()])).toEqual(expected);
  });

  test('keeps every byte, however the stream is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(fc.integer({ min: 1, max: 20 })),
        async (bytes, sizes) => {
          const parts: Buffer[] = [];
          for (let start = 0, index = 0; start < bytes.length; index += 1) {
            const size = sizes[index] ?? 50;
            parts.push(Buffer.from(bytes.subarray(start, start + size)));
            start += size;
          }
          const text = Buffer.from(bytes).toString('latin1');
          const expected = text.split('\n').flatMap((line, index) => (line === '' ? [] : [[index + 1, line]]));

          const lines = await all(chunks(...parts));

          expect(lines.map((line) => [line.number, line.bytes.toString('latin1')])).toEqual(expected);
        },
      ),
    );
  });

  test('refuses a line of more than 100 MB, without holding more than that', async () => {
    async function* endless(): AsyncGenerator<Buffer> {
      const part = Buffer.alloc(10_000_000, 97);
      for (;;) {
        await Promise.resolve();
        yield part;
      }
    }

    await expect(all(endless())).rejects.toMatchObject({
      code: 'KPIPE_INPUT_INVALID',
      message: 'line 1 is longer than 100 MB',
    });
  });
});

import { Readable } from 'node:stream';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decryption, encryption, UnreadableFile } from '../../../src/lib/backup/frames.ts';
import { generateEncryptionKey, parseEncryptionKey } from '../../../src/lib/backup/keys.ts';

const key = parseEncryptionKey(generateEncryptionKey());
const frame = (1 << 20) + 16;
const header = 48;

async function through(chunks: readonly Buffer[], by: ReturnType<typeof encryption>): Promise<Buffer> {
  const source = Readable.from(chunks);
  source.on('error', (error) => by.destroy(error));
  return Buffer.concat(await source.pipe(by).toArray());
}
const seal = (plain: Buffer): Promise<Buffer> => through([plain], encryption(key));
const open = (sealed: Buffer, by = key): Promise<Buffer> => through([sealed], decryption(by));
const patterned = (bytes: number): Buffer => Buffer.from(Uint8Array.from({ length: bytes }, (_, index) => index % 251));

describe('frames', () => {
  test.each([0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])(
    'given %i bytes, when they are sealed and opened, then they are the same',
    async (bytes) => {
      const plain = patterned(bytes);

      const sealed = await seal(plain);

      expect(sealed.length).toBe(header + bytes + 16 * Math.max(1, Math.ceil(bytes / (1 << 20))));
      expect((await open(sealed)).equals(plain)).toBe(true);
    },
  );

  test('given any cut into chunks, when they are opened, then the content does not depend on it', async () => {
    const plain = patterned(2_500_000);
    const sealed = await seal(plain);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: sealed.length - 1 }), { maxLength: 8 }), async (cuts) => {
        const at = [0, ...cuts.toSorted((left, right) => left - right), sealed.length];
        const chunks = at.slice(1).map((end, index) => sealed.subarray(at[index], end));
        expect((await through(chunks, decryption(key))).equals(plain)).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  test('given any byte turned over, when it is opened, then it is refused', async () => {
    const sealed = await seal(patterned(1_200_000));
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: sealed.length - 1 }), async (at) => {
        const changed = Buffer.from(sealed);
        changed[at] = changed[at]! ^ 1;
        await expect(open(changed)).rejects.toBeInstanceOf(UnreadableFile);
      }),
      { numRuns: 25 },
    );
  });

  test.each([
    ['at the border of a frame', header + frame],
    ['in a frame', header + 1000],
    ['in the header', 20],
    ['to nothing', 0],
  ])('given a file cut %s, when it is opened, then it is refused', async (_what, length) => {
    const sealed = await seal(patterned(2_500_000));

    await expect(open(sealed.subarray(0, length))).rejects.toMatchObject({ reason: 'content' });
  });

  test('given two frames that changed places, then it is refused', async () => {
    const sealed = await seal(patterned(3 << 20));
    const swapped = Buffer.concat([
      sealed.subarray(0, header),
      sealed.subarray(header + frame, header + 2 * frame),
      sealed.subarray(header, header + frame),
      sealed.subarray(header + 2 * frame),
    ]);

    await expect(open(swapped)).rejects.toMatchObject({ reason: 'content' });
  });

  test('given another key, then it is the key that is named, not the content', async () => {
    const other = parseEncryptionKey(generateEncryptionKey());

    await expect(open(await seal(patterned(100)), other)).rejects.toMatchObject({
      reason: 'key',
      message: expect.stringContaining(key.id.toString('hex')),
    });
  });
});

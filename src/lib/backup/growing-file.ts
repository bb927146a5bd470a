import { open } from 'node:fs/promises';

import { wait } from '../runtime/backoff.ts';

const chunkBytes = 256 * 1024;
const pollMs = 20;

/**
 * Reads a file that a program is still appending to, up to where it ends when the program has ended. Without an end of its
 * own, a file that was cut reads like a whole one: look at the program's exit code too.
 */
export async function* followFile(
  path: string,
  hasEnded: () => boolean,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const handle = await open(path, 'r');
  try {
    for (let position = 0; ;) {
      signal.throwIfAborted();
      // Asked before reading: whatever was written until the end is read after it.
      const over = hasEnded();
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, position);
      if (bytesRead > 0) {
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      } else if (over) {
        return;
      } else {
        await wait(pollMs, signal);
      }
    }
  } finally {
    await handle.close();
  }
}

import { KpipeError } from '../errors.ts';

const newline = 0x0a;
/** A broker takes no request beyond 100 MB; a longer line is another kind of file. */
const maxLineBytes = 100_000_000;

/**
 * The lines of a byte stream, as many at a time as one read brought: bytes as they are, without the newline, empty lines
 * left out. Nothing is read ahead of who iterates.
 * @throws KPIPE_INPUT_INVALID: a line is longer than 100 MB
 */
export async function* readLines(stream: AsyncIterable<Buffer>): AsyncGenerator<readonly Line[]> {
  let number = 0;
  let parts: Buffer[] = [];
  let held = 0;
  for await (const chunk of stream) {
    const lines: Line[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const bytes =
        parts.length === 0 ? chunk.subarray(start, end) : Buffer.concat([...parts, chunk.subarray(start, end)]);
      parts = [];
      held = 0;
      start = end + 1;
      number += 1;
      if (bytes.length > 0) {
        lines.push({ number, bytes });
      }
    }
    if (start < chunk.length) {
      parts.push(chunk.subarray(start));
      held += chunk.length - start;
      if (held > maxLineBytes) {
        throw new KpipeError('KPIPE_INPUT_INVALID', `line ${number + 1} is longer than 100 MB`, {
          next: 'give one record a line',
        });
      }
    }
    if (lines.length > 0) {
      yield lines;
    }
  }
  const bytes = Buffer.concat(parts);
  if (bytes.length > 0) {
    yield [{ number: number + 1, bytes }];
  }
}

export interface Line {
  /** From 1; empty lines count. */
  readonly number: number;
  readonly bytes: Buffer;
}

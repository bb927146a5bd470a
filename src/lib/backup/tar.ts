/**
 * Reads the tar files that pg_basebackup writes (ustar; sizes above 8 GiB in base 256). Each entry's content must be read
 * before the next entry comes.
 */
export interface TarEntry {
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly linkTarget: string;
  readonly mode: number;
  readonly bytes: number;
  readonly content: AsyncIterable<Buffer>;
}

export class BrokenTar extends Error {
  override readonly name = 'BrokenTar';
}

const blockBytes = 512;

export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(source);
  for (;;) {
    const header = await reader.exactly(blockBytes);
    if (header === undefined) {
      throw new BrokenTar('the tar file ends without its end mark');
    }
    if (header.every((byte) => byte === 0)) {
      await reader.drain();
      return;
    }
    const entry = parseHeader(header);
    const content = new EntryContent(reader, entry.bytes);
    yield { ...entry, content };
    await content.skipRest();
  }
}

function parseHeader(header: Buffer): Omit<TarEntry, 'content'> {
  const text = (from: number, length: number): string => {
    const field = header.subarray(from, from + length);
    const end = field.indexOf(0);
    return field.subarray(0, end === -1 ? length : end).toString('utf8');
  };
  const told = Number.parseInt(text(148, 8).trim(), 8);
  const actual = header.reduce((sum, byte, index) => sum + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (told !== actual) {
    throw new BrokenTar('a header in the tar file has a wrong checksum');
  }
  const prefix = text(345, 155);
  const name = text(0, 100);
  const flag = String.fromCharCode(header[156] ?? 0);
  const type = flag === '0' || flag === '\0' ? 'file' : flag === '5' ? 'directory' : flag === '2' ? 'symlink' : 'other';
  return {
    path: prefix === '' ? name : `${prefix}/${name}`,
    type,
    linkTarget: text(157, 100),
    mode: number(header.subarray(100, 108)),
    bytes: type === 'file' ? number(header.subarray(124, 136)) : 0,
  };
}

/** Octal text, or base 256 when the first bit is set. */
function number(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) !== 0) {
    return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
  }
  const value = Number.parseInt(field.toString('latin1').replaceAll('\0', ' ').trim() || '0', 8);
  if (!Number.isSafeInteger(value)) {
    throw new BrokenTar('a header in the tar file holds no number where one must be');
  }
  return value;
}

class EntryContent implements AsyncIterable<Buffer> {
  readonly #reader: ByteReader;
  readonly #bytes: number;
  #left: number;

  constructor(reader: ByteReader, bytes: number) {
    this.#reader = reader;
    this.#bytes = bytes;
    this.#left = bytes;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    while (this.#left > 0) {
      const chunk = await this.#reader.upTo(this.#left);
      if (chunk === undefined) {
        throw new BrokenTar('the tar file ends in the middle of a file');
      }
      this.#left -= chunk.length;
      yield chunk;
    }
  }

  /** What was not read, and the padding. */
  async skipRest(): Promise<void> {
    let left = this.#left + ((blockBytes - (this.#bytes % blockBytes)) % blockBytes);
    while (left > 0) {
      const chunk = await this.#reader.upTo(left);
      if (chunk === undefined) {
        throw new BrokenTar('the tar file ends in the middle of a file');
      }
      left -= chunk.length;
    }
    this.#left = 0;
  }
}

class ByteReader {
  readonly #source: AsyncIterator<Buffer>;
  #held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async #fill(): Promise<boolean> {
    while (this.#held.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) {
        return false;
      }
      this.#held = next.value;
    }
    return true;
  }

  async upTo(bytes: number): Promise<Buffer | undefined> {
    if (!(await this.#fill())) {
      return undefined;
    }
    const chunk = this.#held.subarray(0, bytes);
    this.#held = this.#held.subarray(chunk.length);
    return chunk;
  }

  async exactly(bytes: number): Promise<Buffer | undefined> {
    const parts: Buffer[] = [];
    for (let left = bytes; left > 0;) {
      const part = await this.upTo(left);
      if (part === undefined) {
        return undefined;
      }
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  /** To the end, so that checksums over the whole file are complete. */
  async drain(): Promise<void> {
    while (await this.#fill()) {
      this.#held = Buffer.alloc(0);
    }
  }
}

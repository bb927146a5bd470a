import { createHash } from 'node:crypto';
import { PassThrough, Transform, type Readable } from 'node:stream';
import { constants, createGunzip, createZstdCompress, createZstdDecompress } from 'node:zlib';

import { decryption, encryption, UnreadableFile } from './frames.ts';
import type { EncryptionKey } from './keys.ts';

/** Files in the repository say by their endings what was done to them: `.zst` or `.gz`, then `.enc`. */
export function sealedName(name: string, key: EncryptionKey | undefined): string {
  return key === undefined ? name : `${name}.enc`;
}

/** As it goes into the repository. */
export function sealed(source: Readable, key: EncryptionKey | undefined): Readable {
  return key === undefined ? source : chain(source, encryption(key));
}

/** Node's 64 KiB are 16,000 turns of the event loop for 1 GB. */
const chunkSize = 256 * 1024;

/** The content as it was before it was compressed and encrypted. */
export function unsealed(source: Readable, name: string, key: EncryptionKey | undefined): Readable {
  const encrypted = name.endsWith('.enc');
  if (encrypted && key === undefined) {
    source.destroy();
    throw new UnreadableFile('key', 'the file is encrypted, and kpipe.yaml names no key');
  }
  const plain = encrypted && key !== undefined ? chain(source, decryption(key)) : source;
  const inner = encrypted ? name.slice(0, -'.enc'.length) : name;
  if (inner.endsWith('.zst')) {
    return chain(plain, createZstdDecompress({ chunkSize }));
  }
  return inner.endsWith('.gz') ? chain(plain, createGunzip({ chunkSize })) : plain;
}

/** zstd with a checksum of the content, as WAL segments are kept. */
export function compressed(source: Readable): Readable {
  return chain(source, createZstdCompress({ params: { [constants.ZSTD_c_checksumFlag]: 1 } }));
}

/** Passes everything on, and knows its digest at the end. */
export class Digest extends Transform {
  readonly #hash = createHash('sha256');
  #bytes = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: null, chunk: Buffer) => void): void {
    this.#hash.update(chunk);
    this.#bytes += chunk.length;
    done(null, chunk);
  }

  result(): { readonly bytes: number; readonly sha256: string } {
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }
}

/** One of a tee's readers has gone before the end, for a reason of its own. */
export class ReaderLeft extends Error {
  override readonly name = 'ReaderLeft';
}

/**
 * Passes everything on, and gives the same to a second reader, `copy`. The slower of both sets the pace; the end of one
 * ends the other.
 */
export class Tee extends Transform {
  readonly copy = new PassThrough({ highWaterMark: 4 << 20 });

  constructor() {
    super();
    this.copy.on('error', (error) => this.destroy(error));
    this.copy.on('close', () => {
      if (!this.copy.readableEnded) {
        this.destroy(new ReaderLeft('the second reader has left'));
      }
    });
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: (error: null, chunk: Buffer) => void): void {
    if (this.copy.write(chunk)) {
      done(null, chunk);
    } else {
      this.copy.once('drain', () => done(null, chunk));
    }
  }

  override _flush(done: () => void): void {
    this.copy.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (error !== null || !this.copy.writableEnded) {
      this.copy.destroy(error ?? new ReaderLeft('the first reader has left'));
    }
    done(error);
  }
}

/** Like `pipe`, but an error of the first ends the second, and the other way round. */
export function chain<Next extends Transform>(source: Readable, next: Next): Next {
  source.on('error', (error) => next.destroy(error));
  next.on('close', () => source.destroy());
  source.pipe(next);
  return next;
}

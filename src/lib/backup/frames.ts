import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';

import type { EncryptionKey } from './keys.ts';

/**
 * The format of an encrypted file: a header, then frames of 1 MiB, each AES-256-GCM. A file has a key of its own
 * (HKDF-SHA256 of the repository's key and the header's salt), so a frame's nonce is its number. The first byte of the
 * nonce marks the last frame: a file cut at a frame's border does not decrypt, nor do frames in another order.
 *
 *     "KPIPEBK1" · key id (8) · salt (32) · frame 0 · tag (16) · frame 1 · tag (16) · …
 */
const magic = Buffer.from('KPIPEBK1', 'latin1');
const headerBytes = magic.length + 8 + 32;
const frameBytes = 1 << 20;
const tagBytes = 16;

/** Why a file could not be read back: the wrong key, or bytes that are not those that were written. */
export class UnreadableFile extends Error {
  override readonly name = 'UnreadableFile';
  readonly reason: 'key' | 'content';

  constructor(reason: 'key' | 'content', message: string) {
    super(message);
    this.reason = reason;
  }
}

function fileKey(key: EncryptionKey, salt: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key.bytes, salt, 'kpipe backup file', 32));
}

function nonce(index: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(last ? 1 : 0, 0);
  bytes.writeUIntBE(index, 6, 6);
  return bytes;
}

/** Collects chunks and hands out whole frames; what is left at the end is the last frame. */
class Frames {
  #chunks: Buffer[] = [];
  #size = 0;

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  get size(): number {
    return this.#size;
  }

  take(bytes: number): Buffer {
    const all = this.#chunks.length === 1 ? (this.#chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#chunks);
    const taken = all.subarray(0, bytes);
    const rest = all.subarray(bytes);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#size = rest.length;
    return taken;
  }
}

export function encryption(key: EncryptionKey): Transform {
  const salt = randomBytes(32);
  const secret = fileKey(key, salt);
  const frames = new Frames();
  let index = 0;
  const seal = (plain: Buffer, last: boolean): Buffer => {
    const cipher = createCipheriv('aes-256-gcm', secret, nonce(index, last));
    index += 1;
    return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  };
  const stream = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      frames.add(chunk);
      // One frame is always held back: only the end tells which is the last.
      while (frames.size > frameBytes) {
        this.push(seal(frames.take(frameBytes), false));
      }
      done();
    },
    flush(done) {
      this.push(seal(frames.take(frames.size), true));
      done();
    },
  });
  stream.push(Buffer.concat([magic, key.id, salt]));
  return stream;
}

/** Fails with `UnreadableFile` at the first frame that is not what was written. */
export function decryption(key: EncryptionKey): Transform {
  const frames = new Frames();
  let secret: Buffer | undefined;
  let index = 0;
  const open = (sealed: Buffer, last: boolean): Buffer => {
    if (secret === undefined || sealed.length < tagBytes) {
      throw new UnreadableFile('content', 'the file ends too early');
    }
    const decipher = createDecipheriv('aes-256-gcm', secret, nonce(index, last));
    decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
    try {
      const plain = [decipher.update(sealed.subarray(0, sealed.length - tagBytes)), decipher.final()];
      index += 1;
      return Buffer.concat(plain);
    } catch {
      throw new UnreadableFile('content', `frame ${index} does not decrypt: changed, cut or out of order`);
    }
  };
  const readHeader = (): void => {
    const header = frames.take(headerBytes);
    if (!header.subarray(0, magic.length).equals(magic)) {
      throw new UnreadableFile('content', 'no encrypted file of kpipe: its first bytes differ');
    }
    const id = header.subarray(magic.length, magic.length + 8);
    if (!id.equals(key.id)) {
      const found = id.toString('hex');
      throw new UnreadableFile('key', `encrypted with key ${found}; the configured key is ${key.id.toString('hex')}`);
    }
    secret = fileKey(key, header.subarray(magic.length + 8));
  };
  const guarded = (done: TransformCallback, work: () => void): void => {
    try {
      work();
      done();
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  };
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      guarded(done, () => {
        frames.add(chunk);
        if (secret === undefined && frames.size >= headerBytes) {
          readHeader();
        }
        // The header is the smaller part of a frame's size: it has been read by then.
        while (frames.size > frameBytes + tagBytes) {
          this.push(open(frames.take(frameBytes + tagBytes), false));
        }
      });
    },
    flush(done) {
      guarded(done, () => {
        this.push(open(frames.take(frames.size), true));
      });
    },
  });
}

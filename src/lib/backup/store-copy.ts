import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import type { CopiedFile } from './base-backup.ts';
import type { StoredFile } from './entry.ts';
import { Extraction } from './extract.ts';
import type { EncryptionKey } from './keys.ts';
import type { StagedBackup } from './repository.ts';
import { chain, Digest, ReaderLeft, sealed, sealedName, Tee } from './stored-file.ts';
import { CheckFailed } from './verdict.ts';

/**
 * Puts a base backup's files into the repository while pg_basebackup still writes them, in one pass: each is encrypted, and
 * what goes to the repository is at the same time opened again, unpacked and hashed for the manifest. What has arrived in
 * the repository is then read back and must have the same SHA-256: so what was proven is what is stored.
 */
export class StoredCopy {
  readonly #staged: StagedBackup;
  readonly #key: EncryptionKey | undefined;
  readonly #extraction: Extraction;
  readonly #signal: AbortSignal;
  readonly #onFailure: (error: unknown) => void;
  readonly #pending: Promise<StoredFile>[] = [];

  /** `onFailure`: told at once, so that the copy need not run to its end. */
  constructor(
    staged: StagedBackup,
    key: EncryptionKey | undefined,
    options: { readonly signal: AbortSignal; readonly onFailure: (error: unknown) => void },
  ) {
    this.#staged = staged;
    this.#key = key;
    this.#signal = options.signal;
    this.#onFailure = options.onFailure;
    this.#extraction = new Extraction({ key, signal: options.signal });
  }

  add(file: CopiedFile): void {
    const storing = this.#store(file);
    storing.catch(this.#onFailure);
    this.#pending.push(storing);
  }

  /** When every file is there and proven; data first, the manifest last. @throws CheckFailed MANIFEST */
  async finish(): Promise<readonly StoredFile[]> {
    const files = await Promise.all(this.#pending);
    this.#extraction.finish();
    return files.toSorted((left, right) => rank(left.name) - rank(right.name) || (left.name < right.name ? -1 : 1));
  }

  /** After a failure: until nothing is written any more. */
  async abandoned(): Promise<void> {
    await Promise.allSettled(this.#pending);
  }

  async #store(file: CopiedFile): Promise<StoredFile> {
    const name = sealedName(file.name, this.#key);
    const tee = chain(sealed(file.content(), this.#key), new Tee());
    const [written, read] = await Promise.allSettled([
      this.#staged.write(name, tee),
      this.#extraction.read(name, tee.copy),
    ]);
    if (written.status === 'rejected') {
      throw causeOf(written.reason, read);
    }
    if (read.status === 'rejected') {
      throw causeOf(read.reason, read);
    }
    await this.#readBack(written.value);
    return written.value;
  }

  async #readBack({ name, bytes, sha256 }: StoredFile): Promise<void> {
    const digest = chain(this.#staged.read(name), new Digest());
    await pipeline(digest, nowhere(), { signal: this.#signal });
    const found = digest.result();
    if (found.bytes !== bytes || found.sha256 !== sha256) {
      throw new CheckFailed(
        'MANIFEST',
        `${name} has ${found.bytes} bytes in the repository that are not those written`,
      );
    }
  }
}

/** Where the writer only stopped because the reader did, the reader knows why. */
function causeOf(reason: unknown, read: PromiseSettledResult<StoredFile>): unknown {
  return reason instanceof ReaderLeft && read.status === 'rejected' ? read.reason : reason;
}

function nowhere(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}

/** The log and the manifest after the data: a reader of the whole meets the manifest last. */
function rank(name: string): number {
  return name.startsWith('backup_manifest') ? 2 : name.startsWith('pg_wal') ? 1 : 0;
}

import { chownSync, createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import type { Readable } from 'node:stream';

import { KpipeError, messageOf } from '../errors.ts';
import type { ServerUser } from '../sandbox/directory.ts';
import type { BackupEntry, StoredFile } from './entry.ts';
import { expectLargeBuffers } from './external-memory.ts';
import { UnreadableFile } from './frames.ts';
import type { EncryptionKey } from './keys.ts';
import {
  compareWithManifest,
  describeMismatch,
  insidePath,
  ManifestMismatch,
  parseManifest,
  type FileDigest,
} from './manifest.ts';
import { chain, Digest, unsealed } from './stored-file.ts';
import { BrokenTar, readTar, type TarEntry } from './tar.ts';
import { CheckFailed } from './verdict.ts';
import { isFull } from './wal-archive.ts';

/** Where a backup's files go; they belong to the user that the server runs as. */
export interface ExtractTarget {
  readonly data: string;
  /** A folder for each tablespace. */
  readonly tablespaces: string;
  readonly user: ServerUser | undefined;
}

export interface ExtractOptions {
  readonly key: EncryptionKey | undefined;
  /** Absent: everything is read and held against the manifest, nothing is written. */
  readonly target?: ExtractTarget;
  readonly signal: AbortSignal;
}

export interface ExtractRequest extends ExtractOptions {
  readonly entry: Pick<BackupEntry, 'files'>;
  readonly read: (name: string) => Readable;
}

export interface ExtractResult {
  /** backup_manifest, as it was read. */
  readonly manifest: string;
  readonly files: number;
  readonly bytes: number;
}

/**
 * Reads every stored file to its end, through its key and its compression: its own SHA-256 against the entry, each file in
 * it against the manifest. What is written is what was hashed. @throws CheckFailed MANIFEST, KEY, NO_SPACE
 */
export async function extractBackup(request: ExtractRequest): Promise<ExtractResult> {
  const extraction = new Extraction(request);
  for (const stored of request.entry.files) {
    request.signal.throwIfAborted();
    const { bytes, sha256 } = await extraction.read(stored.name, request.read(stored.name));
    if (bytes !== stored.bytes || sha256 !== stored.sha256) {
      throw new CheckFailed(
        'MANIFEST',
        `${stored.name} is not what was stored: its SHA-256 differs (${bytes} of ${stored.bytes} bytes)`,
      );
    }
  }
  return extraction.finish();
}

/** What a backup's stored files hold, gathered while they are read, in any order. */
export class Extraction {
  readonly #options: ExtractOptions;
  readonly #digests: FileDigest[] = [];
  #manifestText = '';

  constructor(options: ExtractOptions) {
    this.#options = options;
    expectLargeBuffers();
  }

  /** Reads one stored file to its end, and says what it was. @throws CheckFailed MANIFEST, KEY, NO_SPACE */
  async read(name: string, source: Readable): Promise<StoredFile> {
    const { key, signal } = this.#options;
    const digest = chain(source, new Digest());
    const onAbort = (): void => void source.destroy(new Error('aborted'));
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const content = unsealed(digest, name, key);
      await this.#take(name, content);
      await drained(content);
    } catch (error) {
      signal.throwIfAborted();
      throw asCheckFailure(name, error);
    } finally {
      signal.removeEventListener('abort', onAbort);
      source.destroy();
    }
    return { name, ...digest.result() };
  }

  async #take(name: string, content: Readable): Promise<void> {
    if (name.startsWith('backup_manifest')) {
      this.#manifestText = Buffer.concat(await content.toArray()).toString('utf8');
      return;
    }
    const prefix = prefixOf(name);
    for await (const tarEntry of readTar(content)) {
      const digest = await takeEntry(this.#options.target, prefix, tarEntry);
      if (digest !== undefined && prefix !== 'pg_wal/') {
        this.#digests.push(digest);
      }
    }
  }

  /** Every file that was read against the manifest. @throws CheckFailed MANIFEST */
  finish(): ExtractResult {
    const digests = this.#digests;
    let mismatch: string | undefined;
    try {
      mismatch = describeMismatch(compareWithManifest(parseManifest(this.#manifestText), digests));
    } catch (error) {
      throw asCheckFailure('backup_manifest', error);
    }
    if (mismatch !== undefined) {
      throw new CheckFailed('MANIFEST', mismatch);
    }
    const bytes = digests.reduce((sum, digest) => sum + digest.bytes, 0);
    return { manifest: this.#manifestText, files: digests.length, bytes };
  }
}

/** `base.tar.zst.enc` is the data directory, `pg_wal.tar.…` its log, `16390.tar.…` a tablespace. */
function prefixOf(storedName: string): string {
  const name = storedName.split('.')[0] ?? '';
  return name === 'base' ? '' : name === 'pg_wal' ? 'pg_wal/' : `pg_tblspc/${name}/`;
}

async function drained(content: Readable): Promise<void> {
  if (!content.readableEnded) {
    for await (const _ of content) {
      // what follows the tar's end mark counts for the digest only
    }
  }
}

function asCheckFailure(name: string, error: unknown): unknown {
  // A store that is away says nothing about the backup.
  if (error instanceof CheckFailed || error instanceof KpipeError) {
    return error;
  }
  if (error instanceof UnreadableFile) {
    return new CheckFailed(error.reason === 'key' ? 'KEY' : 'MANIFEST', `${name}: ${error.message}`);
  }
  if (isFull(error)) {
    return new CheckFailed('NO_SPACE', 'the disk that is restored to is full');
  }
  const own = error instanceof BrokenTar || error instanceof ManifestMismatch;
  return new CheckFailed('MANIFEST', `${name}: ${own ? error.message : `cannot be read: ${messageOf(error)}`}`);
}

async function takeEntry(
  target: ExtractTarget | undefined,
  prefix: string,
  entry: TarEntry,
): Promise<FileDigest | undefined> {
  if (entry.path === './' || entry.path === '.') {
    return undefined;
  }
  const path = prefix + insidePath(entry.path);
  switch (entry.type) {
    case 'directory':
      if (target !== undefined) {
        makeDirectory(target, placeOf(target, path));
      }
      return undefined;
    case 'symlink':
      // A tablespace: the server makes the link itself, from tablespace_map.
      if (!path.startsWith('pg_tblspc/')) {
        throw new ManifestMismatch(`${path} is a link`);
      }
      return undefined;
    case 'other':
      throw new ManifestMismatch(`${path} is neither a file nor a directory`);
    case 'file':
      return takeFile(target, path, entry);
  }
}

async function takeFile(target: ExtractTarget | undefined, path: string, entry: TarEntry): Promise<FileDigest> {
  const hash = createHash('sha256');
  async function* hashed(): AsyncGenerator<Buffer> {
    for await (const chunk of entry.content) {
      hash.update(chunk);
      yield chunk;
    }
  }
  if (target === undefined) {
    for await (const _ of hashed()) {
      // read for its digest
    }
  } else {
    await writeFile(target, placeOf(target, path), hashed(), entry.bytes);
  }
  return { path, bytes: entry.bytes, sha256: hash.digest('hex') };
}

async function writeFile(
  target: ExtractTarget,
  place: string,
  content: AsyncIterable<Buffer>,
  bytes: number,
): Promise<void> {
  makeDirectory(target, dirname(place));
  if (bytes > 1 << 20) {
    await pipeline(content, createWriteStream(place, { mode: 0o600 }));
  } else {
    // Most files of a cluster are small: a stream each would be the larger part of the work.
    const handle = await open(place, 'w', 0o600);
    try {
      for await (const chunk of content) {
        await handle.writeFile(chunk);
      }
    } finally {
      await handle.close();
    }
  }
  give(target, place);
}

function placeOf({ data, tablespaces }: ExtractTarget, path: string): string {
  const tablespace = /^pg_tblspc\/(\d+)(\/.*)?$/.exec(path);
  return tablespace === null ? join(data, path) : join(tablespaces, tablespace[1] ?? '', tablespace[2] ?? '');
}

function makeDirectory(target: ExtractTarget, path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  const shortest = first?.length ?? Number.POSITIVE_INFINITY;
  for (let made = path; made.length >= shortest; made = dirname(made)) {
    give(target, made);
  }
}

export function give({ user }: ExtractTarget, path: string): void {
  if (user !== undefined) {
    chownSync(path, user.uid, user.gid);
  }
}

/** To be called once for a cluster that is whole. The server makes its links from this file: it must name where the tablespaces are now. */
export function placeTablespaces(target: ExtractTarget): void {
  const map = join(target.data, 'tablespace_map');
  let text: string;
  try {
    text = readFileSync(map, 'utf8');
  } catch {
    return;
  }
  const lines = text.split('\n').filter((line) => line !== '');
  writeFileSync(
    map,
    lines.map((line) => `${line.split(' ')[0] ?? ''} ${join(target.tablespaces, line.split(' ')[0] ?? '')}\n`).join(''),
  );
}

import { createHash, randomUUID } from 'node:crypto';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { codeOf, KpipeError, messageOf } from '../errors.ts';
import { isBackupId, type StoredFile } from './entry.ts';

/**
 * Where backups are kept. An object store can join: names are flat paths, a written object is there whole or not at all,
 * and a backup exists once `publish` has put its entry, which is the last thing of it to be written.
 */
export interface BackupRepository {
  /** What people are told: `directory /srv/backups`. */
  readonly title: string;
  /** Ids of published backups, oldest first. */
  listBackups(): readonly string[];
  /** The entry's document. @throws KPIPE_BACKUP_MISSING */
  readEntry(id: string): unknown;
  readFile(id: string, name: string): Readable;
  /** Begins a backup: nothing of it is seen before `publish`. */
  stage(id: string): StagedBackup;
  removeBackup(id: string): void;
  /** Removes what killed runs left, and says which. */
  clearUnpublished(): readonly string[];
  /** Names and sizes in the archive. */
  listWal(): readonly { readonly name: string; readonly bytes: number }[];
  readWal(name: string): Readable;
  writeWal(name: string, source: Readable): Promise<StoredFile>;
  removeWal(name: string): void;
  writeReport(id: string, name: string, text: string): Promise<void>;
  readReports(id: string): readonly unknown[];
  freeBytes(): Promise<number>;
}

export interface StagedBackup {
  write(name: string, source: Readable): Promise<StoredFile>;
  read(name: string): Readable;
  /** Makes the backup exist, at once. */
  publish(entry: object): Promise<void>;
  discard(): void;
}

const entryFile = 'entry.json';

export class DirectoryRepository implements BackupRepository {
  readonly title: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    this.title = `directory ${root}`;
  }

  listBackups(): readonly string[] {
    return names(join(this.#root, 'backups'))
      .filter((name) => isBackupId(name) && existsSync(join(this.#root, 'backups', name, entryFile)))
      .toSorted();
  }

  readEntry(id: string): unknown {
    const path = join(this.#backup(id), entryFile);
    try {
      return JSON.parse(readFileSync(path, 'utf8'));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') {
        throw new KpipeError('KPIPE_BACKUP_MISSING', `there is no backup ${id} in ${this.title}`, {
          next: 'kpipe backup list',
        });
      }
      return undefined;
    }
  }

  readFile(id: string, name: string): Readable {
    return createReadStream(join(this.#backup(id), name), { highWaterMark: 1 << 20 });
  }

  stage(id: string): StagedBackup {
    const directory = `${this.#backup(id)}.partial`;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    return {
      write: (name, source) => writeDurably(join(directory, name), name, source),
      read: (name) => createReadStream(join(directory, name), { highWaterMark: 1 << 20 }),
      publish: async (entry) => {
        await writeDurably(
          join(directory, entryFile),
          entryFile,
          Readable.from([`${JSON.stringify(entry, null, 2)}\n`]),
        );
        await syncDirectory(directory);
        renameSync(directory, this.#backup(id));
        await syncDirectory(dirname(directory));
      },
      discard: () => rmSync(directory, { recursive: true, force: true }),
    };
  }

  removeBackup(id: string): void {
    // Out of sight first: a killed removal leaves no backup that is half there.
    const doomed = `${this.#backup(id)}.partial`;
    renameSync(this.#backup(id), doomed);
    rmSync(doomed, { recursive: true, force: true });
    rmSync(join(this.#root, 'reports', id), { recursive: true, force: true });
  }

  clearUnpublished(): readonly string[] {
    const left = names(join(this.#root, 'backups')).filter((name) => name.endsWith('.partial'));
    left.forEach((name) => rmSync(join(this.#root, 'backups', name), { recursive: true, force: true }));
    names(join(this.#root, 'wal'))
      .filter((name) => name.endsWith('.writing') && isOld(join(this.#root, 'wal', name)))
      .forEach((name) => rmSync(join(this.#root, 'wal', name), { force: true }));
    return left.map((name) => name.slice(0, -'.partial'.length));
  }

  listWal(): readonly { readonly name: string; readonly bytes: number }[] {
    const directory = join(this.#root, 'wal');
    return names(directory)
      .filter((name) => !name.endsWith('.writing'))
      .toSorted()
      .map((name) => ({ name, bytes: statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0 }));
  }

  readWal(name: string): Readable {
    return createReadStream(join(this.#root, 'wal', name), { highWaterMark: 1 << 20 });
  }

  async writeWal(name: string, source: Readable): Promise<StoredFile> {
    const directory = join(this.#root, 'wal');
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Two kpipes, or two parts of one, may move the same segment at once: both write the same, one rename is the last.
    const temporary = join(directory, `${name}.${randomUUID()}.writing`);
    const stored = await writeDurably(temporary, name, source);
    renameSync(temporary, join(directory, name));
    await syncDirectory(directory);
    return stored;
  }

  removeWal(name: string): void {
    rmSync(join(this.#root, 'wal', name), { force: true });
  }

  async writeReport(id: string, name: string, text: string): Promise<void> {
    const directory = join(this.#root, 'reports', id);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const temporary = join(directory, `.${name}.writing`);
    await writeDurably(temporary, name, Readable.from([text]));
    renameSync(temporary, join(directory, name));
  }

  readReports(id: string): readonly unknown[] {
    const directory = join(this.#root, 'reports', id);
    return names(directory)
      .filter((name) => name.endsWith('.json') && !name.startsWith('.'))
      .toSorted()
      .map((name) => parseJson(readFileSync(join(directory, name), 'utf8')));
  }

  async freeBytes(): Promise<number> {
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
    return freeBytesAt(this.#root);
  }

  #backup(id: string): string {
    if (!isBackupId(id)) {
      throw new KpipeError('KPIPE_BACKUP_MISSING', `${JSON.stringify(id)} is no id of a backup`, {
        next: 'kpipe backup list shows them',
      });
    }
    return join(this.#root, 'backups', id);
  }
}

/** Nobody is still writing it: a segment takes seconds. */
function isOld(path: string): boolean {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > 3_600_000;
}

export async function freeBytesAt(directory: string): Promise<number> {
  const { statfs } = await import('node:fs/promises');
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

function names(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') {
      return [];
    }
    throw new KpipeError('KPIPE_BACKUP_FAILED', `the repository cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** Written, synced, and counted on the way. */
async function writeDurably(path: string, name: string, source: Readable): Promise<StoredFile> {
  const hash = createHash('sha256');
  let bytes = 0;
  await pipeline(
    source,
    async function* count(chunks: AsyncIterable<Buffer | string>) {
      for await (const chunk of chunks) {
        const buffer = Buffer.from(chunk);
        hash.update(buffer);
        bytes += buffer.length;
        yield buffer;
      }
    },
    createWriteStream(path, { mode: 0o600, flush: true }),
  );
  return { name, bytes, sha256: hash.digest('hex') };
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

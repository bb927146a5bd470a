import { randomUUID } from 'node:crypto';
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
import { freeBytesAt } from './free-bytes.ts';
import {
  backupMissing,
  entryFile,
  parseJson,
  requireBackupId,
  type ArchivedFile,
  type BackupRepository,
  type StagedBackup,
  type StageOptions,
} from './repository.ts';
import { Digest } from './stored-file.ts';

/** Each write is synced and renamed into place, and its directory synced: what is there is there whole, also after a power cut. */
export class DirectoryRepository implements BackupRepository {
  readonly title: string;
  readonly location: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    this.location = root;
    this.title = `directory ${root}`;
  }

  async prepare(): Promise<'made' | 'found'> {
    const found = existsSync(this.#root);
    mkdirSync(this.#root, { recursive: true, mode: 0o700 });
    return found ? 'found' : 'made';
  }

  async listBackups(): Promise<readonly string[]> {
    return names(join(this.#root, 'backups'))
      .filter((name) => isBackupId(name) && existsSync(join(this.#root, 'backups', name, entryFile)))
      .toSorted();
  }

  async readEntry(id: string): Promise<unknown> {
    const path = join(this.#backup(id), entryFile);
    try {
      return JSON.parse(readFileSync(path, 'utf8'));
    } catch (error) {
      if (codeOf(error) === 'ENOENT') {
        throw backupMissing(id, this.title);
      }
      return undefined;
    }
  }

  readFile(id: string, name: string): Readable {
    return createReadStream(join(this.#backup(id), name), { highWaterMark: 1 << 20 });
  }

  async stage(id: string, _options: StageOptions): Promise<StagedBackup> {
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
      discard: async () => rmSync(directory, { recursive: true, force: true }),
    };
  }

  async removeBackup(id: string): Promise<void> {
    // Out of sight first: a killed removal leaves no backup that is half there.
    const doomed = `${this.#backup(id)}.partial`;
    renameSync(this.#backup(id), doomed);
    rmSync(doomed, { recursive: true, force: true });
    rmSync(join(this.#root, 'reports', id), { recursive: true, force: true });
  }

  async clearUnpublished(): Promise<readonly string[]> {
    const left = names(join(this.#root, 'backups')).filter((name) => name.endsWith('.partial'));
    left.forEach((name) => rmSync(join(this.#root, 'backups', name), { recursive: true, force: true }));
    names(join(this.#root, 'wal'))
      .filter((name) => name.endsWith('.writing') && isOld(join(this.#root, 'wal', name)))
      .forEach((name) => rmSync(join(this.#root, 'wal', name), { force: true }));
    return left.map((name) => name.slice(0, -'.partial'.length));
  }

  async listWal(prefix = ''): Promise<readonly ArchivedFile[]> {
    const directory = join(this.#root, 'wal');
    return names(directory)
      .filter((name) => name.startsWith(prefix) && !name.endsWith('.writing'))
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

  async removeWal(wanted: readonly string[]): Promise<void> {
    wanted.forEach((name) => rmSync(join(this.#root, 'wal', name), { force: true }));
  }

  async writeReport(id: string, name: string, text: string): Promise<void> {
    const directory = join(this.#root, 'reports', id);
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const temporary = join(directory, `.${name}.writing`);
    await writeDurably(temporary, name, Readable.from([text]));
    renameSync(temporary, join(directory, name));
  }

  async readReports(id: string): Promise<readonly unknown[]> {
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
    return join(this.#root, 'backups', requireBackupId(id));
  }
}

/** Nobody is still writing it: a segment takes seconds. */
function isOld(path: string): boolean {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) > 3_600_000;
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
  const digest = new Digest();
  await pipeline(source, digest, createWriteStream(path, { mode: 0o600, flush: true }));
  return { name, ...digest.result() };
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

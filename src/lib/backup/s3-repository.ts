import { hostname } from 'node:os';
import type { Readable } from 'node:stream';

import { KpipeError } from '../errors.ts';
import type { ObjectStore } from '../s3/object-store.ts';
import { isBackupId, type StoredFile } from './entry.ts';
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

/**
 * A repository in a bucket. There is no rename: the files of a backup go where they stay, below `backups/ID/`, and do not
 * count before `backups/ID/entry.json` is put, on condition that there is none. Until then `unpublished/ID.json` names the
 * machine that is at work, and is put again every hour: what it names may be removed by that machine at once, and by others
 * when it has not been put for a day. A removal goes the same way backwards, so that it can be finished after a kill.
 */
const unpublished = 'unpublished/';
const heartbeatMs = 3_600_000;
const abandonedAfterMs = 24 * 3_600_000;
const walUploadMs = 3_600_000;

/** 8 MiB parts hold 78 GiB; of a larger cluster they grow, so that 9,000 hold all of it uncompressed. */
const smallestPart = 8 << 20;
const wantedParts = 9000;

export class S3Repository implements BackupRepository {
  readonly title: string;
  readonly location: string;
  readonly #store: ObjectStore;
  readonly #owner: () => string;

  /** `owner` names this machine's part of the work, and stays the same from run to run. */
  constructor(store: ObjectStore, owner: () => string) {
    this.#store = store;
    this.#owner = owner;
    this.location = store.location;
    this.title = store.location;
  }

  /** The bucket is its owner's to make; written, listed and removed here is one small object. */
  async prepare(): Promise<'made' | 'found'> {
    const probe = `${unpublished}probe-${this.#owner()}`;
    await this.#store.list('backups/');
    await this.#store.put(probe, 'kpipe backup init looks whether it may write here\n');
    await this.#store.remove([probe]);
    return 'found';
  }

  async listBackups(): Promise<readonly string[]> {
    const objects = await this.#store.list('backups/');
    return objects.flatMap(({ key }) => {
      const [, id = '', name] = key.split('/');
      return name === entryFile && isBackupId(id) ? [id] : [];
    });
  }

  async readEntry(id: string): Promise<unknown> {
    const text = await this.#store.text(backupKey(id, entryFile));
    if (text === undefined) {
      throw backupMissing(id, this.title);
    }
    return parseJson(text);
  }

  readFile(id: string, name: string): Readable {
    return this.#store.read(backupKey(id, name));
  }

  async stage(id: string, { expectedBytes, signal }: StageOptions): Promise<StagedBackup> {
    const mark = (): Promise<void> => this.#mark(id, signal);
    await mark();
    // A mark that could not be put now is put an hour later; it counts for a day.
    const heartbeat = setInterval(() => void mark().catch(() => undefined), heartbeatMs).unref();
    const written: StoredFile[] = [];
    const partBytes = partBytesFor(expectedBytes);
    return {
      write: async (name, source) => {
        const stored = { name, ...(await this.#store.upload(backupKey(id, name), source, { partBytes, signal })) };
        written.push(stored);
        return stored;
      },
      read: (name) => this.#store.read(backupKey(id, name)),
      publish: async (entry) => {
        await this.#publish(id, entry, written);
        clearInterval(heartbeat);
        // The backup exists: a mark that stays is taken away by the next run.
        await this.#store.remove([markKey(id)]).catch(() => undefined);
      },
      discard: async () => {
        clearInterval(heartbeat);
        // What cannot be removed now, since the store is away, is removed by the next run: the mark stays, too.
        await this.#removeUnpublished(id).catch(() => undefined);
      },
    };
  }

  async removeBackup(id: string): Promise<void> {
    await this.#mark(id);
    await this.#store.remove([backupKey(id, entryFile)]);
    const reports = await this.#store.list(`reports/${requireBackupId(id)}/`);
    await this.#store.remove(reports.map(({ key }) => key));
    await this.#removeUnpublished(id);
  }

  async clearUnpublished(): Promise<readonly string[]> {
    const published = new Set(await this.listBackups());
    const cleared: string[] = [];
    for (const { key, modifiedAtMs } of await this.#store.list(unpublished)) {
      const id = key.slice(unpublished.length, -'.json'.length);
      const mine = (await this.#store.text(key))?.includes(`"owner":${JSON.stringify(this.#owner())}`) === true;
      if (!isBackupId(id) || !(mine || modifiedAtMs < Date.now() - abandonedAfterMs)) {
        continue;
      }
      if (published.has(id)) {
        await this.#store.remove([key]);
      } else {
        await this.#removeUnpublished(id);
        cleared.push(id);
      }
    }
    await this.#store.abortUploads('wal/', Date.now() - walUploadMs);
    return cleared;
  }

  async listWal(prefix = ''): Promise<readonly ArchivedFile[]> {
    const objects = await this.#store.list(`wal/${prefix}`);
    return objects.map(({ key, bytes }) => ({ name: key.slice('wal/'.length), bytes }));
  }

  readWal(name: string): Readable {
    return this.#store.read(`wal/${name}`);
  }

  /** Two kpipes may store the same segment at once: both are whole, and the last one stays. */
  async writeWal(name: string, source: Readable): Promise<StoredFile> {
    return { name, ...(await this.#store.upload(`wal/${name}`, source, { partBytes: smallestPart, signal: never })) };
  }

  async removeWal(names: readonly string[]): Promise<void> {
    await this.#store.remove(names.map((name) => `wal/${name}`));
  }

  async writeReport(id: string, name: string, text: string): Promise<void> {
    await this.#store.put(`reports/${requireBackupId(id)}/${name}`, text);
  }

  async readReports(id: string): Promise<readonly unknown[]> {
    const objects = await this.#store.list(`reports/${requireBackupId(id)}/`);
    const reports = objects.filter(({ key }) => key.endsWith('.json'));
    return Promise.all(reports.map(async ({ key }) => parseJson((await this.#store.text(key)) ?? '')));
  }

  freeBytes(): Promise<null> {
    return Promise.resolve(null);
  }

  /** Everything that was written must still be there: another machine may have taken this one for dead. */
  async #publish(id: string, entry: object, written: readonly StoredFile[]): Promise<void> {
    const there = await this.#store.list(`backups/${id}/`);
    const sizes = new Map(there.map(({ key, bytes }) => [key, bytes]));
    const lost = written.find(({ name, bytes }) => sizes.get(backupKey(id, name)) !== bytes);
    if (lost !== undefined) {
      throw new KpipeError('KPIPE_BACKUP_FAILED', `${lost.name} of backup ${id} is no longer in ${this.title}`, {
        next: 'does another kpipe, a lifecycle rule of the bucket or a person remove what is below this prefix?',
      });
    }
    const outcome = await this.#store.putNew(backupKey(id, entryFile), `${JSON.stringify(entry, null, 2)}\n`);
    if (outcome === 'there') {
      throw new KpipeError('KPIPE_BACKUP_FAILED', `there is a backup ${id} in ${this.title} already`, {
        next: 'kpipe backup create',
      });
    }
  }

  #mark(id: string, signal?: AbortSignal): Promise<void> {
    const mark = { owner: this.#owner(), host: hostname(), pid: process.pid };
    return this.#store.put(markKey(id), `${JSON.stringify(mark)}\n`, signal);
  }

  /** The mark goes last: a removal that is killed is begun again. */
  async #removeUnpublished(id: string): Promise<void> {
    const files = `backups/${requireBackupId(id)}/`;
    await this.#store.abortUploads(files);
    const objects = await this.#store.list(files);
    await this.#store.remove(objects.map(({ key }) => key));
    await this.#store.remove([markKey(id)]);
  }
}

const never = new AbortController().signal;

function backupKey(id: string, name: string): string {
  return `backups/${requireBackupId(id)}/${name}`;
}

function markKey(id: string): string {
  return `${unpublished}${requireBackupId(id)}.json`;
}

/** @internal */
export function partBytesFor(expectedBytes: number | null): number {
  const mebibytes = Math.ceil((expectedBytes ?? 0) / wantedParts / (1 << 20));
  return Math.max(smallestPart, mebibytes << 20);
}

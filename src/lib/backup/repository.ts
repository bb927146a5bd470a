import type { Readable } from 'node:stream';

import { KpipeError } from '../errors.ts';
import { isBackupId, type StoredFile } from './entry.ts';

/**
 * Where backups are kept: a directory or an object store. Names are flat paths, a written object is there whole or not at
 * all, and a backup exists once `publish` has put its entry, which is the last thing of it to be written. Every operation
 * is a round trip for an object store.
 */
export interface BackupRepository {
  /** What people are told: `directory /srv/backups`. */
  readonly title: string;
  /** As kpipe.yaml names it, a directory by its absolute path. */
  readonly location: string;
  /** Makes it where that is kpipe's to do, once; elsewhere looks whether it can be used. */
  prepare(): Promise<'made' | 'found'>;
  /** Ids of published backups, oldest first. */
  listBackups(): Promise<readonly string[]>;
  /** The entry's document; undefined where it is no JSON. @throws KPIPE_BACKUP_MISSING */
  readEntry(id: string): Promise<unknown>;
  /** A stream that fails where the file is missing. */
  readFile(id: string, name: string): Readable;
  /** Begins a backup: nothing of it is seen before `publish`. */
  stage(id: string, options: StageOptions): Promise<StagedBackup>;
  /** Out of sight first, then gone, with its reports. */
  removeBackup(id: string): Promise<void>;
  /** Removes what killed runs left, and says which. Call it with the lock `create` held. */
  clearUnpublished(): Promise<readonly string[]>;
  /** The archive, in the order of names; only what begins with `prefix`, such as a segment's name. */
  listWal(prefix?: string): Promise<readonly ArchivedFile[]>;
  readWal(name: string): Readable;
  writeWal(name: string, source: Readable): Promise<StoredFile>;
  removeWal(names: readonly string[]): Promise<void>;
  writeReport(id: string, name: string, text: string): Promise<void>;
  /** In the order of their names; undefined for one that is no JSON. */
  readReports(id: string): Promise<readonly unknown[]>;
  /** Null where there is no such limit. */
  freeBytes(): Promise<number | null>;
}

export interface ArchivedFile {
  readonly name: string;
  readonly bytes: number;
}

export interface StageOptions {
  /** How large one of its files may become; null when not known. */
  readonly expectedBytes: number | null;
  /** Ends what is being written; `discard` is still to be called. */
  readonly signal: AbortSignal;
}

export interface StagedBackup {
  write(name: string, source: Readable): Promise<StoredFile>;
  read(name: string): Readable;
  /** Makes the backup exist, at once. */
  publish(entry: object): Promise<void>;
  discard(): Promise<void>;
}

/** The document that makes a backup exist. */
export const entryFile = 'entry.json';

/** @throws KPIPE_BACKUP_MISSING for what is no id: it would be a path of its own */
export function requireBackupId(id: string): string {
  if (!isBackupId(id)) {
    throw new KpipeError('KPIPE_BACKUP_MISSING', `${JSON.stringify(id)} is no id of a backup`, {
      next: 'kpipe backup list shows them',
    });
  }
  return id;
}

export function backupMissing(id: string, title: string): KpipeError {
  return new KpipeError('KPIPE_BACKUP_MISSING', `there is no backup ${id} in ${title}`, { next: 'kpipe backup list' });
}

/** Undefined for what is no JSON: a damaged document is judged by its reader. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

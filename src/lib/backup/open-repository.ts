import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import type { BackupConfig } from '../config/load.ts';
import { ObjectStore } from '../s3/object-store.ts';
import { DirectoryRepository } from './directory-repository.ts';
import type { BackupRepository } from './repository.ts';
import { S3Repository } from './s3-repository.ts';

export interface OpenedRepository {
  readonly repository: BackupRepository;
  /** Where this machine keeps what is its own: the segment that is being received, records of processes, locks. */
  readonly localDirectory: string;
}

/** `postgres.backups.repository` of kpipe.yaml, and nothing is done there yet. */
export function openRepository(backups: BackupConfig): OpenedRepository {
  const { repository, directory, local, s3 } = backups;
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(repository) ?? [];
  if (bucket === undefined) {
    const root = resolve(directory, repository);
    const localDirectory = local === undefined ? join(root, 'local') : resolve(directory, local);
    return { repository: new DirectoryRepository(root), localDirectory };
  }
  // Beside kpipe.yaml, not below somebody's home: a shell and a unit of systemd must find the same segment.
  const localDirectory = resolve(directory, local ?? 'backup-local');
  const trimmed = prefix.replace(/\/+$/, '');
  const store = new ObjectStore({
    bucket,
    prefix: trimmed === '' ? '' : `${trimmed}/`,
    endpoint: s3.endpoint,
    region: s3.region,
    forcePathStyle: s3.forcePathStyle ?? s3.endpoint !== undefined,
    credentials: s3.credentials,
    giveUpMs: s3.giveUp,
  });
  return { repository: new S3Repository(store, () => ownerOf(localDirectory)), localDirectory };
}

/** A name of its own for what is in this directory, made once. */
function ownerOf(localDirectory: string): string {
  const path = join(localDirectory, 'owner');
  if (!existsSync(path)) {
    mkdirSync(localDirectory, { recursive: true, mode: 0o700 });
    writeFileSync(path, `${randomUUID()}\n`, { mode: 0o600 });
  }
  return readFileSync(path, 'utf8').trim();
}

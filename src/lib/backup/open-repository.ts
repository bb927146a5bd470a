import { join, resolve } from 'node:path';

import type { BackupConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { DirectoryRepository } from './directory-repository.ts';
import type { BackupRepository } from './repository.ts';

export interface OpenedRepository {
  readonly repository: BackupRepository;
  /** Where this machine keeps what is its own: the segment that is being received, records of processes, locks. */
  readonly localDirectory: string;
}

/** `postgres.backups.repository` of kpipe.yaml, and nothing is done there yet. @throws KPIPE_CONFIG_INVALID */
export function openRepository({ repository, directory }: BackupConfig): OpenedRepository {
  const scheme = /^([a-z0-9]+):\/\//.exec(repository)?.[1];
  if (scheme !== undefined) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `a repository in ${scheme}:// is not supported: it is a directory`, {
      next: 'name a directory, on another machine than the database where it can be',
    });
  }
  const root = resolve(directory, repository);
  return { repository: new DirectoryRepository(root), localDirectory: join(root, 'local') };
}

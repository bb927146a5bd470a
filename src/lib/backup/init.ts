import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

import type { BackupKey, Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { createSlot, readSlot, withBackupPool } from '../postgres/backup-source.ts';
import { generateEncryptionKey, generateSigningKey, loadKeys } from './keys.ts';
import { openRepository } from './open-repository.ts';
import { archiveSlot, backupSection, openBackupPlace } from './place.ts';

/** The document of `kpipe backup init`: what there is now, and what of it was made. */
export interface BackupInitiated {
  readonly repository: string;
  readonly made: readonly string[];
  readonly found: readonly string[];
  readonly encryptionKeyId: string | null;
  readonly signingKeyId: string;
}

/**
 * Makes what backups need once: the keys that kpipe.yaml names by `${file:…}`, the repository and the slot. What is there
 * is left alone. @throws KPIPE_CONFIG_INVALID, KPIPE_POSTGRES_…
 */
export async function initBackups(config: Config): Promise<BackupInitiated> {
  const { postgres, backups } = backupSection(config);
  const made: string[] = [];
  const found: string[] = [];
  const place = (path: string | undefined, write: (path: string) => void): void => {
    if (path === undefined || existsSync(path)) {
      found.push(path ?? 'a key that is no file');
    } else {
      mkdirSync(dirname(path), { recursive: true });
      write(path);
      made.push(path);
    }
  };
  if (backups.encryption !== undefined) {
    place(keyFile(backups.encryption, backups.directory), (path) =>
      writeKey(path, `${generateEncryptionKey()}\n`, 0o600),
    );
  }
  place(keyFile(backups.signing, backups.directory), (path) => {
    const { privatePem, publicPem } = generateSigningKey();
    writeKey(`${path}.pub`, publicPem, 0o644);
    writeKey(path, privatePem, 0o600);
  });
  const { repository } = openRepository(backups);
  const { location } = repository;
  ((await repository.prepare()) === 'made' ? made : found).push(location);
  const { encryption, signing } = loadKeys(backups);
  const slot = archiveSlot(openBackupPlace(config));
  await withBackupPool(postgres.primary, async (pool) => {
    const existing = await readSlot(pool, slot);
    if (existing === null) {
      await createSlot(pool, slot);
    }
    (existing === null ? made : found).push(`slot ${slot}`);
  });
  return {
    repository: location,
    made,
    found,
    encryptionKeyId: encryption?.id.toString('hex') ?? null,
    signingKeyId: signing.id,
  };
}

/** `${file:./backup.key}` → its path; undefined for a key that comes from somewhere else. */
function keyFile({ reference }: BackupKey, directory: string): string | undefined {
  const path = /^\$\{file:([^}]+)\}$/.exec(reference ?? '')?.[1];
  return path === undefined ? undefined : resolve(directory, path);
}

/** Never over a file that is there: a key that is lost is a backup that is lost. */
function writeKey(path: string, text: string, mode: number): void {
  try {
    writeFileSync(path, text, { mode, flag: 'wx' });
  } catch (error) {
    throw new KpipeError('KPIPE_INPUT_INVALID', `the key ${path} cannot be written`, {
      next: 'look whether it is there already, and at the rights of its directory',
      cause: error,
    });
  }
}

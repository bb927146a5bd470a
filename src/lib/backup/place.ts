import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { BackupConfig, Config, PostgresConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { resumeReplay } from '../postgres/fingerprint.ts';
import { withBackupPool } from '../postgres/backup-source.ts';
import { takeLock } from '../sandbox/lock.ts';
import { identityOf, isAlive, parseIdentity } from '../sandbox/process-identity.ts';
import { loadKeys, type BackupKeys } from './keys.ts';
import { openWorkspace, stopAll, type Workspace } from './programs.ts';
import { openRepository } from './open-repository.ts';
import type { BackupRepository } from './repository.ts';

/** Everything that the backup commands stand on: kpipe.yaml's section, the repository, this machine's part, the keys. */
export interface BackupPlace {
  readonly config: Config;
  readonly postgres: PostgresConfig;
  readonly backups: BackupConfig;
  readonly repository: BackupRepository;
  readonly keys: BackupKeys;
  readonly local: LocalState;
}

/** What belongs to this machine, not to the repository: the segment that is being received, records of processes, locks. */
export interface LocalState {
  readonly root: string;
  readonly workspace: Workspace;
  readonly incoming: string;
  readonly work: string;
  readonly locks: string;
}

/** @throws KPIPE_CONFIG_INVALID, KPIPE_SECRET_UNAVAILABLE */
export function openBackupPlace(config: Config): BackupPlace {
  const { postgres, backups } = backupSection(config);
  const keys = loadKeys(backups);
  const { repository, localDirectory } = openRepository(backups);
  return { config, postgres, backups, repository, keys, local: openLocalState(localDirectory) };
}

export function backupSection(config: Config): { readonly postgres: PostgresConfig; readonly backups: BackupConfig } {
  const { postgres } = config;
  if (postgres?.backups === undefined) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', 'kpipe.yaml has no postgres.backups section', {
      next: 'add postgres.backups with repository, walArchive and encryption; `kpipe init` shows it',
    });
  }
  return { postgres, backups: postgres.backups };
}

function openLocalState(directory: string): LocalState {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const local = {
    root: directory,
    workspace: openWorkspace(directory),
    incoming: join(directory, 'incoming'),
    work: join(directory, 'work'),
    locks: join(directory, 'locks'),
  };
  for (const path of [local.incoming, local.work, local.locks]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  }
  return local;
}

/** The slot that the write-ahead log is received through. @throws KPIPE_CONFIG_INVALID without an archive */
export function archiveSlot({ backups }: Pick<BackupPlace, 'backups'>): string {
  if (backups.walArchive === undefined) {
    throw new KpipeError(
      'KPIPE_CONFIG_INVALID',
      'postgres.backups.walArchive is missing: without it a backup is one moment',
      {
        next: 'add walArchive: {method: receivewal, slot: kpipe_wal}',
      },
    );
  }
  return backups.walArchive.slot;
}

/** Held by whoever receives the write-ahead log. */
export const receiverLock = 'receiver';

/** @throws KPIPE_LOCKED naming the process that has it */
export async function withBackupLock<Result>(
  local: LocalState,
  name: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const path = join(local.locks, name);
  const owner = takeLock(path);
  if (owner !== 'taken') {
    throw new KpipeError('KPIPE_LOCKED', `another kpipe (pid ${owner.pid}) holds the backup's lock "${name}"`, {
      next: `wait for it, or end it: kill ${owner.pid}`,
    });
  }
  try {
    return await work();
  } finally {
    rmSync(path, { force: true });
  }
}

/** Whether a lock is held by a kpipe that lives. */
export function isLocked(local: LocalState, name: string): boolean {
  const path = join(local.locks, name);
  const owner = existsSync(path) ? parseIdentity(readFileSync(path, 'utf8')) : undefined;
  return owner !== undefined && isAlive(owner);
}

const pauseRecord = 'paused-standby.json';

/** Written right before a standby's replay is paused. */
export function recordPause(local: LocalState, standby: string): void {
  writeFileSync(join(local.root, pauseRecord), JSON.stringify({ ...identityOf(process.pid), standby }), {
    mode: 0o600,
  });
}

export function forgetPause(local: LocalState): void {
  rmSync(join(local.root, pauseRecord), { force: true });
}

/**
 * Puts right what killed runs left: a standby that is still paused, programs that still run, unpublished backups. Says what
 * it did. Call it with the lock `create` held.
 */
export async function repair(place: BackupPlace): Promise<readonly string[]> {
  const { local, repository } = place;
  const resumed = await resumeForgottenPause(place);
  if (!isLocked(local, receiverLock)) {
    // A receiver that outlived its kpipe would go on for ever, and nobody would move what it receives.
    await stopAll(local.workspace);
  }
  const works = readdirSync(local.work);
  for (const name of works) {
    const directory = join(local.work, name);
    await stopAll(openWorkspace(directory));
    rmSync(directory, { recursive: true, force: true });
  }
  const cleared = await repository.clearUnpublished();
  return [
    ...resumed,
    ...[...new Set([...works, ...cleared])].map((id) => `cleared the unfinished backup ${id} of a run that was killed`),
  ];
}

async function resumeForgottenPause({ local, postgres }: BackupPlace): Promise<readonly string[]> {
  const path = join(local.root, pauseRecord);
  if (!existsSync(path)) {
    return [];
  }
  const text = readFileSync(path, 'utf8');
  const owner = parseIdentity(text);
  if (owner !== undefined && isAlive(owner)) {
    return [];
  }
  const standby = /"standby":"([^"]*)"/.exec(text)?.[1];
  const replica = postgres.replicas.find(({ name }) => name === standby);
  if (replica !== undefined) {
    await withBackupPool(replica.url, resumeReplay);
  }
  forgetPause(local);
  return replica === undefined ? [] : [`resumed the replay of ${replica.name}, which a run that was killed had paused`];
}

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from 'vitest';

import { createBackup, type BackupCreated, type CreateOptions } from '../../src/lib/backup/create.ts';
import { initBackups } from '../../src/lib/backup/init.ts';
import { openBackupPlace, type BackupPlace } from '../../src/lib/backup/place.ts';
import { receiveWal, sealFinished } from '../../src/lib/backup/wal-archive.ts';
import { requirePrograms } from '../../src/lib/backup/tools.ts';
import type { VerifyLevel, VerifyReport } from '../../src/lib/backup/verdict.ts';
import { verifyBackup } from '../../src/lib/backup/verify.ts';
import { parseConfig, type Config } from '../../src/lib/config/load.ts';
import { installedPostgres } from '../../src/lib/sandbox/tools.ts';

/** kpipe.yaml's section for a cluster of a test's own, with keys and a repository in a directory that ends with the file. */
export interface BackupDirectory {
  readonly path: string;
  /** Below it restored servers run: their user must be able to enter it. */
  readonly scratch: string;
  readonly repository: string;
  readonly config: (more?: object) => Config;
  readonly place: (more?: object) => BackupPlace;
  readonly configText: (more?: object) => string;
  readonly environment: NodeJS.ProcessEnv;
}

/** Where primary and standby are, as whoever backs up. */
export interface BackupSource {
  readonly primary: { readonly url: string };
  readonly standby: { readonly url: string };
  /** In which kpipe finds its programs; by default this process's. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** `backups`: what the section has besides, such as a bucket for its repository. */
export async function backupDirectory(cluster: BackupSource, backups: object = {}): Promise<BackupDirectory> {
  const path = mkdtempSync(join(tmpdir(), 'kpipe-backup-'));
  chmodSync(path, 0o711);
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  const configText = (more: object = {}): string =>
    JSON.stringify({
      pipeline: 'backup-test',
      kafka: { brokers: ['127.0.0.1:9'] },
      postgres: {
        primary: cluster.primary.url,
        replicas: [{ name: 'replica1', url: cluster.standby.url }],
        backups: {
          repository: './repository',
          walArchive: { method: 'receivewal', slot: 'kpipe_wal' },
          encryption: { key: '${file:./backup.key}' },
          ...backups,
          ...('backups' in more ? (more.backups as object) : {}),
        },
        ...('postgres' in more ? (more.postgres as object) : {}),
      },
      ...('rest' in more ? (more.rest as object) : {}),
    });
  const environment = cluster.environment ?? process.env;
  const config = (more?: object): Config => parseConfig(configText(more), join(path, 'kpipe.yaml'), process.env);
  await initBackups(config());
  return {
    path,
    scratch: join(path, 'scratch'),
    repository: join(path, 'repository'),
    config,
    configText,
    environment,
    place: (more) => openBackupPlace(config(more)),
  };
}

export function create(place: BackupPlace, options: Partial<CreateOptions> = {}): Promise<BackupCreated> {
  return createBackup(place, {
    report: () => undefined,
    signal: new AbortController().signal,
    environment: process.env,
    archiveDeadlineMs: 120_000,
    ...options,
  });
}

export function verify(
  { scratch, environment }: BackupDirectory,
  place: BackupPlace,
  level: VerifyLevel = 'full',
  id?: string,
): Promise<VerifyReport> {
  return verifyBackup(place, id, {
    level,
    scratchRoot: scratch,
    keep: false,
    signal: new AbortController().signal,
    environment,
    report: () => undefined,
  });
}

/** The codes of the checks that failed. */
export function codesOf(report: VerifyReport): readonly string[] {
  return report.checks.flatMap(({ ok, code }) => (ok === false && code !== null ? [code] : []));
}

/** Receives the log as `kpipe backup run` does, until `stop`. */
export function receiving(place: BackupPlace, environment: NodeJS.ProcessEnv = process.env): Receiving {
  const programs = requirePrograms(installedPostgres(environment)[0]!.major, environment);
  const over = new AbortController();
  const troubles: string[] = [];
  const received = receiveWal(place, programs, (reason) => troubles.push(reason), over.signal);
  return {
    troubles,
    stop: async () => {
      over.abort();
      await received;
      await sealFinished(place);
    },
  };
}

export interface Receiving {
  /** Why its receiver ended, each time that it did. */
  readonly troubles: readonly string[];
  readonly stop: () => Promise<void>;
}

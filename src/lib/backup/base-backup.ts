import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import { KpipeError } from '../errors.ts';
import type { BackupEntry } from './entry.ts';
import { parseManifest, type Manifest } from './manifest.ts';
import type { BackupPlace } from './place.ts';
import { libpqEnvironment, programFailed, run, type Workspace } from './programs.ts';
import type { PostgresPrograms } from './tools.ts';

/** What pg_basebackup has written, not yet in the repository. */
export interface BaseBackup {
  readonly directory: string;
  /** `base.tar.zst`, `pg_wal.tar`, `backup_manifest`, `16390.tar.zst`. */
  readonly files: readonly string[];
  readonly manifest: Manifest;
  readonly compression: BackupEntry['compression'];
}

/**
 * The server compresses, which spares the network, where it can; zstd first. lz4 is left out: Node's zlib reads zstd and
 * gzip, and what is stored must be read back by kpipe alone.
 */
const compressions = [
  { args: ['--compress=server-zstd:3'], kind: 'zstd' },
  { args: ['--compress=server-gzip:3'], kind: 'gzip' },
  { args: ['--compress=client-gzip:3'], kind: 'gzip' },
] as const;

/** @throws KPIPE_BACKUP_FAILED with the program's own words */
export async function takeBaseBackup(
  { postgres }: Pick<BackupPlace, 'postgres'>,
  id: string,
  programs: PostgresPrograms,
  workspace: Workspace,
  signal: AbortSignal,
): Promise<BaseBackup> {
  const directory = join(workspace.directory, 'base');
  const { environment, done } = libpqEnvironment(postgres.primary, programs.bin, workspace);
  const common = ['-D', directory, '-Ft', '-X', 'stream', '--manifest-checksums=SHA256', '--checkpoint=fast'];
  const args = [...common, '--no-sync', '--no-password', `--label=kpipe ${id}`];
  try {
    for (const [index, { args: compress, kind }] of compressions.entries()) {
      rmSync(directory, { recursive: true, force: true });
      const ended = await run(
        workspace,
        { name: 'pg_basebackup', file: join(programs.bin, 'pg_basebackup'), args: [...args, ...compress], environment },
        signal,
      );
      if (ended.code === 0) {
        return describe(directory, kind);
      }
      const unsupported = /(?:zstd|gzip|compress).*(?:not supported|unrecognized|unknown)/i.test(ended.output);
      if (!unsupported || index === compressions.length - 1) {
        throw programFailed('pg_basebackup failed', ended, nextAfter(ended.output));
      }
    }
  } finally {
    done();
  }
  throw new KpipeError('KPIPE_BACKUP_FAILED', 'pg_basebackup knows no compression of ours');
}

function nextAfter(output: string): string {
  if (/checksum/i.test(output)) {
    return 'the primary holds damaged pages: restore from an older backup, or from a standby; kpipe backup list --json';
  }
  return /no pg_hba.conf entry|permission denied|must be superuser or replication/i.test(output)
    ? 'give the role REPLICATION, and a line for replication in pg_hba.conf'
    : "look at the primary's log";
}

function describe(directory: string, compression: BackupEntry['compression']): BaseBackup {
  const files = readdirSync(directory).toSorted();
  // pg_wal.tar and the manifest after the data: a reader of the whole meets the manifest last.
  const order = (name: string): number => (name.startsWith('backup_manifest') ? 2 : name.startsWith('pg_wal') ? 1 : 0);
  return {
    directory,
    files: files.toSorted((left, right) => order(left) - order(right)),
    manifest: parseManifest(readFileSync(join(directory, 'backup_manifest'), 'utf8')),
    compression,
  };
}

import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { codeOf, KpipeError } from '../errors.ts';
import type { StartedProcess } from '../sandbox/processes.ts';
import type { BackupEntry } from './entry.ts';
import { followFile } from './growing-file.ts';
import { parseManifest, type Manifest } from './manifest.ts';
import type { BackupPlace } from './place.ts';
import { libpqEnvironment, programFailed, run, type Ended, type Workspace } from './programs.ts';
import type { PostgresPrograms } from './tools.ts';

/** What the server sent, by its own account. */
export interface BaseBackup {
  readonly manifest: Manifest;
  readonly compression: BackupEntry['compression'];
}

/** One file of the copy: `base.tar.zst`, `pg_wal.tar`, `backup_manifest`, `16390.tar.zst` of a tablespace. */
export interface CopiedFile {
  readonly name: string;
  /** Up to what it holds when pg_basebackup has ended. */
  readonly content: () => Readable;
}

/**
 * The server compresses, which spares the network, where it can; zstd first, in a thread of its own, so that it reads and
 * hashes meanwhile. lz4 is left out: Node's zlib reads zstd and gzip, and what is stored must be read back by kpipe alone.
 */
const compressions = [
  { args: ['--compress=server-zstd:level=3,workers=1'], kind: 'zstd' },
  { args: ['--compress=server-zstd:3'], kind: 'zstd' },
  { args: ['--compress=server-gzip:3'], kind: 'gzip' },
  { args: ['--compress=client-gzip:3'], kind: 'gzip' },
] as const;

/** As each of 15 to 18 says it, server or program: "this build does not support compression with ZSTD" is one of them. */
const unsupported =
  /(?:zstd|gzip|compress).*(?:not supported|unsupported|unrecognized|unknown)|does not support compression/i;

/** These are only appended to; pg_wal.tar's headers are mended at its end, and the manifest comes last. */
const growing = /^(?:base|\d+)\.tar(?:\.\w+)?$/;
const lookEveryMs = 20;

export interface CopyOptions {
  readonly signal: AbortSignal;
  /** The backup_manifest of the backup that this one is an increment of. */
  readonly parentManifest?: Buffer | undefined;
  /** Told of each file, of those with data as soon as they are begun. */
  readonly onFile: (file: CopiedFile) => void;
}

/** @throws KPIPE_BACKUP_FAILED with the program's own words */
export async function takeBaseBackup(
  { postgres }: Pick<BackupPlace, 'postgres'>,
  id: string,
  programs: PostgresPrograms,
  workspace: Workspace,
  options: CopyOptions,
): Promise<BaseBackup> {
  const directory = join(workspace.directory, 'base');
  const { environment, done } = libpqEnvironment(postgres.primary, programs.bin, workspace);
  const common = ['-D', directory, '-Ft', '-X', 'stream', '--manifest-checksums=SHA256', '--checkpoint=fast'];
  const manifestFile = join(workspace.directory, 'parent_manifest');
  if (options.parentManifest !== undefined) {
    writeFileSync(manifestFile, options.parentManifest, { mode: 0o600 });
  }
  const against = options.parentManifest === undefined ? [] : [`--incremental=${manifestFile}`];
  const args = [...common, ...against, '--no-sync', '--no-password', `--label=kpipe ${id}`];
  const file = join(programs.bin, 'pg_basebackup');
  try {
    for (const { args: compress, kind } of compressions) {
      rmSync(directory, { recursive: true, force: true });
      const announced = new Announced(directory, options);
      const program = { name: 'pg_basebackup', file, args: [...args, ...compress], environment };
      const ended = await announced.during((onStart) => run(workspace, program, options.signal, onStart));
      if (ended.code === 0) {
        const manifest = parseManifest(readFileSync(join(directory, 'backup_manifest'), 'utf8'));
        announced.rest();
        return { manifest, compression: kind };
      }
      refuseWithoutSummaries(ended.output);
      if (announced.any || !unsupported.test(ended.output)) {
        throw programFailed('pg_basebackup failed', ended, nextAfter(ended.output));
      }
    }
  } finally {
    done();
  }
  throw new KpipeError('KPIPE_BACKUP_FAILED', 'pg_basebackup knows no compression of ours');
}

/** The files of a directory, told once each: growing ones while the program runs, the others when it has ended. */
class Announced {
  readonly #directory: string;
  readonly #options: CopyOptions;
  readonly #told = new Set<string>();
  #hasEnded: () => boolean = () => false;

  constructor(directory: string, options: CopyOptions) {
    this.#directory = directory;
    this.#options = options;
  }

  get any(): boolean {
    return this.#told.size > 0;
  }

  async during(work: (onStart: (started: StartedProcess) => void) => Promise<Ended>): Promise<Ended> {
    const looking = setInterval(() => this.#tell((name) => growing.test(name)), lookEveryMs);
    try {
      return await work((started) => {
        this.#hasEnded = () => started.hasEnded();
      });
    } finally {
      clearInterval(looking);
    }
  }

  rest(): void {
    this.#tell(() => true);
  }

  #tell(which: (name: string) => boolean): void {
    for (const name of namesIn(this.#directory).filter((each) => which(each) && !this.#told.has(each))) {
      this.#told.add(name);
      const follow = (): Readable =>
        Readable.from(followFile(join(this.#directory, name), this.#hasEnded, this.#options.signal), {
          objectMode: false,
          highWaterMark: 1 << 20,
        });
      this.#options.onFile({ name, content: follow });
    }
  }
}

/** Empty before pg_basebackup has made the directory, and when it has failed and taken it away. */
function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') {
      return [];
    }
    throw error;
  }
}

/** The server says so when summaries were removed, or made on another timeline, since the parent. @throws KPIPE_REFUSED */
function refuseWithoutSummaries(output: string): void {
  const said = /ERROR:\s+((?:WAL summaries are required|incremental backups cannot be taken|WAL summarization).*)/.exec(
    output,
  );
  if (said?.[1] !== undefined) {
    throw new KpipeError('KPIPE_REFUSED', `the primary cannot say what changed since the parent: ${said[1]}`, {
      next: 'take a full one: kpipe backup create; wal_summary_keep_time says how long summaries are kept',
    });
  }
}

function nextAfter(output: string): string {
  if (/checksum/i.test(output)) {
    return 'the primary holds damaged pages: restore from an older backup, or from a standby; kpipe backup list --json';
  }
  return /no pg_hba.conf entry|permission denied|must be superuser or replication/i.test(output)
    ? 'give the role REPLICATION, and a line for replication in pg_hba.conf'
    : "look at the primary's log";
}

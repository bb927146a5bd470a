import {
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

import { lastMeaningfulLine } from '../sandbox/log-tail.ts';
import type { Chain } from './chain.ts';
import type { BackupEntry } from './entry.ts';
import { extractBackup, give, placeTablespaces, type ExtractTarget } from './extract.ts';
import { manifestDigest } from './increment.ts';
import { compareWithManifest, describeMismatch, ManifestMismatch, parseManifest, type FileDigest } from './manifest.ts';
import type { BackupPlace } from './place.ts';
import { programEnvironment, run, type Workspace } from './programs.ts';
import { Digest } from './stored-file.ts';
import type { PostgresPrograms } from './tools.ts';
import { CheckFailed } from './verdict.ts';
import { isFull } from './wal-archive.ts';

/**
 * A chain's links are each extracted and proven by their own manifests; only then pg_combinebackup makes one cluster of
 * them: it looks at no checksum of what it reads, and makes a manifest of its own that fits what came of it.
 */
export interface ExtractedChain {
  readonly files: number;
  readonly bytes: number;
}

export interface ChainOptions {
  /** Absent: everything is read and proven, nothing is written. */
  readonly target?: ExtractTarget;
  readonly signal: AbortSignal;
}

/** Full backups go to the target at once; links beside it. @throws CheckFailed MANIFEST, KEY, PARENT_MISMATCH, NO_SPACE */
export async function extractChain(
  { repository, keys }: Pick<BackupPlace, 'repository' | 'keys'>,
  chain: Chain,
  { target, signal }: ChainOptions,
): Promise<ExtractedChain> {
  let manifest: string | undefined;
  const sum = { files: 0, bytes: 0 };
  for (const [index, entry] of chain.entries()) {
    const { increment } = entry;
    if (increment !== null && manifestDigest(manifest ?? '') !== increment.parentManifestSha256) {
      throw new CheckFailed(
        'PARENT_MISMATCH',
        `${increment.parent} is not the backup that ${entry.id} was taken against`,
      );
    }
    const place = target === undefined || chain.length === 1 ? target : linkPlace(target, index);
    const request = {
      entry,
      read: (name: string) => repository.readFile(entry.id, name),
      key: keys.encryption,
      signal,
    };
    const extracted = await extractBackup({ ...request, ...(place === undefined ? {} : { target: place }) }).catch(
      (error: unknown) => {
        throw entry === chain.at(-1) ? error : ofParent(entry, error);
      },
    );
    ({ manifest } = extracted);
    sum.files += extracted.files;
    sum.bytes += extracted.bytes;
    if (place !== undefined && chain.length > 1) {
      makeLink(place, manifest);
    }
  }
  if (target !== undefined && chain.length === 1) {
    placeTablespaces(target);
  }
  return sum;
}

function ofParent({ id }: BackupEntry, error: unknown): unknown {
  return error instanceof CheckFailed ? new CheckFailed(error.code, `parent ${id}: ${error.message}`) : error;
}

/** Beside the data directory, on the same file system: files that no increment changed are linked, not copied. */
export function linksDirectory({ data }: Pick<ExtractTarget, 'data'>): string {
  return `${data}.links`;
}

function linkPlace(target: ExtractTarget, index: number): ExtractTarget {
  const directory = join(linksDirectory(target), String(index));
  const place = { data: join(directory, 'data'), tablespaces: join(directory, 'tablespaces'), user: target.user };
  for (const path of [linksDirectory(target), directory, place.data, place.tablespaces]) {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    give(target, path);
  }
  return place;
}

/** As pg_basebackup would have left it: with its manifest, and its tablespaces where links say. */
function makeLink(place: ExtractTarget, manifest: string): void {
  const path = join(place.data, 'backup_manifest');
  writeFileSync(path, manifest, { mode: 0o600 });
  give(place, path);
  for (const oid of readdirSync(place.tablespaces)) {
    symlinkSync(join(place.tablespaces, oid), join(place.data, 'pg_tblspc', oid));
  }
}

export interface CombineTools {
  readonly programs: PostgresPrograms;
  readonly workspace: Workspace;
  readonly signal: AbortSignal;
}

/** What of the links is needed on disk at once: all of them, and what is made of them. */
export function combinedBytes(chain: Chain): number {
  const links = chain.map(({ increment, clusterBytes }) => increment?.copiedBytes ?? clusterBytes);
  const made = chain.at(-1)?.clusterBytes ?? 0;
  return links.reduce((sum, bytes) => sum + bytes, 0) + (chain.length === 1 ? 0 : made);
}

/** Makes one cluster of extracted links, and proves it by the manifest of it. @throws CheckFailed COMBINE_FAILED, NO_SPACE */
export async function combineChain(
  { programs, workspace, signal }: CombineTools,
  chain: Chain,
  target: ExtractTarget,
  durable: boolean,
): Promise<string> {
  const links = chain.map((_, index) => join(linksDirectory(target), String(index), 'data'));
  const program = {
    name: 'pg_combinebackup',
    file: join(programs.bin, 'pg_combinebackup'),
    args: [
      '--manifest-checksums=SHA256',
      ...(durable ? [] : ['--no-sync']),
      ...(programs.major >= 18 ? ['--link'] : []),
      ...tablespaceMappings(target, chain.length - 1),
      `--output=${target.data}`,
      ...links,
    ],
    environment: programEnvironment(programs.bin),
    user: target.user,
  };
  const { code, output } = await run(workspace, program, signal);
  if (code !== 0) {
    const said = lastMeaningfulLine(output) ?? `pg_combinebackup ended with ${code ?? 'a signal'}`;
    throw new CheckFailed(isFull(said) ? 'NO_SPACE' : 'COMBINE_FAILED', said);
  }
  rmSync(linksDirectory(target), { recursive: true, force: true });
  const { files, bytes } = await proveCombined(target, signal);
  rmSync(join(target.data, 'backup_manifest'), { force: true });
  placeTablespaces(target);
  return `${chain.length} links made one cluster: ${files} files, ${bytes} bytes, each by its SHA-256`;
}

function tablespaceMappings(target: ExtractTarget, last: number): readonly string[] {
  const from = join(linksDirectory(target), String(last), 'tablespaces');
  const oids = readdirSync(from);
  if (oids.length > 0) {
    mkdirSync(target.tablespaces, { recursive: true, mode: 0o700 });
    give(target, target.tablespaces);
  }
  return oids.map((oid) => `--tablespace-mapping=${join(from, oid)}=${join(target.tablespaces, oid)}`);
}

async function proveCombined(target: ExtractTarget, signal: AbortSignal): Promise<{ files: number; bytes: number }> {
  const found = [
    ...(await digestsBelow(target.data, '', signal)),
    ...(existsSync(target.tablespaces) ? await digestsBelow(target.tablespaces, 'pg_tblspc/', signal) : []),
  ];
  let mismatch: string | undefined;
  try {
    const manifest = parseManifest(readFileSync(join(target.data, 'backup_manifest'), 'utf8'));
    mismatch = describeMismatch(compareWithManifest(manifest, found));
  } catch (error) {
    if (!(error instanceof ManifestMismatch)) {
      throw error;
    }
    mismatch = error.message;
  }
  if (mismatch !== undefined) {
    throw new CheckFailed('COMBINE_FAILED', mismatch);
  }
  return { files: found.length, bytes: found.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** Every file that a manifest lists: neither itself nor the log. Links are not followed. */
async function digestsBelow(root: string, prefix: string, signal: AbortSignal): Promise<readonly FileDigest[]> {
  const digests: FileDigest[] = [];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = prefix + join(entry.parentPath, entry.name).slice(root.length + 1);
    if (entry.isFile() && path !== 'backup_manifest' && !path.startsWith('pg_wal/')) {
      signal.throwIfAborted();
      digests.push({ path, ...(await digestOf(join(entry.parentPath, entry.name))) });
    }
  }
  return digests;
}

async function digestOf(file: string): Promise<Omit<FileDigest, 'path'>> {
  const digest = new Digest().resume();
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), digest);
  return digest.result();
}

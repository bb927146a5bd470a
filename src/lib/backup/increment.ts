import { createHash } from 'node:crypto';

import { KpipeError, messageOf } from '../errors.ts';
import type { SourceFacts } from '../postgres/backup-source.ts';
import { findBackup, findReadable } from './catalogue.ts';
import { chainOf } from './chain.ts';
import type { BackupEntry, Increment } from './entry.ts';
import { parseManifest } from './manifest.ts';
import type { BackupPlace } from './place.ts';
import { chain, Digest, unsealed } from './stored-file.ts';
import { CheckFailed } from './verdict.ts';

/** What an increment is taken against. */
export interface Parent {
  readonly entry: BackupEntry;
  /** Its backup_manifest, which the server is shown. */
  readonly manifest: Buffer;
}

const takeFull = 'take a full one: kpipe backup create';

function refused(message: string, next = takeFull): KpipeError {
  return new KpipeError('KPIPE_REFUSED', message, { next });
}

type Source = Pick<SourceFacts, 'systemIdentifier' | 'timeline' | 'version' | 'major' | 'summarizesWal'>;

/**
 * The backup to build on: the one that is named, else the newest that can be. Its whole chain must be there, and its
 * manifest as it was stored. @throws KPIPE_REFUSED
 */
export async function openParent(place: BackupPlace, source: Source, named: string | undefined): Promise<Parent> {
  refuseWithoutSummaries(source);
  const keyId = place.keys.encryption?.id.toString('hex') ?? null;
  const entry =
    named === undefined ? await newestFit(place, source, keyId) : await namedParent(place, source, keyId, named);
  try {
    await chainOf(place, entry);
    return { entry, manifest: await readManifest(place, entry) };
  } catch (error) {
    throw error instanceof CheckFailed
      ? refused(`${entry.id} cannot be built on: ${error.code}: ${error.message}`)
      : error;
  }
}

function refuseWithoutSummaries({ summarizesWal, version }: Source): void {
  if (summarizesWal === null) {
    throw refused(`PostgreSQL ${version} takes no incremental backups: 17 and later do`);
  }
  if (!summarizesWal) {
    throw refused(
      'the primary keeps no summaries of its log, which an incremental backup needs: summarize_wal is off',
      "alter system set summarize_wal = on; select pg_reload_conf(); then a full backup first: 'kpipe backup create'",
    );
  }
}

/** Why a backup cannot be built on; undefined when it can. One chain is read with one key. */
export function unfitParent(entry: BackupEntry, source: Source, keyId: string | null): string | undefined {
  if (entry.systemIdentifier !== source.systemIdentifier) {
    return `is of another cluster: ${entry.systemIdentifier}, the primary is ${source.systemIdentifier}`;
  }
  if (entry.timeline !== source.timeline) {
    return `is of timeline ${entry.timeline}, the primary is on ${source.timeline}`;
  }
  if (Number.parseInt(entry.postgresVersion, 10) !== source.major) {
    return `is of PostgreSQL ${entry.postgresVersion}, the primary is ${source.version}`;
  }
  return entry.encryptionKeyId === keyId
    ? undefined
    : `is encrypted with key ${entry.encryptionKeyId ?? 'none'}, kpipe.yaml names ${keyId ?? 'none'}`;
}

async function newestFit(place: BackupPlace, source: Source, keyId: string | null): Promise<BackupEntry> {
  const ids = await place.repository.listBackups();
  for (const id of ids.toReversed()) {
    const known = await findReadable(place, id);
    if (known?.signatureValid === true && unfitParent(known.entry, source, keyId) === undefined) {
      return known.entry;
    }
  }
  throw refused(`no backup in ${place.repository.title} can be built on: none of this cluster, timeline and key`);
}

async function namedParent(place: BackupPlace, source: Source, keyId: string | null, id: string): Promise<BackupEntry> {
  const { entry, signatureValid } = await findBackup(place, id);
  const reason = signatureValid ? unfitParent(entry, source, keyId) : 'has an entry that this key did not sign';
  if (reason !== undefined) {
    throw refused(`${id} cannot be built on: it ${reason}`);
  }
  return entry;
}

/** @throws CheckFailed MANIFEST */
async function readManifest({ repository, keys }: BackupPlace, entry: BackupEntry): Promise<Buffer> {
  const stored = entry.files.find(({ name }) => name.startsWith('backup_manifest'));
  if (stored === undefined) {
    throw new CheckFailed('MANIFEST', 'it has no manifest');
  }
  try {
    const digest = chain(repository.readFile(entry.id, stored.name), new Digest());
    const manifest = Buffer.concat(await unsealed(digest, stored.name, keys.encryption).toArray());
    parseManifest(manifest.toString('utf8'));
    if (digest.result().sha256 === stored.sha256) {
      return manifest;
    }
  } catch (error) {
    // A repository that is away says nothing of what is in it.
    throw error instanceof KpipeError
      ? error
      : new CheckFailed('MANIFEST', `${stored.name} cannot be read: ${messageOf(error)}`);
  }
  throw new CheckFailed('MANIFEST', `${stored.name} is not what was stored`);
}

/** What the entry of an increment says of its parent. */
export function describeIncrement({ entry, manifest }: Parent, copiedBytes: number): Increment {
  return {
    parent: entry.id,
    parentStartLsn: entry.startLsn,
    parentManifestSha256: manifestDigest(manifest),
    copiedBytes,
  };
}

export function manifestDigest(manifest: Buffer | string): string {
  return createHash('sha256').update(manifest).digest('hex');
}

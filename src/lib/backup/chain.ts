import { findBackup, isNoBackup, type KnownBackup } from './catalogue.ts';
import type { BackupEntry } from './entry.ts';
import { parseLsn } from './lsn.ts';
import type { BackupPlace } from './place.ts';
import { CheckFailed } from './verdict.ts';

/**
 * A *chain* is an incremental backup with all that it is an increment of, the full one first; a full backup is a chain of
 * one. Its *links* are restored together or not at all.
 */
export type Chain = readonly [full: BackupEntry, ...increments: readonly BackupEntry[]];

/** Follows the parents to the full backup. @throws CheckFailed PARENT_MISSING, SIGNATURE, PARENT_MISMATCH */
export async function chainOf(place: BackupPlace, entry: BackupEntry): Promise<Chain> {
  const increments: BackupEntry[] = [];
  let link = entry;
  while (link.increment !== null) {
    const parent = await parentOf(place, link, link.increment.parent);
    const mismatch = mismatchOf(link, parent);
    if (mismatch !== undefined) {
      throw new CheckFailed('PARENT_MISMATCH', `${parent.id}, the parent of ${link.id}, ${mismatch}`);
    }
    increments.unshift(link);
    link = parent;
  }
  return [link, ...increments];
}

async function parentOf(place: BackupPlace, child: BackupEntry, id: string): Promise<BackupEntry> {
  let known: KnownBackup;
  try {
    known = await findBackup(place, id);
  } catch (error) {
    if (isNoBackup(error)) {
      throw new CheckFailed('PARENT_MISSING', `${child.id} is an increment of ${id}: ${error.message}`);
    }
    throw error;
  }
  if (!known.signatureValid) {
    throw new CheckFailed('SIGNATURE', `the entry of ${id}, the parent of ${child.id}, is not what this key signed`);
  }
  return known.entry;
}

/** What of a parent is not as its increment has it. A parent is older than its increment: a chain has an end. */
export function mismatchOf(child: BackupEntry, parent: BackupEntry): string | undefined {
  if (parent.systemIdentifier !== child.systemIdentifier) {
    return `is of another cluster: ${parent.systemIdentifier}, not ${child.systemIdentifier}`;
  }
  if (parent.timeline !== child.timeline) {
    return `is of timeline ${parent.timeline}, not ${child.timeline}`;
  }
  if (Number.parseInt(parent.postgresVersion, 10) !== Number.parseInt(child.postgresVersion, 10)) {
    return `is of PostgreSQL ${parent.postgresVersion}, not ${child.postgresVersion}`;
  }
  if (parent.startLsn !== child.increment?.parentStartLsn) {
    return `begins at ${parent.startLsn}, not at ${child.increment?.parentStartLsn ?? '?'}`;
  }
  return (parseLsn(parent.startLsn) ?? 0n) < (parseLsn(child.startLsn) ?? 0n)
    ? undefined
    : `begins at ${parent.startLsn}, which is not before ${child.startLsn}`;
}

import { findBackup, validReports } from './catalogue.ts';
import type { BackupEntry } from './entry.ts';
import { parseLsn, parseSegmentName, segmentAt } from './lsn.ts';
import { isLocked, withBackupLock, type BackupPlace } from './place.ts';
import { decideRetention, type RetentionDecision } from './retention.ts';
import { KpipeError } from '../errors.ts';

/** The document of `kpipe backup prune`. */
export interface PruneResult {
  readonly planOnly: boolean;
  readonly decisions: readonly RetentionDecision[];
  /** Segments that no kept backup needs. */
  readonly removedWal: number;
}

/**
 * Removes what the policy does not keep, and the archive before the oldest kept backup. A backup that is being verified or
 * restored, or whose entry cannot be trusted, stays: a person decides about those. @throws KPIPE_LOCKED
 */
export function pruneBackups(place: BackupPlace, planOnly: boolean, nowMs: number): Promise<PruneResult> {
  return withBackupLock(place.local, 'create', async () => {
    const decisions = await planPrune(place, nowMs);
    const kept = decisions.filter(({ keep }) => keep).map(({ id }) => id);
    const needless = await needlessWal(place, kept);
    if (!planOnly) {
      for (const { id } of decisions.filter(({ keep }) => !keep)) {
        await place.repository.removeBackup(id);
      }
      await place.repository.removeWal(needless);
    }
    return { planOnly, decisions, removedWal: needless.length };
  });
}

async function planPrune(place: BackupPlace, nowMs: number): Promise<readonly RetentionDecision[]> {
  const { keep } = place.backups;
  const ids = await place.repository.listBackups();
  const entries = await Promise.all(ids.map((id) => trustedEntry(place, id)));
  const trusted = entries.filter((entry) => entry !== undefined);
  const candidates = trusted.map(async (entry) => ({
    id: entry.id,
    completedAtMs: Date.parse(entry.completedAt),
    parent: null,
    proven: (await validReports(place, entry.id)).some((report) => report.ok && report.level === 'full'),
  }));
  const decided = decideRetention(await Promise.all(candidates), { full: keep.full, windowMs: keep.window }, nowMs);
  const known = new Set(decided.map(({ id }) => id));
  return [
    ...decided.map((decision) => {
      const busy = isLocked(place.local, `verify-${decision.id}`);
      return !decision.keep && busy ? { ...decision, keep: true, reason: 'is being verified or restored' } : decision;
    }),
    ...ids
      .filter((id) => !known.has(id))
      .map((id) => ({ id, keep: true, reason: 'its entry cannot be trusted: remove it by hand' })),
  ];
}

async function trustedEntry(place: BackupPlace, id: string): Promise<BackupEntry | undefined> {
  try {
    const { entry, signatureValid } = await findBackup(place, id);
    return signatureValid ? entry : undefined;
  } catch (error) {
    if (error instanceof KpipeError) {
      return undefined;
    }
    throw error;
  }
}

/** Nothing where a kept backup's needs are not known. */
async function needlessWal(place: BackupPlace, kept: readonly string[]): Promise<readonly string[]> {
  const entries = await Promise.all(kept.map((id) => trustedEntry(place, id)));
  if (entries.length === 0 || entries.includes(undefined)) {
    return [];
  }
  const firsts = entries.flatMap((entry) =>
    entry === undefined ? [] : [segmentAt(entry.timeline, parseLsn(entry.startLsn) ?? 0n, entry.segmentBytes).number],
  );
  const oldest = firsts.reduce((lowest, number) => (number < lowest ? number : lowest));
  const segmentBytes = entries[0]?.segmentBytes ?? 0;
  const archived = await place.repository.listWal();
  return archived
    .map(({ name }) => name)
    .filter((name) => {
      const segment = parseSegmentName(name.split('.')[0] ?? '', segmentBytes);
      return segment !== undefined && segment.number < oldest;
    });
}

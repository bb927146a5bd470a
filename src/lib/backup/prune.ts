import { findBackup, validReports } from './catalogue.ts';
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
    const decisions = planPrune(place, nowMs);
    const kept = decisions.filter(({ keep }) => keep).map(({ id }) => id);
    const needless = needlessWal(place, kept);
    if (!planOnly) {
      decisions.filter(({ keep }) => !keep).forEach(({ id }) => place.repository.removeBackup(id));
      needless.forEach((name) => place.repository.removeWal(name));
    }
    return Promise.resolve({ planOnly, decisions, removedWal: needless.length });
  });
}

function planPrune(place: BackupPlace, nowMs: number): readonly RetentionDecision[] {
  const { keep } = place.backups;
  const ids = place.repository.listBackups();
  const trusted = ids.flatMap((id) => {
    const entry = trustedEntry(place, id);
    return entry === undefined ? [] : [entry];
  });
  const candidates = trusted.map((entry) => ({
    id: entry.id,
    completedAtMs: Date.parse(entry.completedAt),
    parent: null,
    proven: validReports(place, entry.id).some((report) => report.ok && report.level === 'full'),
  }));
  const decided = decideRetention(candidates, { full: keep.full, windowMs: keep.window }, nowMs);
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

function trustedEntry(place: BackupPlace, id: string): ReturnType<typeof findBackup>['entry'] | undefined {
  try {
    const { entry, signatureValid } = findBackup(place, id);
    return signatureValid ? entry : undefined;
  } catch (error) {
    if (error instanceof KpipeError) {
      return undefined;
    }
    throw error;
  }
}

/** Nothing where a kept backup's needs are not known. */
function needlessWal(place: BackupPlace, kept: readonly string[]): readonly string[] {
  const entries = kept.map((id) => trustedEntry(place, id));
  if (entries.length === 0 || entries.includes(undefined)) {
    return [];
  }
  const firsts = entries.flatMap((entry) =>
    entry === undefined ? [] : [segmentAt(entry.timeline, parseLsn(entry.startLsn) ?? 0n, entry.segmentBytes).number],
  );
  const oldest = firsts.reduce((lowest, number) => (number < lowest ? number : lowest));
  const segmentBytes = entries[0]?.segmentBytes ?? 0;
  return place.repository
    .listWal()
    .map(({ name }) => name)
    .filter((name) => {
      const segment = parseSegmentName(name.split('.')[0] ?? '', segmentBytes);
      return segment !== undefined && segment.number < oldest;
    });
}

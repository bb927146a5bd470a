import { findReadable, validReports, type KnownBackup } from './catalogue.ts';
import type { BackupEntry } from './entry.ts';
import { parseLsn, parseSegmentName, segmentAt } from './lsn.ts';
import { isLocked, withBackupLock, type BackupPlace } from './place.ts';
import { decideRetention, type RetentionCandidate, type RetentionDecision } from './retention.ts';

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
    const known = await readAll(place);
    const decisions = await planPrune(place, known, nowMs);
    const kept = decisions.filter(({ keep }) => keep).map(({ id }) => trusted(known.get(id)));
    const needless = await needlessWal(place, kept);
    if (!planOnly) {
      // An increment goes before its parent: killed in between, nothing is left that cannot be restored.
      for (const { id } of decisions.filter(({ keep }) => !keep)) {
        await place.repository.removeBackup(id);
      }
      await place.repository.removeWal(needless);
    }
    return { planOnly, decisions, removedWal: needless.length };
  });
}

/** Undefined stands for what cannot be read. */
type KnownBackups = ReadonlyMap<string, KnownBackup | undefined>;

async function readAll(place: BackupPlace): Promise<KnownBackups> {
  const ids = await place.repository.listBackups();
  return new Map(await Promise.all(ids.map(async (id) => [id, await findReadable(place, id)] as const)));
}

function trusted(known: KnownBackup | undefined): BackupEntry | undefined {
  return known?.signatureValid === true ? known.entry : undefined;
}

async function planPrune(
  place: BackupPlace,
  known: KnownBackups,
  nowMs: number,
): Promise<readonly RetentionDecision[]> {
  const { keep } = place.backups;
  const candidates = await Promise.all([...known].map(([id, backup]) => candidateOf(place, id, backup)));
  return decideRetention(candidates, { full: keep.full, windowMs: keep.window }, nowMs);
}

/** Of an entry that this key did not sign only the parent is believed: keeping one more does no harm. */
async function candidateOf(
  place: BackupPlace,
  id: string,
  known: KnownBackup | undefined,
): Promise<RetentionCandidate> {
  const entry = trusted(known);
  if (entry === undefined) {
    const parent = known?.entry.increment?.parent ?? null;
    const held = 'its entry cannot be trusted: remove it by hand';
    return { id, completedAtMs: 0, parent, proven: false, held, untrusted: true };
  }
  const reports = await validReports(place, id);
  return {
    id,
    completedAtMs: Date.parse(entry.completedAt),
    parent: entry.increment?.parent ?? null,
    proven: reports.some((report) => report.ok && report.level === 'full'),
    held: isLocked(place.local, `verify-${id}`) ? 'is being verified or restored' : undefined,
  };
}

/** Nothing where a kept backup's needs are not known. */
async function needlessWal(
  place: BackupPlace,
  entries: readonly (BackupEntry | undefined)[],
): Promise<readonly string[]> {
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

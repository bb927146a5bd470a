import { KpipeError } from '../errors.ts';
import { parseEntry, type BackupEntry } from './entry.ts';
import { hasValidSignature } from './keys.ts';
import type { BackupPlace } from './place.ts';
import type { VerifyLevel, VerifyReport } from './verdict.ts';

/** A backup as the repository has it. */
export interface KnownBackup {
  readonly id: string;
  readonly entry: BackupEntry;
  readonly signatureValid: boolean;
}

export interface Verified {
  readonly level: VerifyLevel;
  readonly ok: boolean;
  readonly at: string;
  readonly ageMs: number;
  /** The code of the first check that failed. */
  readonly code: string | null;
}

/** A line of `kpipe backup list`. */
export interface BackupLine {
  readonly id: string;
  readonly kind: BackupEntry['kind'] | null;
  /** The backup that this one is an increment of; null for a full one. */
  readonly parent: string | null;
  readonly completedAt: string | null;
  readonly ageMs: number | null;
  readonly clusterBytes: number | null;
  readonly storedBytes: number | null;
  readonly postgresVersion: string | null;
  readonly encrypted: boolean | null;
  readonly signatureValid: boolean;
  /** The newest verification whose signature is valid; null: never proven. */
  readonly verified: Verified | null;
  /** The newest one of level `full` that was good. */
  readonly provenAt: string | null;
  readonly problem: string | null;
}

/** By id, or the newest one. @throws KPIPE_BACKUP_MISSING, KPIPE_BACKUP_FAILED when its entry cannot be read */
export async function findBackup({ repository, keys }: BackupPlace, id: string | undefined): Promise<KnownBackup> {
  const wanted = id === undefined || id === 'latest' ? (await repository.listBackups()).at(-1) : id;
  if (wanted === undefined) {
    throw new KpipeError('KPIPE_BACKUP_MISSING', `there is no backup in ${repository.title}`, {
      next: 'kpipe backup create',
    });
  }
  const document = await repository.readEntry(wanted);
  const entry = parseEntry(document);
  if (entry?.id !== wanted || typeof document !== 'object' || document === null) {
    throw new KpipeError('KPIPE_BACKUP_FAILED', `the entry of backup ${wanted} is damaged: it cannot be used`, {
      next: 'kpipe backup list shows the others',
    });
  }
  return { id: wanted, entry, signatureValid: hasValidSignature(document, keys.signing) };
}

/**
 * Undefined where it is not there, or its entry is damaged: that does not hide the others. A repository that does not answer
 * is another matter: what an entry says is not known then. @throws KPIPE_S3_…
 */
export async function findReadable(place: BackupPlace, id: string): Promise<KnownBackup | undefined> {
  try {
    return await findBackup(place, id);
  } catch (error) {
    if (isNoBackup(error)) {
      return undefined;
    }
    throw error;
  }
}

/** Whether an error says that there is none, or none that can be read. */
export function isNoBackup(error: unknown): error is KpipeError {
  return error instanceof KpipeError && /^KPIPE_BACKUP_(?:MISSING|FAILED)$/.test(error.code);
}

/** Every backup, oldest first; one whose entry is damaged is a line too. */
export async function listBackups(place: BackupPlace, nowMs: number): Promise<readonly BackupLine[]> {
  const ids = await place.repository.listBackups();
  const lines = await Promise.all(ids.map((id) => describeBackup(place, id, nowMs)));
  const parents = new Map(lines.flatMap(({ id, kind, parent }) => (kind === null ? [] : [[id, parent] as const])));
  return lines.map((line) =>
    line.problem === null && isCut(line.id, parents) ? { ...line, problem: 'PARENT_MISSING' } : line,
  );
}

/** Whether a backup's chain ends elsewhere than in a full one that is there. */
function isCut(id: string, parents: ReadonlyMap<string, string | null>): boolean {
  const seen = new Set<string>();
  let link: string | null | undefined = id;
  while (typeof link === 'string' && !seen.has(link)) {
    seen.add(link);
    link = parents.get(link);
  }
  return link !== null;
}

export async function describeBackup(place: BackupPlace, id: string, nowMs: number): Promise<BackupLine> {
  try {
    const { entry, signatureValid } = await findBackup(place, id);
    const reports = await validReports(place, id);
    const newest = reports.at(-1);
    return {
      id,
      kind: entry.kind,
      parent: entry.increment?.parent ?? null,
      completedAt: entry.completedAt,
      ageMs: nowMs - Date.parse(entry.completedAt),
      clusterBytes: entry.clusterBytes,
      storedBytes: entry.storedBytes,
      postgresVersion: entry.postgresVersion,
      encrypted: entry.encryptionKeyId !== null,
      signatureValid,
      verified: newest === undefined ? null : verified(newest, nowMs),
      provenAt: reports.findLast(({ ok, level }) => ok && level === 'full')?.verifiedAt ?? null,
      problem: signatureValid ? null : 'SIGNATURE',
    };
  } catch (error) {
    if (!(error instanceof KpipeError)) {
      throw error;
    }
    return { ...unreadable, id, problem: error.message };
  }
}

const unreadable = {
  kind: null,
  parent: null,
  completedAt: null,
  ageMs: null,
  clusterBytes: null,
  storedBytes: null,
  postgresVersion: null,
  encrypted: null,
  signatureValid: false,
  verified: null,
  provenAt: null,
} as const;

/** Oldest first. A report that was changed, or that another key signed, is as good as none. */
export async function validReports({ repository, keys }: BackupPlace, id: string): Promise<readonly VerifyReport[]> {
  const reports = await repository.readReports(id);
  return reports
    .filter((report): report is VerifyReport => isReport(report) && hasValidSignature(report, keys.signing))
    .filter(({ backupId }) => backupId === id)
    .toSorted((left, right) => (left.verifiedAt < right.verifiedAt ? -1 : 1));
}

export function isReport(value: unknown): value is VerifyReport {
  return (
    typeof value === 'object' &&
    value !== null &&
    'backupId' in value &&
    'level' in value &&
    'ok' in value &&
    'verifiedAt' in value &&
    typeof value.verifiedAt === 'string' &&
    'checks' in value &&
    Array.isArray(value.checks)
  );
}

function verified({ level, ok, verifiedAt, checks }: VerifyReport, nowMs: number): Verified {
  const code = checks.find((check) => check.ok === false)?.code ?? null;
  return { level, ok, at: verifiedAt, ageMs: nowMs - Date.parse(verifiedAt), code };
}

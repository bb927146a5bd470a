import type { BackupEntry } from './entry.ts';
import type { Signature } from './keys.ts';

export const verifyLevels = ['manifest', 'restore', 'full'] as const;
export type VerifyLevel = (typeof verifyLevels)[number];

/** Why a backup is not good. Stable: scripts rely on these. */
const verdicts = {
  SIGNATURE: ['the entry was changed, or signed with another key', 'compare the signing key; else take another backup'],
  KEY: [
    'the encryption key in kpipe.yaml is not the one that the backup was made with',
    'find the key by its id and name it under postgres.backups.encryption.key',
  ],
  PARENT_MISSING: [
    'a backup that this one is an increment of was removed by hand, or its entry was lost',
    'kpipe backup create takes a full one; kpipe backup prune never removes a parent that is needed',
  ],
  PARENT_MISMATCH: [
    'another backup stands where the parent was: of another cluster, timeline or moment',
    'kpipe backup create takes a full one; look who writes to the repository',
  ],
  COMBINE_FAILED: [
    'pg_combinebackup could not make one cluster of the links, or made one that is not as its manifest says',
    'kpipe backup create takes a full one; verify each link by its id',
  ],
  MANIFEST: [
    'the stored files were changed, cut or lost after the backup was made',
    'kpipe backup create; look at the disk that holds the repository',
  ],
  WAL_GAP: [
    'the archive was not received for a while, or files were deleted from it',
    'kpipe backup create begins anew; kpipe backup run keeps the archive whole',
  ],
  WAL_CORRUPT: [
    'a segment of the archive was changed after it was received',
    'kpipe backup create begins anew; look at the disk that holds the repository',
  ],
  RPO_BREACHED: [
    'nobody receives the write-ahead log, or the archive cannot be written',
    'kpipe backup run; kpipe replica status shows the slot',
  ],
  NO_SPACE: [
    'the scratch directory is too small for the restored cluster',
    'name a larger one: --scratch DIR, or postgres.backups.scratch',
  ],
  NO_TOOLS: [
    "the server's programs of that major version are not installed here",
    'install them, or verify on a host that has them',
  ],
  NO_START: [
    'the restored files do not make a cluster that starts',
    'read the log that is quoted; --keep leaves everything in place',
  ],
  TARGET_NOT_REACHED: [
    'the write-ahead log ends before the point that the backup is compared at',
    'kpipe backup create; kpipe backup run keeps the archive whole',
  ],
  NO_FINGERPRINT: [
    'the backup was made without a standby and without tables of the pipeline',
    'declare a replica under postgres.replicas, or verify with --level restore',
  ],
  CONTENT_DIFFERS: [
    'what was copied is not what the database held: silent corruption on the primary, or in the backup',
    'compare the named tables on primary and standby; switch data checksums on',
  ],
  QUERY_FAILED: [
    'a query of postgres.backups.verify.queries does not hold in the restored database',
    'run it there: --keep leaves the server running',
  ],
  AMCHECK: [
    'an index or a table is damaged, most likely on the primary already',
    'run pg_amcheck --heapallindexed on the primary, then reindex what it names',
  ],
  LOCKED: ['another kpipe works on this backup', 'wait for it'],
} as const satisfies Readonly<Record<string, readonly [likelyCause: string, next: string]>>;

export type VerdictCode = keyof typeof verdicts;

export const checkNames = [
  'signature',
  'chain',
  'key',
  'wal',
  'rpo',
  'files',
  'combine',
  'start',
  'recover',
  'content',
  'queries',
  'amcheck',
] as const;
export type CheckName = (typeof checkNames)[number];

export interface BackupCheck {
  readonly name: CheckName;
  /** null: could not be judged, or was not reached; `detail` says why. */
  readonly ok: boolean | null;
  readonly ms: number;
  readonly detail: string;
  /** Null while ok. */
  readonly code: VerdictCode | null;
  readonly likelyCause: string | null;
  readonly next: string | null;
}

/** The document of `kpipe backup verify`. */
export interface VerifyReport {
  readonly backupId: string;
  readonly level: VerifyLevel;
  /** Every check of the level was made and none failed. */
  readonly ok: boolean;
  readonly checks: readonly BackupCheck[];
  /** From stored files to a server that has reached the point of the backup; null below `restore`. */
  readonly rtoMs: number | null;
  /** What of the newest history could not be restored; null when the primary cannot be asked. */
  readonly rpoMs: number | null;
  readonly bytes: number;
  readonly postgresVersion: string;
  readonly verifiedAt: string;
  readonly host: string;
  /** Where the restored server still runs, with --keep. */
  readonly kept: { readonly directory: string; readonly connect: string } | null;
  readonly signature: Signature | null;
}

const checksOf: Readonly<Record<VerifyLevel, readonly CheckName[]>> = {
  manifest: ['signature', 'chain', 'key', 'wal', 'rpo', 'files'],
  restore: ['signature', 'chain', 'key', 'wal', 'rpo', 'files', 'combine', 'start', 'recover'],
  full: checkNames,
};

export type BackupKind = BackupEntry['kind'];

/** A full backup has no chain, and nothing to combine. */
export function checksOfLevel(level: VerifyLevel, kind: BackupKind = 'full'): readonly CheckName[] {
  return checksOf[level].filter((name) => kind === 'incremental' || (name !== 'chain' && name !== 'combine'));
}

/** A check's failure, with what the reader needs to go on. */
export class CheckFailed extends Error {
  override readonly name = 'CheckFailed';
  readonly code: VerdictCode;

  constructor(code: VerdictCode, evidence: string) {
    super(evidence);
    this.code = code;
  }
}

export function passed(name: CheckName, ms: number, detail: string): BackupCheck {
  return { name, ok: true, ms, detail, code: null, likelyCause: null, next: null };
}

export function failed(name: CheckName, ms: number, code: VerdictCode, evidence: string): BackupCheck {
  const [likelyCause, next] = verdicts[code];
  return { name, ok: false, ms, detail: evidence, code, likelyCause, next };
}

export function notJudged(name: CheckName, why: string): BackupCheck {
  return { name, ok: null, ms: 0, detail: why, code: null, likelyCause: null, next: null };
}

/**
 * Good only when each check of the level was made and held. Of the RPO alone "not judged" is accepted: a dead primary is
 * when a backup is needed.
 */
export function isGood(level: VerifyLevel, checks: readonly BackupCheck[], kind: BackupKind = 'full'): boolean {
  return checksOfLevel(level, kind).every((name) => {
    const check = checks.find((candidate) => candidate.name === name);
    return check?.ok === true || (name === 'rpo' && check?.ok === null);
  });
}

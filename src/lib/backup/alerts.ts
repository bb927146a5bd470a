import type { BackupLine } from './catalogue.ts';

/** What is wrong with a repository as a whole, judged by kpipe.yaml's `alerts.backup`. */
export interface BackupProblem {
  readonly code: 'NONE' | 'OLD' | 'UNPROVEN' | 'NOT_GOOD' | 'UNTRUSTED';
  readonly detail: string;
  readonly next: string;
}

export interface BackupAlerts {
  /** The newest backup may be so old. */
  readonly age?: number | undefined;
  /** The newest full verification that was good may be so long ago. */
  readonly verifiedAge?: number | undefined;
}

/** `lines` oldest first. No backup at all is a problem, and one problem is enough then. */
export function backupProblems(
  lines: readonly BackupLine[],
  alerts: BackupAlerts,
  nowMs: number,
): readonly BackupProblem[] {
  const trusted = lines.filter(({ problem }) => problem === null);
  const newest = trusted.at(-1);
  const untrusted = lines
    .filter(({ problem }) => problem !== null)
    .map(({ id, problem }): BackupProblem => {
      return { code: 'UNTRUSTED', detail: `${id}: ${problem ?? ''}`, next: 'remove it by hand when it is of no use' };
    });
  if (newest === undefined) {
    return [...untrusted, { code: 'NONE', detail: 'there is no backup', next: 'kpipe backup create' }];
  }
  const proven = trusted.flatMap(({ provenAt }) => (provenAt === null ? [] : [nowMs - Date.parse(provenAt)]));
  const provenAgeMs = Math.min(...proven);
  const { age, verifiedAge } = alerts;
  const { verified } = newest;
  return [
    ...untrusted,
    ...problemIf(age !== undefined && (newest.ageMs ?? 0) > age, {
      code: 'OLD',
      detail: `the newest backup, ${newest.id}, is older than alerts.backup.age`,
      next: 'kpipe backup create; is kpipe backup run alive?',
    }),
    ...problemIf(verifiedAge !== undefined && !(provenAgeMs <= verifiedAge), {
      code: 'UNPROVEN',
      detail: 'no backup was proven within alerts.backup.verifiedAge',
      next: 'kpipe backup verify',
    }),
    ...problemIf(verified?.ok === false, {
      code: 'NOT_GOOD',
      detail: `the newest backup, ${newest.id}, is not good: ${verified?.code ?? '?'}`,
      next: `kpipe backup show ${newest.id}; kpipe backup create`,
    }),
  ];
}

function problemIf(holds: boolean, problem: BackupProblem): readonly BackupProblem[] {
  return holds ? [problem] : [];
}

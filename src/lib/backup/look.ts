import type { Config } from '../config/load.ts';
import { backupProblems, type BackupProblem } from './alerts.ts';
import { listBackups, type BackupLine } from './catalogue.ts';
import { openBackupPlace, type BackupPlace } from './place.ts';

/** What `kpipe backup list` says. */
export interface BackupLook {
  readonly lines: readonly BackupLine[];
  readonly problems: readonly BackupProblem[];
}

/** The backups, and what is wrong with them by kpipe.yaml's alerts. */
export async function lookAtBackups(place: BackupPlace, nowMs: number): Promise<BackupLook> {
  const lines = await listBackups(place, nowMs);
  return { lines, problems: backupProblems(lines, place.config.alerts.backup ?? {}, nowMs) };
}

/** For those that look again and again: the repository, and its connections, are opened once. */
export function backupLooker(config: Config, now: () => number): () => Promise<BackupLook> {
  let place: BackupPlace | undefined;
  return async () => {
    place ??= openBackupPlace(config);
    return lookAtBackups(place, now());
  };
}

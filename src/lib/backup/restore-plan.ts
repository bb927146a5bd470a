import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { KpipeError } from '../errors.ts';
import type { RestoredPosition } from '../postgres/restored.ts';
import { assertEnterable, type ServerUser } from '../sandbox/directory.ts';
import type { BackupEntry } from './entry.ts';
import { formatLsn, parseLsn } from './lsn.ts';
import type { RecoveryTarget } from './recovery-settings.ts';
import type { PostgresPrograms } from './tools.ts';
import type { WalProof } from './wal-check.ts';

export type RestoreTarget =
  | { readonly kind: 'latest' }
  | { readonly kind: 'lsn'; readonly lsn: string }
  | { readonly kind: 'time'; readonly time: string };

/** What will be done. `latest` is resolved to an LSN: a hole in the archive fails instead of ending early. */
export interface RestorePlan {
  readonly backupId: string;
  /** The links that are restored, the full backup first; of a full one only itself. */
  readonly chain: readonly string[];
  readonly completedAt: string;
  readonly directory: string;
  readonly target: {
    readonly kind: RestoreTarget['kind'];
    readonly lsn: string | null;
    readonly time: string | null;
    readonly text: string;
  };
  readonly segments: number;
  readonly tailLsn: string;
  readonly clusterBytes: number;
  readonly promote: boolean;
}

/** The document of `kpipe backup restore`. */
export interface RestoreResult {
  readonly done: boolean;
  readonly plan: RestorePlan;
  readonly reachedLsn: string | null;
  readonly lastCommitAt: string | null;
  readonly rtoMs: number | null;
  readonly positions: readonly RestoredPosition[];
  /** Per role, how it comes back to where it was. */
  readonly gap: readonly RestoreGap[];
  readonly startCommand: string;
}

export interface RestoreGap {
  readonly role: string;
  /** `0:1200, 1:1187`: partition and the offset that is read next. */
  readonly partitions: string;
  /** The same for `kpipe replay`: a line `topic,partition,offset` each. */
  readonly positionsFile: string;
  readonly replay: string;
}

/** A directory with anything in it, or with a server on it, is never written to. @throws KPIPE_REFUSED */
export function refuseUnsuitable(directory: string, user: ServerUser | undefined): void {
  const pidFile = join(directory, 'postmaster.pid');
  if (existsSync(pidFile)) {
    const pid = readFileSync(pidFile, 'utf8').split('\n')[0] ?? '?';
    throw new KpipeError('KPIPE_REFUSED', `a PostgreSQL server (pid ${pid}) runs on ${directory}`, {
      next: 'restore to another directory',
    });
  }
  const besides = [directory, `${directory}-tablespaces`, `${directory}-wal`];
  const used = besides.find((path) => existsSync(path) && readdirSync(path).length > 0);
  if (used !== undefined) {
    throw new KpipeError('KPIPE_REFUSED', `${used} is not empty`, { next: 'restore to an empty directory' });
  }
  if (/["'%\\\n]/.test(directory)) {
    throw new KpipeError('KPIPE_USAGE', `${directory} has a quote, a % or a \\ in its name`, {
      next: 'choose another',
    });
  }
  refuseClosed(dirname(directory), user);
}

function refuseClosed(parent: string, user: ServerUser | undefined): void {
  try {
    if (existsSync(parent)) {
      assertEnterable(parent, user);
    }
  } catch (error) {
    throw new KpipeError('KPIPE_REFUSED', `the user that PostgreSQL runs as cannot enter ${parent}`, {
      next: 'choose another directory, such as one below /var/lib/postgresql',
      cause: error,
    });
  }
}

/** The LSN that the archive must reach at least. @throws KPIPE_REFUSED when the backup is too young for the target */
export function neededLsn(entry: BackupEntry, target: RestoreTarget): bigint {
  const next = 'choose an older backup: kpipe backup list';
  const end = lsnOf(entry.endLsn);
  if (target.kind === 'lsn' && lsnOf(target.lsn) < end) {
    throw new KpipeError('KPIPE_REFUSED', `the backup ends at ${entry.endLsn}: no earlier LSN can be restored`, {
      next,
    });
  }
  if (target.kind === 'time' && Date.parse(target.time) < Date.parse(entry.startedAt)) {
    throw new KpipeError('KPIPE_REFUSED', `the backup was begun at ${entry.startedAt}, after the time asked for`, {
      next,
    });
  }
  return target.kind === 'lsn' ? lsnOf(target.lsn) : end;
}

export function describeTarget(target: RestoreTarget, proof: WalProof): RestorePlan['target'] {
  switch (target.kind) {
    case 'lsn':
      return { kind: 'lsn', lsn: target.lsn, time: null, text: `everything before LSN ${target.lsn}` };
    case 'time':
      return { kind: 'time', lsn: null, time: target.time, text: `commits up to ${target.time}` };
    case 'latest': {
      const lsn = formatLsn(proof.lastRecordLsn);
      return { kind: 'latest', lsn, time: null, text: `the archive's last record, at LSN ${lsn}` };
    }
  }
}

export function recoveryTarget({ target }: RestorePlan): RecoveryTarget {
  return target.kind === 'time'
    ? { kind: 'time', time: target.time ?? '' }
    : { kind: 'lsn', lsn: target.lsn ?? '0/0', inclusive: target.kind === 'latest' };
}

/**
 * PostgreSQL's roles find their positions in the database: a running consumer is fenced and follows it back. By hand it is
 * done by these very offsets: what was restored and what was produced at one time says nothing about what was read.
 */
export function gapOf(positions: readonly RestoredPosition[], directory: string): readonly RestoreGap[] {
  return [...Map.groupBy(positions, ({ role }) => role)].map(([role, partitions]) => {
    const file = positionsFile(directory, role);
    return {
      role,
      partitions: partitions.map(({ partition, nextOffset }) => `${partition}:${nextOffset}`).join(', '),
      positionsFile: file,
      replay: `kpipe replay ${role} --to ${/^[\w./-]+$/.test(file) ? `file:${file}` : `'file:${file}'`}`,
    };
  });
}

/** Beside the restored directory, as `kpipe replay --to file:` reads it. */
export function positionsFile(directory: string, role: string): string {
  return `${directory}-positions-${role}.csv`;
}

export function positionsText(positions: readonly RestoredPosition[]): string {
  return positions.map(({ topic, partition, nextOffset }) => `${topic},${partition},${nextOffset}\n`).join('');
}

/** As the server's own user; its log into the directory that is surely its own. */
export function startCommand({ bin }: PostgresPrograms, directory: string, user: ServerUser | undefined): string {
  const asUser = user === undefined ? '' : 'runuser -u postgres -- ';
  return `${asUser}${join(bin, 'pg_ctl')} -D ${directory} -l ${join(directory, 'server.log')} start`;
}

export function lsnOf(text: string): bigint {
  const lsn = parseLsn(text);
  if (lsn === undefined) {
    throw new KpipeError('KPIPE_USAGE', `${text} is no LSN`, { next: 'write it as 0/3000148' });
  }
  return lsn;
}

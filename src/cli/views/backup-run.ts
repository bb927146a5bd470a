import type { BackupRunReport, RunEvent } from '../../lib/backup/run.ts';
import type { UnitFile } from '../../lib/backup/unit-files.ts';
import { formatDuration } from '../../lib/config/units.ts';
import type { View } from '../base-command.ts';
import { bad, dim, ok, warn, type Line } from '../output/text.ts';

/** A line of `kpipe backup run`, for a log. */
export function runEventLine(event: RunEvent, nowMs: number): Line {
  const at = dim(`${new Date(nowMs).toISOString()} `);
  switch (event.kind) {
    case 'receiving':
      return [at, `receiving the write-ahead log through slot ${event.slot}`];
    case 'trouble':
      return [at, warn('! '), `pg_receivewal ended, it is started again: ${event.reason}`];
    case 'sealed':
      return [at, `archived ${event.segments.join(', ')}`];
    case 'due':
      return [at, `next backup ${event.atMs <= nowMs ? 'now' : `in ${formatDuration(event.atMs - nowMs)}`}`];
    case 'created':
      return [at, ok('✓ '), `backup ${event.id} in ${formatDuration(event.ms)}`];
    case 'verified':
      return [at, event.ok ? ok('✓ ') : bad('✗ '), `backup ${event.id} is ${event.ok ? 'good' : 'NOT good'}`];
    case 'pruned':
      return [at, `pruned ${event.backups} backups and ${event.segments} segments`];
    case 'failed':
      return [at, bad(event.code), ` ${event.reason}`];
  }
}

export function runView(result: BackupRunReport | { readonly files: readonly UnitFile[] }, view: View): string {
  return 'files' in result
    ? unitsView(result, view)
    : view.line(
        `${result.created.length} backups, ${result.sealedSegments} segments archived, ${result.failures} failures in ${formatDuration(result.ms)}`,
      );
}

/** The files as they are, each below its path as a comment. */
export function unitsView({ files }: { readonly files: readonly UnitFile[] }, view: View): string {
  return files
    .map(({ path, text }) => [`# ${path}`, ...text.trimEnd().split('\n')].map((line) => view.line(line)).join('\n'))
    .join('\n\n');
}

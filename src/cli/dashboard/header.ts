import { formatDuration, formatSize } from '../../lib/config/units.ts';
import type { DashboardState } from '../../lib/dashboard/watch.ts';
import type { BrokerReport } from '../../lib/health/broker-report.ts';
import type { BackupLook } from '../../lib/backup/look.ts';
import type { ReplicaReport, StandbyReport } from '../../lib/replication/report.ts';
import type { CellLine } from '../../ui/cell.ts';
import { bad, dim, ok, warn, type Span } from '../output/text.ts';
import { formatAge } from './freshness.ts';
import { plain, safe } from './page.ts';

/** As `PartState` of lib/metrics has it. */
interface Seen<Report> {
  readonly report: Report | null;
  readonly seenAtMs: number | null;
  readonly failure: string | null;
  readonly failedLooks: number;
}

const apart: Span = dim('  ·  ');

/** One line about what the roles stand on: brokers, standbys, backups; each with its age where it could not be looked at anew. */
export function headerLine({ brokers, replica, backup }: DashboardState, nowMs: number): CellLine {
  const parts = [
    seen('brokers', brokers, nowMs, brokersText),
    replica === null ? [dim('no replica configured')] : seen('replica', replica, nowMs, replicaText),
    backup === null ? [dim('no backups configured')] : seen('backup', backup, nowMs, backupText),
  ];
  return parts.flatMap((part, at) => (at === 0 ? part : [apart, ...part])).map(safe);
}

function seen<Report>(
  name: string,
  { report, seenAtMs, failure, failedLooks }: Seen<Report>,
  nowMs: number,
  text: (report: Report, nowMs: number) => readonly Span[],
): readonly Span[] {
  const isFailed = failure !== null && failedLooks > 0;
  if (report === null || seenAtMs === null) {
    return isFailed ? [warn('? '), plain(`${name} not known: ${failure}`)] : [dim(`${name} …`)];
  }
  return [...text(report, nowMs), ...(isFailed ? [warn(` STALE ${formatAge(nowMs - seenAtMs)}: ${failure}`)] : [])];
}

function brokersText({ brokers, partitions, problems, controller }: BrokerReport): readonly Span[] {
  const up = brokers.filter(({ state }) => state === 'up').length;
  const counted: readonly (readonly [number, string])[] = [
    [partitions.offline, 'offline'],
    [partitions.underMinIsr, 'under min ISR'],
    [partitions.underReplicated, 'under-replicated'],
  ];
  const wrong = counted.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  const fails = problems.some(({ level }) => level === 'fail');
  const warns = problems.some(({ level }) => level === 'warn');
  const codes = wrong.length > 0 ? [] : problems.filter(({ level }) => level !== 'notice').map(({ code }) => code);
  return [
    fails ? bad('✗ ') : warns ? warn('! ') : ok('✓ '),
    plain(`brokers ${up}/${brokers.length}`),
    controller.leader === null ? plain('') : dim(` controller ${controller.leader}`),
    ...[...wrong, ...codes].slice(0, 1).map((what) => (fails ? bad(` ${what}`) : warn(` ${what}`))),
  ];
}

function replicaText({ standbys, problems }: ReplicaReport): readonly Span[] {
  const primary = problems.find(({ standby }) => standby === null);
  const texts = [
    ...(primary === undefined ? [] : [[bad('✗ '), plain('primary'), bad(` ${primary.code}`)]]),
    ...standbys.map(standbyText),
  ];
  return texts.flatMap((text, at) => (at === 0 ? text : [plain('  '), ...text]));
}

function standbyText({ name, lagMs, replayBytes, problems }: StandbyReport): readonly Span[] {
  const [first] = problems;
  const behind = lagMs === null ? '?' : lagMs === 0 ? '0s' : formatDuration(lagMs);
  const bytes = replayBytes === null || replayBytes === 0 ? '' : ` ${formatSize(replayBytes)}`;
  return [
    first === undefined ? ok('✓ ') : bad('✗ '),
    plain(name),
    first === undefined ? dim(` ${behind} behind${bytes}`) : bad(` ${first}`),
  ];
}

function backupText({ lines, problems }: BackupLook, nowMs: number): readonly Span[] {
  const newest = lines.findLast(({ problem }) => problem === null);
  const worst = problems.find(({ code }) => code !== 'UNTRUSTED') ?? problems[0];
  const mark = worst === undefined ? ok('✓ ') : worst.code === 'UNTRUSTED' ? warn('! ') : bad('✗ ');
  if (newest?.completedAt === null || newest?.completedAt === undefined) {
    return [mark, plain('no backup')];
  }
  const proven =
    newest.provenAt === null ? 'not proven' : `proven ${formatAge(nowMs - Date.parse(newest.provenAt))} ago`;
  return [
    mark,
    plain(`backup ${formatAge(nowMs - Date.parse(newest.completedAt))} old`),
    worst === undefined ? dim(`, ${proven}`) : bad(` ${worst.code}`),
  ];
}

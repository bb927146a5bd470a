import type { BackupLine } from '../backup/catalogue.ts';
import type { BackupAlerts, BackupProblem } from '../backup/alerts.ts';
import type { Config } from '../config/load.ts';
import { formatDuration } from '../config/units.ts';
import { neverStarted, type GroupLag, type LagReport } from '../offsets/lag-report.ts';
import type { ReplicaReport } from '../replication/report.ts';
import type { BrokerReport } from './broker-report.ts';
import type { Finding } from './check.ts';
import type { GateFigure, GateFinding, Looked } from './gate.ts';

/** What each part's report means to the gate. Pure; the alerts are kpipe.yaml's. */

type LagAlerts = NonNullable<Config['alerts']['lag']>;

export function lagLooked({ roles, notes }: LagReport, alerts: LagAlerts): Looked {
  const findings = [
    ...roles.flatMap((group) => groupFindings(group, alerts)),
    ...notes.map((note): GateFinding => ({
      level: 'unknown',
      detail: note,
      next: '`kpipe doctor` looks at every store',
    })),
  ];
  const behind = roles.reduce((sum, { lagRecords }) => sum + (lagRecords ?? 0), 0);
  return {
    detail: `${roles.length} ${roles.length === 1 ? 'group' : 'groups'}, ${behind.toLocaleString('en-US')} records behind`,
    findings,
    figures: roles.flatMap((group) => groupFigures(group, alerts)),
  };
}

function groupFindings(group: GroupLag, alerts: LagAlerts): readonly GateFinding[] {
  const { timeLagMs, lossInMs, lostRecords, lagRecords, status, reason } = group;
  const name = group.role ?? group.group;
  const next = group.role === null ? `kpipe lag --group ${group.group}` : `kpipe lag ${group.role}`;
  const fail = (detail: string): GateFinding => ({ level: 'fail', detail: `${name} ${detail}`, next });
  const findings: GateFinding[] = [];
  if (lostRecords > 0) {
    findings.push(fail(`lost ${lostRecords} records: they expired before they were read`));
  }
  if (alerts.time !== undefined && timeLagMs !== null && timeLagMs > alerts.time) {
    findings.push(fail(`is ${formatDuration(timeLagMs)} behind (alert ${formatDuration(alerts.time)})`));
  }
  // Whoever has read everything has a whole retention, however short that is.
  if (alerts.lossIn !== undefined && lossInMs !== null && (lagRecords ?? 0) > 0 && lossInMs < alerts.lossIn) {
    findings.push(fail(`loses records in ${formatDuration(lossInMs)} (alert ${formatDuration(alerts.lossIn)})`));
  }
  switch (status) {
    case 'ok':
      break;
    case 'warn':
      findings.push({ level: 'warn', detail: `${name} falls behind: ${reason ?? ''}`, next });
      break;
    case 'stall':
    case 'rewind':
    case 'stop':
      findings.push(fail(`${status}: ${reason ?? ''}`));
      break;
    case 'unknown':
      if (isUnseen(group)) {
        findings.push({ level: 'unknown', detail: `${name}: ${reason ?? 'its lag is not known'}`, next });
      }
  }
  return findings;
}

/** Groups that never started have nothing to be behind with; a short look at one that is behind in time is judged by `time`. */
function isUnseen({ reason, lagRecords, timeLagMs, partitions, unknown }: GroupLag): boolean {
  if (partitions.length === 0) {
    return reason !== neverStarted;
  }
  const hasStarted = partitions.some(({ position, committedOffset }) => position !== null || committedOffset !== null);
  return (
    hasStarted && (lagRecords === null || (timeLagMs === null && unknown['timeLagMs'] !== undefined && lagRecords > 0))
  );
}

function groupFigures(
  { role, group, lagRecords, timeLagMs, lossInMs }: GroupLag,
  alerts: LagAlerts,
): readonly GateFigure[] {
  const name = role ?? group;
  return [
    ...figure(`${name}_records`, lagRecords, '', null),
    ...figure(`${name}_time`, seconds(timeLagMs), 's', alerts.time === undefined ? null : String(alerts.time / 1000)),
    ...figure(
      `${name}_loss_in`,
      seconds(lossInMs),
      's',
      alerts.lossIn === undefined ? null : `${alerts.lossIn / 1000}:`,
    ),
  ];
}

/** @param measured whether growth was measured, so that `full in` could be judged */
export function brokersLooked(
  report: BrokerReport,
  alerts: NonNullable<Config['alerts']['disk']>,
  measured: boolean,
): Looked {
  const { brokers, partitions } = report;
  const up = brokers.filter(({ state }) => state === 'up').length;
  const growth = measured || alerts.fullIn === undefined ? '' : '; growth not measured (--for)';
  return {
    detail: `${up} of ${brokers.length} brokers up, ${partitions.partitions} partitions, ${partitions.underReplicated} under-replicated${growth}`,
    findings: [
      ...report.problems.flatMap(({ level, code, detail, next }): readonly GateFinding[] =>
        level === 'notice' ? [] : [{ level, detail: `${code} ${detail}`, next }],
      ),
      ...report.notes.map((note): GateFinding => ({ level: 'unknown', detail: note, next: 'kpipe brokers' })),
    ],
    figures: [
      ...figure('offline', partitions.offline, '', '0'),
      ...figure('under_replicated', partitions.underReplicated, '', null),
      ...brokers.flatMap(({ id, logDirectories }) =>
        logDirectories.flatMap(({ usedPercent }, at) =>
          figure(
            `disk_${id}${at === 0 ? '' : `_${at}`}`,
            usedPercent,
            '%',
            alerts.usedPercent === undefined ? null : String(alerts.usedPercent),
          ),
        ),
      ),
    ],
  };
}

export function replicaLooked(report: ReplicaReport, alarmMs: number | null): Looked {
  return {
    detail: `${report.standbys.filter(({ problems }) => problems.length === 0).length} of ${report.standbys.length} standbys well`,
    findings: report.problems.map(({ code, standby, detail, next }): GateFinding => ({
      level: code === 'UNDECLARED' || code === 'SLOT_AT_RISK' ? 'warn' : 'fail',
      detail: `${standby ?? 'primary'} ${code} ${detail}`,
      next,
    })),
    figures: report.standbys.flatMap(({ name, lagMs, replayBytes }) => [
      ...figure(`${name}_lag`, seconds(lagMs), 's', alarmMs === null ? null : String(alarmMs / 1000)),
      ...figure(`${name}_bytes`, replayBytes, 'B', null),
    ]),
  };
}

export function backupLooked(
  lines: readonly BackupLine[],
  problems: readonly BackupProblem[],
  alerts: BackupAlerts,
): Looked {
  const ages = lines.flatMap(({ ageMs, problem }) => (ageMs === null || problem !== null ? [] : [ageMs]));
  const newest = ages.length === 0 ? null : Math.min(...ages);
  return {
    detail: newest === null ? 'no backup' : `${lines.length} backups, the newest ${formatDuration(newest)} old`,
    findings: problems.map(({ code, detail, next }) => ({
      level: code === 'UNTRUSTED' ? 'warn' : 'fail',
      detail: `${code} ${detail}`,
      next,
    })),
    figures: [
      ...figure('count', lines.length, '', null),
      ...figure('age', seconds(newest), 's', alerts.age === undefined ? null : String(alerts.age / 1000)),
    ],
  };
}

/** As `kpipe doctor` looks at a store. */
export function storeLooked(found: readonly Finding[]): Looked {
  const wrong = found.filter(({ level }) => level !== 'ok');
  return {
    detail: `${found.length - wrong.length} of ${found.length} checks fine`,
    findings: wrong.map(({ name, level, detail, next }) => ({
      level: level === 'fail' ? 'fail' : 'warn',
      detail: `${name} ${detail}`,
      next,
    })),
    figures: [],
  };
}

function figure(
  name: string,
  value: number | null,
  unit: GateFigure['unit'],
  critical: string | null,
): readonly GateFigure[] {
  return value === null ? [] : [{ name, value, unit, critical }];
}

function seconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

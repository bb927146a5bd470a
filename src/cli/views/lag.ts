import type { Config } from '../../lib/config/load.ts';
import { formatCount, formatDuration } from '../../lib/config/units.ts';
import type { LagProblem } from '../../lib/offsets/fail-on.ts';
import type { Look } from '../../lib/offsets/follow.ts';
import {
  neverDrains,
  type GroupLag,
  type LagFigures,
  type LagReport,
  type PartitionLag,
} from '../../lib/offsets/lag-report.ts';
import { neverExpires } from '../../lib/offsets/loss.ts';
import { defaultJudgement } from '../../lib/offsets/status.ts';
import type { View } from '../base-command.ts';
import { renderDocument } from '../output/document.ts';
import { errorDocument } from '../output/errors.ts';
import type { Column } from '../output/table.ts';
import { bad, dim, ok, warn, type Span } from '../output/text.ts';

/** `kpipe lag`: the same cells for the table and for the screen. */

/** A column, and how early it goes where the terminal is narrow: higher first, without a number never. */
export type LagColumn = Column & { readonly dispensable?: number };

export const lagColumns: readonly LagColumn[] = [
  { title: 'ROLE', dispensable: 5 },
  { title: 'GROUP' },
  { title: 'STATE', dispensable: 6 },
  { title: 'LAG', align: 'right' },
  { title: 'TIME', align: 'right' },
  { title: 'IN/s', align: 'right', dispensable: 8 },
  { title: 'OUT/s', align: 'right', dispensable: 7 },
  { title: 'DRAIN', align: 'right', dispensable: 4 },
  { title: 'LOSS-IN', align: 'right', dispensable: 2 },
  { title: 'STATUS' },
];

export const partitionColumns: readonly LagColumn[] = [
  { title: 'TOPIC', dispensable: 3 },
  { title: 'P', align: 'right' },
  { title: 'POSITION', align: 'right', dispensable: 4 },
  { title: 'END', align: 'right', dispensable: 5 },
  { title: 'LAG', align: 'right' },
  { title: 'TIME', align: 'right' },
  { title: 'IN/s', align: 'right', dispensable: 7 },
  { title: 'OUT/s', align: 'right', dispensable: 6 },
  { title: 'LOSS-IN', align: 'right', dispensable: 2 },
  { title: 'STATUS' },
  { title: 'MEMBER', dispensable: 8 },
];

/** Not known; the JSON says why. */
const unknown = dim('?');
const defaultLossAlarmMs = 6 * 3_600_000;

/** Below this, LOSS-IN is an alarm. */
export function lossAlarmOf({ alerts }: Pick<Config, 'alerts'>): number {
  return alerts.lag?.lossIn ?? defaultLossAlarmMs;
}

/** A look as a line of ndjson: the report, or the error document while the cluster cannot be seen. */
export function lookLine(look: Look): string {
  return renderDocument(look.kind === 'report' ? look.report : errorDocument(look.error), 'ndjson');
}

type Checked = LagReport & { readonly problems: readonly LagProblem[] };

export function lagView(alarmMs: number): (report: Checked, view: View) => string {
  return (report, view) => lagText(report, view, alarmMs);
}

function lagText(report: Checked, view: View, alarmMs: number): string {
  const rows = report.roles.map((group) => groupCells(group, alarmMs));
  return [
    view.table(lagColumns, rows),
    ...report.roles.flatMap((group) => (group.reason === null ? [] : [view.line(reasonLine(group))])),
    ...report.notes.map((note) => view.line([warn('! '), note])),
    ...report.problems.map((problem) =>
      view.line([bad('✗ '), `${problem.role ?? problem.group}: ${problem.condition}`, dim(` (${problem.actual})`)]),
    ),
  ].join('\n');
}

export function groupCells(group: GroupLag, alarmMs: number): readonly Span[] {
  return [
    plain(group.role ?? '–'),
    plain(group.group),
    stateCell(group),
    countCell(group.lagRecords),
    timeCell(group),
    rateCell(group.inPerSec),
    rateCell(group.outPerSec),
    drainCell(group),
    lossCell(group, alarmMs),
    statusCell(group),
  ];
}

export function partitionCells(partition: PartitionLag, alarmMs: number): readonly Span[] {
  return [
    plain(partition.topic),
    plain(String(partition.partition)),
    partition.position === null ? unknown : plain(String(partition.position)),
    partition.highWatermark === null ? unknown : plain(String(partition.highWatermark)),
    countCell(partition.lagRecords),
    timeCell(partition),
    rateCell(partition.inPerSec),
    rateCell(partition.outPerSec),
    lossCell(partition, alarmMs),
    statusSpan(partition.status, ''),
    plain(partition.member ?? '–'),
  ];
}

export function reasonLine(group: GroupLag): readonly [Span, string] {
  const mark = group.status === 'ok' || group.status === 'unknown' ? dim('· ') : bad('! ');
  return [mark, `${group.role ?? group.group}: ${group.reason ?? ''}`];
}

/** `Stable 3`: three members. Kafka says Dead of a group that never was. */
function stateCell({ state, members, protocol }: GroupLag): Span {
  if (state === null) {
    return unknown;
  }
  return state === 'Dead' && protocol === null ? dim('–') : plain(members === 0 ? state : `${state} ${members}`);
}

function plain(text: string): Span {
  return { tone: 'plain', text };
}

/** `1,204`, `88,310`, `2.1M`. */
function countCell(records: number | null): Span {
  if (records === null) {
    return unknown;
  }
  return plain(records < 1_000_000 ? records.toLocaleString('en-US') : formatCount(records));
}

/** `1.9s`; `~4m` is an estimate. */
function timeCell({ timeLagMs, timeLagMethod }: LagFigures): Span {
  if (timeLagMs === 0) {
    return plain('0s');
  }
  return timeLagMs === null ? unknown : plain(`${timeLagMethod === 'estimate' ? '~' : ''}${formatDuration(timeLagMs)}`);
}

function rateCell(perSec: number | null): Span {
  return perSec === null ? unknown : plain(formatCount(perSec));
}

/** A lag of seconds that stays as it is, is what a pipeline at work looks like: nothing to drain. */
function drainCell({ drainMs, timeLagMs, unknown: reasons }: GroupLag): Span {
  if (drainMs !== null) {
    return plain(drainMs === 0 ? '–' : formatDuration(drainMs));
  }
  if (reasons['drainMs'] !== neverDrains) {
    return unknown;
  }
  return timeLagMs !== null && timeLagMs <= defaultJudgement.allowedTimeMs ? plain('–') : warn('never');
}

function lossCell({ lossInMs, unknown: reasons }: LagFigures, alarmMs: number): Span {
  if (lossInMs === null) {
    const never = Object.values(neverExpires).some((reason) => reason === reasons['lossInMs']);
    return never ? dim('never') : unknown;
  }
  return lossInMs < alarmMs ? bad(`! ${formatDuration(lossInMs)}`) : plain(formatDuration(lossInMs));
}

/** `OK`, `WARN`, `ERR STOP 6/6`: the state also without colour, and how many partitions are in it. */
function statusCell({ status, partitions }: GroupLag): Span {
  const same = partitions.filter((partition) => partition.status === status).length;
  return statusSpan(status, status === 'ok' || same === 0 ? '' : ` ${same}/${partitions.length}`);
}

function statusSpan(status: LagFigures['status'], share: string): Span {
  switch (status) {
    case 'ok':
      return ok('OK');
    case 'unknown':
      return unknown;
    case 'warn':
      return warn(`WARN${share}`);
    case 'stall':
    case 'rewind':
    case 'stop':
      return bad(`ERR ${status.toUpperCase()}${share}`);
  }
}

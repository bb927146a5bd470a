import { formatDuration, formatSize } from '../../lib/config/units.ts';
import type { Look } from '../../lib/offsets/follow.ts';
import type { CheckedReplicaReport } from '../../lib/replication/look.ts';
import type { PrimaryReport, ReplicaProblem, ReplicaReport, StandbyReport } from '../../lib/replication/report.ts';
import type { View } from '../base-command.ts';
import { renderDocument } from '../output/document.ts';
import { errorDocument } from '../output/errors.ts';
import type { GridColumn } from '../../ui/grid.ts';
import { bad, dim, ok, warn, type Line, type Span } from '../output/text.ts';

/** `kpipe replica status`: the same cells for the table and for the screen. */

export const standbyColumns: readonly GridColumn[] = [
  { title: 'STANDBY' },
  { title: 'STATE', dispensable: 4 },
  { title: 'SYNC', dispensable: 9 },
  { title: 'BEHIND', align: 'right' },
  { title: 'TIME', align: 'right' },
  { title: 'PROBE', align: 'right', dispensable: 5 },
  { title: 'ANSWERED', align: 'right', dispensable: 8 },
  { title: 'SLOT', dispensable: 6 },
  { title: 'KEEPS', align: 'right', dispensable: 7 },
  { title: 'SAFE', align: 'right', dispensable: 3 },
  { title: 'CONFLICTS', align: 'right', dispensable: 10 },
  { title: 'STATUS' },
];

/** Not known; the JSON says why. */
const unknown = dim('?');
const none = dim('–');

/** A look as a line of ndjson: the report, or the error document while no server answers. */
export function replicaLookLine(look: Look<ReplicaReport>): string {
  return renderDocument(look.kind === 'report' ? look.report : errorDocument(look.error), 'ndjson');
}

export function replicaView(report: CheckedReplicaReport, view: View): string {
  const table =
    report.standbys.length === 0
      ? [view.line(dim('no standby is declared in postgres.replicas, and none streams'))]
      : [view.table(standbyColumns, report.standbys.map(standbyCells))];
  const failed = report.failed.map(({ standby, condition, actual }) =>
    view.line([bad('✗ '), `${standby ?? 'primary'}: ${condition}`, dim(` (${actual})`)]),
  );
  return [
    view.line(primaryLine(report.primary)),
    ...table,
    ...report.problems.flatMap((problem) => problemLines(problem).map(view.line)),
    ...report.notes.map((note) => view.line([dim('· '), note])),
    ...failed,
  ].join('\n');
}

/** `primary 127.0.0.1:5432  PostgreSQL 15.18  timeline 1  0/3050140`. */
export function primaryLine(primary: PrimaryReport): Line {
  if (!primary.reachable) {
    return [bad('primary cannot be asked'), dim(`  ${primary.reason ?? ''}`)];
  }
  const beat = primary.heartbeatAgeMs === null ? '' : `  heartbeat ${formatDuration(primary.heartbeatAgeMs)} ago`;
  return [
    `primary ${primary.address ?? ''}`,
    dim(`  PostgreSQL ${primary.version ?? '?'}  timeline ${primary.timeline ?? '?'}  at ${primary.lsn ?? '?'}${beat}`),
  ];
}

/** What is wrong, then what to do. */
export function problemLines({ code, standby, detail, next }: ReplicaProblem): readonly Line[] {
  return [
    [bad('! '), `${standby ?? 'primary'}: `, bad(code), ` ${detail}`],
    [dim('  → '), next],
  ];
}

export function standbyCells(standby: StandbyReport): readonly Span[] {
  const { slot, conflicts } = standby;
  return [
    plain(standby.name),
    stateCell(standby),
    standby.syncState === null ? none : plain(standby.syncState),
    sizeCell(standby.replayBytes),
    timeCell(standby),
    standby.probeMs === null ? none : plain(milliseconds(standby.probeMs)),
    standby.replyAgeMs === null ? none : plain(`${formatDuration(standby.replyAgeMs)} ago`),
    slot === null ? none : plain(`${slot.name}${slot.active ? '' : ' (idle)'}`),
    slot === null ? none : sizeCell(slot.retainedBytes),
    safeCell(slot),
    conflicts === null ? unknown : plain(String(conflicts.total)),
    statusCell(standby),
  ];
}

function plain(text: string): Span {
  return { tone: 'plain', text };
}

function stateCell({ state, inRecovery, upstream, replayPaused }: StandbyReport): Span {
  const from = upstream === null || upstream === 'primary' ? '' : ` from ${upstream}`;
  if (state !== null) {
    return plain(`${state}${from}${replayPaused === true ? ', paused' : ''}`);
  }
  return inRecovery === null ? unknown : plain(inRecovery ? 'not streaming' : 'takes writes');
}

function sizeCell(bytes: number | null): Span {
  return bytes === null ? unknown : plain(bytes === 0 ? '0' : formatSize(bytes));
}

/** `2.7ms`, `≤41s`: a bound and not a measurement. */
function timeCell({ lagMs, lagMethod }: StandbyReport): Span {
  if (lagMs === null) {
    return unknown;
  }
  const isBound = lagMethod === 'heartbeat' || lagMethod === 'transaction' || lagMethod === 'history';
  return plain(lagMs === 0 ? '0' : `${isBound ? '≤' : ''}${milliseconds(lagMs)}`);
}

function milliseconds(ms: number): string {
  return ms < 100 ? `${ms.toFixed(1)}ms` : formatDuration(ms);
}

function safeCell(slot: StandbyReport['slot']): Span {
  if (slot === null) {
    return none;
  }
  if (slot.walStatus === 'lost') {
    return bad('lost');
  }
  return slot.safeWalBytes === null ? dim('no bound') : plain(formatSize(slot.safeWalBytes));
}

/** The cause, and how many more there are. */
function statusCell({ problems }: StandbyReport): Span {
  const [first, ...more] = problems;
  if (first === undefined) {
    return ok('OK');
  }
  const text = `${first}${more.length === 0 ? '' : ` +${more.length}`}`;
  return first === 'UNDECLARED' || first === 'SLOT_AT_RISK' ? warn(text) : bad(text);
}

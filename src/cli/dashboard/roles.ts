import { formatCount } from '../../lib/config/units.ts';
import type { GatePart, GateReport } from '../../lib/health/gate.ts';
import type { ProcessReport, RoleProcess } from '../../lib/metrics/role-processes.ts';
import type { GroupLag, LagReport } from '../../lib/offsets/lag-report.ts';
import { lagStatuses } from '../../lib/offsets/status.ts';
import type { CellLine } from '../../ui/cell.ts';
import type { GridColumn } from '../../ui/grid.ts';
import type { Page, PageProblem } from '../../ui/lag-screen-model.ts';
import { escapeControls } from '../output/escape.ts';
import { bad, dim, ok, warn, type Span } from '../output/text.ts';
import { groupCells, lagColumns } from '../views/lag.ts';
import { lagProblems } from './overview.ts';
import { emptyPage, plain, problem, safe } from './page.ts';

const columns: readonly GridColumn[] = [
  { title: 'ROLE' },
  { title: 'GROUP', dispensable: 3 },
  { title: 'PROTOCOL', dispensable: 6 },
  { title: 'STATE' },
  { title: 'PARTITIONS READ', align: 'right', dispensable: 2 },
  { title: 'POSITIONS', dispensable: 5 },
  { title: 'READY', align: 'right', dispensable: 1 },
  { title: 'DEAD LETTERS', align: 'right', dispensable: 4 },
  { title: 'STATUS' },
];

const unknown = dim('?');
const stateAt = lagColumns.findIndex(({ title }) => title === 'STATE');
const statusAt = lagColumns.findIndex(({ title }) => title === 'STATUS');

export interface RolesParts {
  readonly lag: LagReport | null;
  /** null: no address of a process is known. */
  readonly processes: ProcessReport | null;
  /** null: kpipe.yaml has neither, or they were not looked at yet. */
  readonly stores: GateReport | null;
  readonly lossAlarmMs: number;
}

/** Whether each role does its work: its group, its processes, and the stores behind. */
export function rolesPage({ lag, processes, stores, lossAlarmMs }: RolesParts): Omit<Page, 'freshness'> {
  return {
    ...emptyPage,
    table: {
      columns,
      rows: (lag?.roles ?? []).map((group) => ({
        key: escapeControls(group.group),
        cells: roleCells(group, processes, lossAlarmMs).map(safe),
        ranks: [lagStatuses.indexOf(group.status), group.members],
        trend: [],
      })),
      sorts: ['declared', 'status', 'members'],
      trend: null,
      opens: true,
      empty: lag === null ? 'looking…' : 'no roles',
    },
    lines: [...(processes?.processes ?? []).map(processLine), ...(stores?.parts ?? []).flatMap(storeLines)],
    problems: [...(lag === null ? [] : lagProblems(lag)), ...storeProblems(stores)],
  };
}

function roleCells(group: GroupLag, processes: ProcessReport | null, lossAlarmMs: number): readonly Span[] {
  const shown = groupCells(group, lossAlarmMs);
  const own = processes?.roles.find(({ role }) => role === group.role);
  const held = group.partitions.filter(({ member }) => member !== null).length;
  const all = group.partitions.length;
  return [
    plain(group.role ?? '–'),
    plain(group.group),
    group.protocol === null ? dim('–') : plain(group.protocol),
    shown[stateAt] ?? unknown,
    held < all ? warn(`${held} of ${all}`) : plain(`${held} of ${all}`),
    plain(group.positionSource === 'postgres' ? 'PostgreSQL' : 'commits'),
    readyCell(own),
    own === undefined ? unknown : own.deadLetters === 0 ? plain('0') : warn(formatCount(own.deadLetters)),
    shown[statusAt] ?? unknown,
  ];
}

function readyCell(own: { readonly ready: number; readonly processes: number } | undefined): Span {
  if (own === undefined) {
    return unknown;
  }
  const text = `${own.ready} of ${own.processes}`;
  return own.ready < own.processes ? bad(text) : plain(text);
}

/** `✓ http://10.0.0.1:9464 events: 3 of 3 partitions claimed`. */
function processLine({ url, role, ready, reasons, metrics }: RoleProcess): CellLine {
  const mark = ready === true ? ok('✓ ') : bad('✗ ');
  const held = metrics === null ? '' : `: ${metrics.claimed ?? '?'} of ${metrics.assigned ?? '?'} partitions claimed`;
  const why = [...reasons, ...(metrics?.paused ?? [])].join('; ');
  return [
    mark,
    dim(`${escapeControls(url)} `),
    plain(`${role ?? ''}${held}`),
    ...(why === '' ? [] : [warn(`  ${escapeControls(why)}`)]),
  ];
}

function storeLines({ part, state, detail, ms }: GatePart): readonly CellLine[] {
  switch (state) {
    case 'skipped':
      return [];
    case 'ok':
      return [[ok('✓ '), plain(part.padEnd(9)), dim(`${escapeControls(detail)}  ${ms}ms`)]];
    case 'warn':
      return [[warn('! '), plain(part.padEnd(9)), plain(detail)]];
    case 'fail':
    case 'unknown':
      return [[bad('✗ '), plain(part.padEnd(9)), plain(detail)]];
  }
}

function storeProblems(stores: GateReport | null): readonly PageProblem[] {
  return (stores?.parts ?? []).flatMap(({ part, findings }) =>
    findings.map(({ level, detail, next }) =>
      problem(level === 'unknown' ? 'warn' : level, `${part}: ${detail}`, { next }),
    ),
  );
}

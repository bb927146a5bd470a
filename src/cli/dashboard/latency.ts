import { formatCount, formatDuration } from '../../lib/config/units.ts';
import { probeCount, probesPerSec, type ProbeState } from '../../lib/dashboard/active-probe.ts';
import type { StageLatency } from '../../lib/latency/report.ts';
import type { ProcessReport, RoleLatency } from '../../lib/metrics/role-processes.ts';
import type { GroupLag, LagReport } from '../../lib/offsets/lag-report.ts';
import type { CellLine } from '../../ui/cell.ts';
import type { GridColumn } from '../../ui/grid.ts';
import type { Page, PageProblem } from '../../ui/lag-screen-model.ts';
import { escapeControls } from '../output/escape.ts';
import { accent, bad, dim, strong, warn, type Span } from '../output/text.ts';
import { emptyPage, plain, problem, safe } from './page.ts';

const columns: readonly GridColumn[] = [
  { title: 'ROLE' },
  { title: 'PROCESSES', align: 'right', dispensable: 3 },
  { title: 'p50', align: 'right' },
  { title: 'p99', align: 'right' },
  { title: 'BATCHES', align: 'right', dispensable: 2 },
  { title: 'OVER', align: 'right', dispensable: 4 },
  { title: 'STORED/s', align: 'right', dispensable: 1 },
  { title: 'FIRST UNREAD', align: 'right' },
];

const unknown = dim('?');
const barWidth = 30;

export interface LatencyParts {
  readonly lag: LagReport | null;
  /** null: no address of a process is known. */
  readonly processes: ProcessReport | null;
  readonly hasAddresses: boolean;
  readonly probe: ProbeState;
}

/** How old records are when they are stored, by the roles' own account; below, probes that somebody asks for. */
export function latencyPage({ lag, processes, hasAddresses, probe }: LatencyParts): Omit<Page, 'freshness'> {
  const groups = (lag?.roles ?? []).filter(({ role }) => role !== null);
  return {
    ...emptyPage,
    intro: [[dim('from Kafka’s timestamp until the batch is durable, as the roles measure it themselves')]],
    table: {
      columns,
      rows: groups.map((group) => latencyRow(group, processes)),
      sorts: ['role', 'p99'],
      trend: null,
      opens: false,
      empty: 'no roles are looked at',
    },
    lines: [...probeLines(probe)],
    problems: [...addressProblems(processes, hasAddresses), ...probeProblems(probe)],
  };
}

function latencyRow(group: GroupLag, processes: ProcessReport | null) {
  const role = group.role ?? '';
  const own = processes?.roles.find((each) => each.role === role);
  return {
    key: escapeControls(role),
    cells: [plain(role), ...ownCells(own), unreadCell(group)].map(safe),
    ranks: [own?.p99UpToMs ?? -1],
    trend: [],
  };
}

function ownCells(own: RoleLatency | undefined): readonly Span[] {
  if (own === undefined) {
    return [unknown, unknown, unknown, unknown, unknown, unknown];
  }
  return [
    plain(String(own.processes)),
    boundCell(own, own.p50UpToMs),
    boundCell(own, own.p99UpToMs),
    plain(formatCount(own.batches)),
    plain(formatDuration(own.overMs)),
    own.recordsPerSec === null ? unknown : plain(formatCount(own.recordsPerSec)),
  ];
}

/** `≤ 250ms`: the end of the histogram's bucket. */
function boundCell({ batches }: RoleLatency, upToMs: number | null): Span {
  if (upToMs === null) {
    return batches === 0 ? dim('–') : unknown;
  }
  return plain(Number.isFinite(upToMs) ? `≤ ${formatDuration(upToMs)}` : '> 1h');
}

/** What is waiting now: a bound from outside, known without any process. */
function unreadCell({ timeLagMs, timeLagMethod }: GroupLag): Span {
  return timeLagMs === null
    ? unknown
    : plain(`${timeLagMethod === 'estimate' ? '~' : ''}${timeLagMs === 0 ? '0s' : formatDuration(timeLagMs)}`);
}

function addressProblems(processes: ProcessReport | null, hasAddresses: boolean): readonly PageProblem[] {
  if (!hasAddresses) {
    return [
      problem('notice', 'not known: no address of a role’s metrics was given; FIRST UNREAD is seen from outside', {
        next: 'kpipe consume ROLE --metrics-port 9464, then kpipe lag --watch --metrics http://HOST:9464',
      }),
    ];
  }
  return (processes?.processes ?? [])
    .filter(({ metrics }) => metrics === null)
    .map(({ url, reasons }) => problem('warn', `${url}: ${reasons.join(', ')}`, { next: 'does the role run there?' }));
}

function probeLines(probe: ProbeState): readonly CellLine[] {
  const asks: readonly CellLine[] = [
    [plain('')],
    [accent('a'), plain(` ${probeCount} probes at ${probesPerSec}/s through a topic that is made and deleted again`)],
    [accent('e'), plain(` ${probeCount} events of type kpipe.probe through role events, until they are stored`)],
  ];
  switch (probe.kind) {
    case 'none':
    case 'failed':
      return asks;
    case 'running':
      return [...asks, [accent(`probing ${whereOf(probe.role)}: ${probe.sent} of ${probeCount} sent`)]];
    case 'measured':
      return [
        ...asks,
        [
          strong(`probes through ${whereOf(probe.role)}`),
          dim(`  at ${probe.report.observedAt.slice(11, 19)}Z, ${probe.report.probes} of them`),
        ],
        ...probe.report.stages.map(stageLine),
        ...probe.report.problems.map((text): CellLine => [warn('! '), plain(text)]),
      ];
  }
}

function whereOf(role: 'events' | null): string {
  return role === null ? 'a topic of its own' : `role ${role}`;
}

/** `stored  p50 12ms  p99 31ms  max 40ms  ▕██████▏`. */
function stageLine({ stage, p50Ms, p99Ms, maxMs, lost }: StageLatency): CellLine {
  const figure = (name: string, ms: number | null): Span =>
    plain(`  ${name} ${(ms === null ? '?' : milliseconds(ms)).padStart(6)}`);
  const filled = p50Ms === null || maxMs === null || maxMs === 0 ? 0 : Math.ceil((p50Ms / maxMs) * barWidth);
  return [
    plain(`  ${stage.padEnd(8)}`),
    figure('p50', p50Ms),
    figure('p99', p99Ms),
    figure('max', maxMs),
    lost === 0 ? plain('  ') : bad(`  ${lost} lost  `),
    accent('█'.repeat(filled)),
    dim('░'.repeat(maxMs === null ? 0 : barWidth - filled)),
  ];
}

function milliseconds(ms: number): string {
  return ms < 100 ? `${ms.toFixed(1)}ms` : formatDuration(ms);
}

function probeProblems(probe: ProbeState): readonly PageProblem[] {
  return probe.kind === 'failed'
    ? [problem('warn', `probing ${whereOf(probe.role)}: ${probe.message}`, { next: probe.next })]
    : [];
}

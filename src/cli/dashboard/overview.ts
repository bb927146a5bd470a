import type { GroupLag, LagReport } from '../../lib/offsets/lag-report.ts';
import { lagStatuses } from '../../lib/offsets/status.ts';
import type { Page, PageProblem, PageRow } from '../../ui/lag-screen-model.ts';
import { escapeControls } from '../output/escape.ts';
import { groupCells, lagColumns, partitionCells, partitionColumns } from '../views/lag.ts';
import { chartsPage } from './charts.ts';
import type { LagTrends } from './lag-trends.ts';
import { emptyPage, problem, safe } from './page.ts';

type Content = Omit<Page, 'freshness'>;

/** A group a line, what is wrong below, and, where there is room, the charts of the selected one. */
export function overviewPage(
  report: LagReport | null,
  trends: LagTrends,
  lossAlarmMs: number,
  selected: { readonly key: string; readonly nowMs: number },
): Content {
  return {
    ...emptyPage,
    charts: selectedCharts(report, trends, selected),
    table: {
      columns: lagColumns,
      rows: (report?.roles ?? []).map((group) => groupRow(group, trends, lossAlarmMs)),
      sorts: ['declared', 'lag', 'time', 'status'],
      trend: 'LAG OVER TIME',
      opens: true,
      empty: report === null ? 'looking…' : 'no groups',
    },
    problems: report === null ? [] : lagProblems(report),
  };
}

function selectedCharts(
  report: LagReport | null,
  trends: LagTrends,
  { key, nowMs }: { readonly key: string; readonly nowMs: number },
): Page['charts'] {
  const { path, charts } = chartsPage(report, trends, key, nowMs);
  return charts.map((chart, at) =>
    at === 0 ? { ...chart, title: [{ tone: 'accent', text: `${path ?? ''}  ` }, ...chart.title] } : chart,
  );
}

function groupRow(group: GroupLag, trends: LagTrends, lossAlarmMs: number): PageRow {
  return {
    key: escapeControls(group.group),
    cells: groupCells(group, lossAlarmMs).map(safe),
    ranks: [group.lagRecords ?? -1, group.timeLagMs ?? -1, rank(group)],
    trend: (trends.get(group.group) ?? []).map(({ lagRecords }) => lagRecords),
  };
}

function rank({ status }: GroupLag): number {
  return lagStatuses.indexOf(status);
}

/** The partitions of one group, and what is wrong with it. */
export function groupPage(report: LagReport | null, key: string, lossAlarmMs: number): Content {
  const group = report?.roles.find((each) => escapeControls(each.group) === key);
  return {
    ...emptyPage,
    path: key,
    table: {
      columns: partitionColumns,
      rows: (group?.partitions ?? []).map((partition) => ({
        key: escapeControls(`${partition.topic}-${partition.partition}`),
        cells: partitionCells(partition, lossAlarmMs).map(safe),
        ranks: [partition.lagRecords ?? -1, partition.timeLagMs ?? -1, lagStatuses.indexOf(partition.status)],
        trend: [],
      })),
      sorts: ['partition', 'lag', 'time', 'status'],
      trend: null,
      opens: false,
      empty: group === undefined ? 'the group is not among those that are looked at' : 'no partitions: never started',
    },
    lines: group === undefined ? [] : [[{ tone: 'dim', text: positionsOf(group) }]],
    problems: group === undefined ? [] : groupProblems(group),
  };
}

function positionsOf({ positionSource, partitions }: GroupLag): string {
  const where = positionSource === 'postgres' ? 'PostgreSQL’s, which the commits mirror' : 'the group’s commits';
  return `${partitions.length} partitions; positions are ${where}`;
}

/** What is wrong with groups, worst first, then what could not be seen. */
export function lagProblems({ roles, notes }: LagReport): readonly PageProblem[] {
  return [
    ...roles.toSorted((left, right) => rank(right) - rank(left)).flatMap(groupProblems),
    ...notes.map((note) => problem('warn', note, { next: 'kpipe doctor' })),
  ];
}

function groupProblems(group: GroupLag): readonly PageProblem[] {
  const { role, reason, status } = group;
  if (reason === null) {
    return [];
  }
  const isNotice = status === 'ok' || status === 'unknown';
  return [
    problem(isNotice ? 'notice' : status === 'warn' ? 'warn' : 'fail', `${role ?? group.group}: ${reason}`, {
      next: isNotice ? null : nextStep(group),
    }),
  ];
}

/** The command that helps, by what is wrong. */
function nextStep({ role, group, status }: GroupLag): string {
  switch (status) {
    case 'stop':
      return role === null ? `start a member of group ${group}` : `kpipe consume ${role}`;
    case 'rewind':
      return role === null ? `kpipe groups describe ${group}` : 'kpipe replay history';
    case 'stall':
    case 'warn':
    case 'ok':
    case 'unknown':
      return `kpipe groups describe ${group}`;
  }
}

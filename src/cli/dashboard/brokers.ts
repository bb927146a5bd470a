import { formatSize } from '../../lib/config/units.ts';
import type { BrokerLine, BrokerReport, LogDirectoryReport } from '../../lib/health/broker-report.ts';
import type { GridColumn } from '../../ui/grid.ts';
import type { Page, PageProblem } from '../../ui/lag-screen-model.ts';
import { bad, dim, type Span } from '../output/text.ts';
import {
  brokerCells,
  brokerColumns,
  clusterLine,
  directoryCells,
  directoryColumns,
  forecastCells,
  forecastColumns,
  partitionsLine,
} from '../views/brokers.ts';
import { emptyPage, plain, problem, safe, spanLine } from './page.ts';

/** Which of the table's columns go first in a narrow terminal. */
const dispensable: Readonly<Record<string, number>> = {
  ADDRESS: 6,
  KAFKA: 8,
  PREFERRED: 7,
  REPLICAS: 5,
  SIZE: 4,
};

/** The disk stands before the status, which ends the line. */
const columns: readonly GridColumn[] = [
  ...brokerColumns.slice(0, -1).map((column) => ({
    ...column,
    ...(column.title in dispensable && { dispensable: dispensable[column.title] ?? 0 }),
  })),
  { title: 'DISK', align: 'right', dispensable: 2 },
  { title: 'FREE', align: 'right', dispensable: 3 },
  ...brokerColumns.slice(-1),
];

const detailColumns: readonly GridColumn[] = [
  ...directoryColumns.slice(1),
  ...forecastColumns.map((column, at) => ({ ...column, dispensable: forecastColumns.length - at })),
];

/** A broker a line, then the partitions as a whole; below what is wrong, what it means and what to do. */
export function brokersPage(report: BrokerReport | null): Omit<Page, 'freshness'> {
  return {
    ...emptyPage,
    intro: report === null ? [] : [spanLine(clusterLine(report)), spanLine(partitionsLine(report))],
    table: {
      columns,
      rows: (report?.brokers ?? []).map((broker) => ({
        key: String(broker.id),
        cells: [...brokerCells(broker).slice(0, -1), ...diskCells(broker), ...brokerCells(broker).slice(-1)].map(safe),
        ranks: [broker.leaders, broker.outOfSync, broker.bytes ?? -1],
        trend: [],
      })),
      sorts: ['id', 'leaders', 'out of sync', 'size'],
      trend: null,
      opens: true,
      empty: report === null ? 'looking…' : 'no brokers',
    },
    problems: report === null ? [] : brokerProblems(report, null),
  };
}

/** One broker: why it is not up, and its log directories. */
export function brokerPage(report: BrokerReport | null, key: string): Omit<Page, 'freshness'> {
  const broker = report?.brokers.find(({ id }) => String(id) === key);
  return {
    ...emptyPage,
    path: `broker ${key}`,
    intro: broker?.reason === undefined || broker.reason === null ? [] : [spanLine(bad(broker.reason))],
    table: {
      columns: detailColumns,
      rows: (broker?.logDirectories ?? []).map((directory) => ({
        key: directory.path,
        cells: [...directoryCells(broker?.id ?? 0, directory).slice(1), ...forecastCells(directory)].map(safe),
        ranks: [],
        trend: [],
      })),
      sorts: ['path'],
      trend: null,
      opens: false,
      empty: broker === undefined ? 'the broker is not there any more' : 'its log directories are not known',
    },
    problems: report === null ? [] : brokerProblems(report, broker?.id ?? null),
  };
}

/** Of the directory that has least room. */
function diskCells({ logDirectories }: BrokerLine): readonly [Span, Span] {
  const known = logDirectories.filter(({ usedPercent }) => usedPercent !== null);
  const fullest = known.reduce<LogDirectoryReport | null>(
    (worst, next) => ((next.usedPercent ?? 0) > (worst?.usedPercent ?? -1) ? next : worst),
    null,
  );
  return fullest === null
    ? [dim('?'), dim('?')]
    : [
        plain(`${(fullest.usedPercent ?? 0).toFixed(0)} %`),
        fullest.usableBytes === null ? dim('?') : plain(formatSize(fullest.usableBytes)),
      ];
}

/** Of one broker only where it is named, else all; notices last. */
function brokerProblems({ problems, notes }: BrokerReport, only: number | null): readonly PageProblem[] {
  const shown = problems.filter(({ broker }) => only === null || broker === only);
  return [
    ...shown.map(({ level, code, detail, consequence, next }) =>
      problem(level, `${code} ${detail}`, { means: consequence, next }),
    ),
    ...notes.map((note) => problem('warn', note, { next: 'kpipe doctor' })),
  ];
}

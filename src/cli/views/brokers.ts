import { formatDuration, formatSize } from '../../lib/config/units.ts';
import type { BrokerLine, BrokerProblem, BrokerReport, LogDirectoryReport } from '../../lib/health/broker-report.ts';
import type { CheckedBrokerReport } from '../../lib/health/watch-cluster.ts';
import type { Look } from '../../lib/offsets/follow.ts';
import type { View } from '../base-command.ts';
import { renderDocument } from '../output/document.ts';
import { errorDocument } from '../output/errors.ts';
import type { Column } from '../output/table.ts';
import { bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

/** `kpipe brokers`: the same cells for the table and for a screen. */

export const brokerColumns: readonly Column[] = [
  { title: 'BROKER', align: 'right' },
  { title: 'ADDRESS' },
  { title: 'KAFKA' },
  { title: 'LEADERS', align: 'right' },
  { title: 'PREFERRED', align: 'right' },
  { title: 'REPLICAS', align: 'right' },
  { title: 'OUT OF SYNC', align: 'right' },
  { title: 'SIZE', align: 'right' },
  { title: 'STATUS' },
];

export const directoryColumns: readonly Column[] = [
  { title: 'BROKER', align: 'right' },
  { title: 'LOG DIRECTORY' },
  { title: 'SIZE', align: 'right' },
  { title: 'USED', align: 'right' },
  { title: 'FREE', align: 'right' },
  { title: 'OF', align: 'right' },
];

/** Only with --forecast: one look cannot tell them. */
export const forecastColumns: readonly Column[] = [
  { title: 'GROWTH/s', align: 'right' },
  { title: 'OTHER/s', align: 'right' },
  { title: 'SETTLES AT', align: 'right' },
  { title: 'FULL IN', align: 'right' },
];

/** Not known; the JSON says why. */
const unknown = dim('?');

/** A look as a line of ndjson: the report, or the error document while no broker answers. */
export function brokerLookLine(look: Look<BrokerReport>): string {
  return renderDocument(look.kind === 'report' ? look.report : errorDocument(look.error), 'ndjson');
}

export function brokersView({
  forecast,
}: {
  readonly forecast: boolean;
}): (report: CheckedBrokerReport, view: View) => string {
  return (report, view) => {
    const directories = report.brokers.flatMap(({ id, logDirectories }) =>
      logDirectories.map((directory) => [
        ...directoryCells(id, directory),
        ...(forecast ? forecastCells(directory) : []),
      ]),
    );
    return [
      view.line(clusterLine(report)),
      view.table(brokerColumns, report.brokers.map(brokerCells)),
      ...(directories.length === 0
        ? []
        : [view.table([...directoryColumns, ...(forecast ? forecastColumns : [])], directories)]),
      view.line(partitionsLine(report)),
      ...report.problems.flatMap((problem) => problemLines(problem).map(view.line)),
      ...report.notes.map((note) => view.line([warn('! '), note])),
      ...report.failed.map(({ where, condition, actual }) =>
        view.line([bad('✗ '), `${where ?? 'cluster'}: ${condition}`, dim(` (${actual})`)]),
      ),
    ].join('\n');
  };
}

/** `cluster 4L6g3n  controller 2, epoch 7, voters 1 2 3`. */
export function clusterLine({ clusterId, controller }: BrokerReport): Line {
  const { leader, epoch, voters, reason } = controller;
  const head = [`cluster ${clusterId}  `];
  if (reason !== null) {
    return [...head, dim(`controllers not known: ${reason}`)];
  }
  const list = voters.map(({ id }) => id).join(' ');
  return [
    ...head,
    leader === null ? bad('no controller') : `controller ${leader}`,
    dim(`, epoch ${epoch ?? '?'}, voters ${list}`),
  ];
}

export function partitionsLine({ partitions }: BrokerReport): Line {
  const {
    topics,
    partitions: all,
    offline,
    underMinIsr,
    atMinIsr,
    underReplicated,
    notPreferred,
    isrShrinks,
  } = partitions;
  const counted: readonly (readonly [number, string])[] = [
    [offline, 'offline'],
    [underMinIsr, 'under min ISR'],
    [atMinIsr, 'at min ISR'],
    [underReplicated, 'under-replicated'],
    [notPreferred, 'not led by their preferred leader'],
    [isrShrinks ?? 0, 'ISR shrinks'],
  ];
  const parts = counted.filter(([count]) => count > 0).map(([count, name]) => `${count} ${name}`);
  return [`${all} partitions of ${topics} topics: `, parts.length === 0 ? ok('all in sync') : parts.join(', ')];
}

/** What is wrong, what it means, what to do. */
export function problemLines({ code, level, detail, consequence, next }: BrokerProblem): readonly Line[] {
  const mark = { fail: bad('✗ '), warn: warn('! '), notice: dim('· ') }[level];
  return [
    [mark, level === 'fail' ? bad(code) : level === 'warn' ? warn(code) : strong(code), ` ${detail}`],
    [dim('  means  '), consequence],
    [dim('  do     '), next],
  ];
}

export function brokerCells(broker: BrokerLine): readonly Span[] {
  return [
    plain(String(broker.id)),
    broker.address === null ? dim('–') : plain(`${broker.address}${broker.rack === null ? '' : ` ${broker.rack}`}`),
    broker.version === null ? unknown : plain(broker.version),
    plain(String(broker.leaders)),
    plain(String(broker.preferredLeaders)),
    plain(String(broker.replicas)),
    broker.outOfSync === 0 ? plain('0') : warn(String(broker.outOfSync)),
    sizeCell(broker.bytes),
    stateCell(broker),
  ];
}

function stateCell({ state, controller }: BrokerLine): Span {
  switch (state) {
    case 'up':
      return ok(controller ? 'OK controller' : 'OK');
    case 'silent':
      return bad('ERR SILENT');
    case 'down':
      return bad('ERR DOWN');
  }
}

export function directoryCells(broker: number, directory: LogDirectoryReport): readonly Span[] {
  return [
    plain(String(broker)),
    directory.reason === null ? plain(directory.path) : bad(`${directory.path} (${directory.reason})`),
    sizeCell(directory.bytes),
    directory.usedPercent === null ? unknown : plain(`${directory.usedPercent.toFixed(1)} %`),
    sizeCell(directory.usableBytes),
    sizeCell(directory.totalBytes),
  ];
}

export function forecastCells(directory: LogDirectoryReport): readonly Span[] {
  const { growthBytesPerSec, otherBytesPerSec, settlesAtBytes, fullInMs, forecastReason } = directory;
  if (forecastReason !== null) {
    return [unknown, unknown, unknown, unknown];
  }
  return [
    sizeCell(growthBytesPerSec),
    sizeCell(otherBytesPerSec),
    settlesAtBytes === null ? dim('unbounded') : sizeCell(settlesAtBytes),
    fullInMs === null ? dim('never') : plain(formatDuration(fullInMs)),
  ];
}

function sizeCell(bytes: number | null): Span {
  return bytes === null ? unknown : plain(formatSize(bytes));
}

function plain(text: string): Span {
  return { tone: 'plain', text };
}

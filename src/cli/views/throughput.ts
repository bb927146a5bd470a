import { formatCount, formatDuration, formatSize } from '../../lib/config/units.ts';
import type { PartitionThroughput, ThroughputReport, TopicThroughput } from '../../lib/offsets/throughput.ts';
import type { View } from '../base-command.ts';
import type { Column } from '../output/table.ts';
import { dim, warn, type Span } from '../output/text.ts';

export const throughputColumns: readonly Column[] = [
  { title: 'TOPIC' },
  { title: 'P', align: 'right' },
  { title: 'LEADER', align: 'right' },
  { title: 'RECORDS/s', align: 'right' },
  { title: 'BYTES/s', align: 'right' },
  { title: 'SKEW', align: 'right' },
  { title: 'HOT' },
];

const groupColumns: readonly Column[] = [
  { title: 'GROUP' },
  { title: 'TOPIC' },
  { title: 'RECORDS/s', align: 'right' },
];

/** Not known; never 0. */
const unknown = dim('?');

/** Topics by what they take, busiest first; the partitions of each that are hot, or all of them. */
export function throughputView({ partitions }: { readonly partitions: boolean }) {
  return (report: ThroughputReport, view: View): string => {
    const topics = report.topics.toSorted((left, right) => (right.recordsPerSec ?? -1) - (left.recordsPerSec ?? -1));
    const rows = topics.flatMap((topic) => [
      topicCells(topic),
      ...topic.partitions
        .filter(({ partition }) => partitions || topic.hot.includes(partition))
        .map((partition) => partitionCells(partition, topic.hot.includes(partition.partition))),
    ]);
    return [
      view.line(dim(`over ${formatDuration(report.overMs)}; bytes as they are stored, of one replica`)),
      view.table(throughputColumns, rows),
      ...(report.groups.length === 0
        ? []
        : [
            view.table(
              groupColumns,
              report.groups.map(({ group, topic, recordsPerSec }) => [
                plain(group),
                plain(topic),
                countCell(recordsPerSec),
              ]),
            ),
          ]),
    ].join('\n');
  };
}

export function topicCells({
  topic,
  partitions,
  recordsPerSec,
  bytesPerSec,
  skew,
  hot,
}: TopicThroughput): readonly Span[] {
  return [
    plain(topic),
    plain(String(partitions.length)),
    plain(''),
    countCell(recordsPerSec),
    sizeCell(bytesPerSec),
    skew === null ? dim('–') : plain(`${skew.toFixed(1)}×`),
    hot.length === 0 ? plain('') : warn(`HOT ${hot.length}`),
  ];
}

export function partitionCells(partition: PartitionThroughput, isHot: boolean): readonly Span[] {
  return [
    plain(''),
    dim(`#${partition.partition}`),
    partition.leader < 0 ? unknown : plain(String(partition.leader)),
    countCell(partition.recordsPerSec),
    sizeCell(partition.bytesPerSec),
    plain(''),
    isHot ? warn('HOT') : plain(''),
  ];
}

function countCell(perSec: number | null): Span {
  return perSec === null ? unknown : plain(formatCount(perSec));
}

function sizeCell(perSec: number | null): Span {
  return perSec === null ? unknown : plain(formatSize(perSec));
}

function plain(text: string): Span {
  return { tone: 'plain', text };
}

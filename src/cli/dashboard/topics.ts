import { formatDuration } from '../../lib/config/units.ts';
import type { ThroughputReport, TopicThroughput } from '../../lib/offsets/throughput.ts';
import type { GridColumn } from '../../ui/grid.ts';
import type { Page, PageProblem } from '../../ui/lag-screen-model.ts';
import { escapeControls } from '../output/escape.ts';
import { accent, dim, type Span } from '../output/text.ts';
import { partitionCells, throughputColumns, topicCells } from '../views/throughput.ts';
import { emptyPage, plain, problem, safe } from './page.ts';

/** Records a second of a topic, look by look. */
export type TopicTrends = ReadonlyMap<string, readonly (number | null)[]>;

const trendLength = 120;
/** Of the table's columns the leader belongs to partitions, the rest to topics, too. */
const leaderAt = 2;
const barWidth = 24;

const topicColumns: readonly GridColumn[] = throughputColumns.toSpliced(leaderAt, 1);

const partitionColumns: readonly GridColumn[] = [
  { title: 'PARTITION', align: 'right' },
  { title: 'LEADER', align: 'right', dispensable: 2 },
  { title: 'RECORDS/s', align: 'right' },
  { title: 'BYTES/s', align: 'right', dispensable: 1 },
  { title: 'SHARE', align: 'right' },
  { title: 'OF THE TOPIC’S RECORDS', dispensable: 3 },
  { title: 'HOT' },
];

export function addThroughput(trends: TopicTrends, { topics }: ThroughputReport): TopicTrends {
  return new Map(
    topics.map(({ topic, recordsPerSec }) => [
      topic,
      [...(trends.get(topic) ?? []), recordsPerSec].slice(-trendLength),
    ]),
  );
}

/** A topic a line, busiest first. */
export function topicsPage(report: ThroughputReport | null, trends: TopicTrends): Omit<Page, 'freshness'> {
  const topics = busiestFirst(report?.topics ?? []);
  return {
    ...emptyPage,
    intro: report === null ? [] : [[dim(`${over(report)}; bytes as they are stored, of one replica`)]],
    table: {
      columns: topicColumns,
      rows: topics.map((topic) => ({
        key: escapeControls(topic.topic),
        cells: topicCells(topic).toSpliced(leaderAt, 1).map(safe),
        ranks: [topic.bytesPerSec ?? -1, topic.skew ?? -1, topic.partitions.length],
        trend: trends.get(topic.topic) ?? [],
      })),
      sorts: ['records', 'bytes', 'skew', 'partitions'],
      trend: 'RECORDS/s OVER TIME',
      opens: true,
      empty: report === null ? 'looking…' : 'no topics',
    },
    problems: topics.flatMap(hotProblems),
  };
}

function busiestFirst(topics: readonly TopicThroughput[]): readonly TopicThroughput[] {
  return topics.toSorted(
    (left, right) => (right.recordsPerSec ?? -1) - (left.recordsPerSec ?? -1) || (left.topic < right.topic ? -1 : 1),
  );
}

/** The first look has nothing to be held against. */
function over({ overMs }: ThroughputReport): string {
  return overMs === 0 ? 'rates need a second look' : `over ${formatDuration(overMs)}`;
}

function hotProblems({ topic, hot, partitions, recordsPerSec }: TopicThroughput): readonly PageProblem[] {
  const shares = hot.map((partition) => {
    const perSec = partitions.find((each) => each.partition === partition)?.recordsPerSec ?? 0;
    return `${partition} takes ${percent(perSec, recordsPerSec)}`;
  });
  return shares.length === 0
    ? []
    : [
        problem('warn', `${topic}: hot partition ${shares.join(', ')}`, {
          means: 'one member reads it, whatever the others do; most often one key has most of the records',
          next: `kpipe tail ${topic} --max 20`,
        }),
      ];
}

/** The partitions of one topic, with each one's share. */
export function topicPage(report: ThroughputReport | null, key: string): Omit<Page, 'freshness'> {
  const topic = report?.topics.find((each) => escapeControls(each.topic) === key);
  const total = topic?.recordsPerSec ?? null;
  return {
    ...emptyPage,
    path: key,
    intro: report === null ? [] : [[dim(over(report))]],
    table: {
      columns: partitionColumns,
      rows: (topic?.partitions ?? []).map((partition) => {
        const isHot = topic?.hot.includes(partition.partition) ?? false;
        const [, , leader = plain(''), records = plain(''), bytes = plain(''), , hot = plain('')] = partitionCells(
          partition,
          isHot,
        );
        const perSec = partition.recordsPerSec;
        return {
          key: String(partition.partition),
          cells: [
            plain(String(partition.partition)),
            leader,
            records,
            bytes,
            shareCell(perSec, total),
            bar(perSec, total),
            hot,
          ],
          ranks: [partition.recordsPerSec ?? -1, partition.bytesPerSec ?? -1],
          trend: [],
        };
      }),
      sorts: ['partition', 'records', 'bytes'],
      trend: null,
      opens: false,
      empty: topic === undefined ? 'the topic is not there any more' : 'no partitions',
    },
    problems: topic === undefined ? [] : hotProblems(topic),
  };
}

function shareCell(perSec: number | null, total: number | null): Span {
  return perSec === null || total === null || total === 0 ? dim('–') : plain(percent(perSec, total));
}

function percent(part: number, total: number | null): string {
  return total === null || total === 0 ? '?' : `${Math.round((part * 100) / total)} %`;
}

function bar(perSec: number | null, total: number | null): Span {
  const width = perSec === null || total === null || total === 0 ? 0 : Math.ceil((perSec * barWidth) / total);
  return accent('█'.repeat(width));
}

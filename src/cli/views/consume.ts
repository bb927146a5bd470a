import { formatCount, formatDuration, formatSize } from '../../lib/config/units.ts';
import type { ConsumeReport } from '../../lib/roles/reports.ts';
import type { RunResult } from '../../lib/runtime/run-options.ts';
import type { View } from '../base-command.ts';
import { bad, dim, strong, warn, type Line } from '../output/text.ts';

/** What a run came to, a row a partition. */
export function consumeView(result: RunResult, view: View): string {
  const { totals } = result;
  const table = view.table(
    [
      { title: 'PARTITION' },
      { title: 'FROM', align: 'right' },
      { title: 'NEXT', align: 'right' },
      { title: 'RECORDS', align: 'right' },
      { title: 'STORED', align: 'right' },
      { title: 'DUPLICATES', align: 'right' },
      { title: 'DEAD', align: 'right' },
    ],
    [
      ...result.partitions.map((partition) => [
        `${partition.topic}-${partition.partition}`,
        String(partition.firstOffset),
        String(partition.nextOffset),
        String(partition.records),
        String(partition.stored),
        String(partition.duplicates),
        String(partition.deadLetters),
      ]),
      [
        dim('total'),
        '',
        '',
        String(totals.records),
        String(totals.stored),
        String(totals.duplicates),
        String(totals.deadLetters),
      ],
    ],
  );
  const speed = `${result.recordsPerSec} records/s over ${formatDuration(result.seconds * 1000)}`;
  return `${table}\n${view.line(dim(`${speed}, at most ${formatSize(result.maxRssBytes)} of memory`))}`;
}

/** What a run is doing, in one line of a terminal. */
export function consumeLine(report: ConsumeReport): Line {
  const { role, recordsPerSec, lagRecords, batchMs, paused, totals, rssBytes } = report;
  return [
    strong(role),
    `  ${formatCount(recordsPerSec)} records/s  lag ${lagRecords === null ? '?' : formatCount(lagRecords)}`,
    ...(batchMs === null ? [] : [`  batch ${formatDuration(batchMs)}`]),
    dim(`  ${formatCount(totals.records)} done  ${formatSize(rssBytes)}`),
    ...(totals.deadLetters === 0 ? [] : [bad(`  ${formatCount(totals.deadLetters)} dead`)]),
    ...(paused === null ? [] : [warn(`  paused: ${paused}`)]),
  ];
}

import { formatDuration, formatSize } from '../../lib/config/units.ts';
import type { RunResult } from '../../lib/runtime/run-role.ts';
import type { View } from '../base-command.ts';
import { dim } from '../output/text.ts';

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

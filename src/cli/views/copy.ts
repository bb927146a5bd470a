import { formatCount, formatDuration, formatSize } from '../../lib/config/units.ts';
import type { CopyPlan, CopyResult } from '../../lib/copy/copy-run.ts';
import type { View } from '../base-command.ts';
import { dim, ok, strong, warn, type Line } from '../output/text.ts';

/** Screens of `kpipe replay copy`: results in, text out. */

export function copyPlanLines(plan: CopyPlan): readonly Line[] {
  const { source, destination, where, ranges, offsets, partitioning, resumed, id } = plan;
  return [
    [
      ...(resumed ? [dim(`copy ${id} goes on: `)] : []),
      strong(source),
      ' → ',
      strong(destination),
      `  ${offsets.toLocaleString('en-US')} offsets in ${ranges.length} partitions`,
      ...(where === null ? [] : [`, those where ${where}`]),
    ],
    ...ranges
      .filter(({ from, to }) => to > from)
      .map(({ partition, from, to }): Line => dim(`  ${source}-${partition}  ${from}–${to}`)),
    partitioning === 'kept'
      ? dim('· keys, values, headers, timestamps and partitions are kept')
      : [warn('! '), `${destination} has another number of partitions: keys decide anew where records go`],
  ];
}

export function copyView(result: CopyResult, view: View): string {
  if (result.state === 'nothing to do') {
    return view.line('nothing lies in that range: nothing was copied');
  }
  const { read, copied, bytes, lost } = result.totals;
  const perSec = result.seconds > 0 ? copied / result.seconds : 0;
  return [
    view.table(
      [
        { title: 'P', align: 'right' },
        { title: 'FROM', align: 'right' },
        { title: 'TO', align: 'right' },
        { title: 'READ', align: 'right' },
        { title: 'COPIED', align: 'right' },
      ],
      result.partitions.map((each) => [each.partition, each.from, each.to, each.read, each.copied].map(String)),
    ),
    view.line([
      ok('✓ '),
      `${copied.toLocaleString('en-US')} of ${read.toLocaleString('en-US')} records copied to ${result.destination}, each once`,
      dim(`   ${formatSize(bytes)} in ${formatDuration(result.seconds * 1000)}, ${formatCount(perSec)}/s`),
    ]),
    ...(result.resumed ? [view.line(dim('· counted from where the process before it had ended'))] : []),
    ...(lost === 0 ? [] : [view.line([warn('! '), `retention took ${lost} offsets before they were read`])]),
  ].join('\n');
}

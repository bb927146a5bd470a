import { formatDuration } from '../../lib/config/units.ts';
import type { LatencyFailed, LatencyReport, StageLatency } from '../../lib/latency/report.ts';
import type { View } from '../base-command.ts';
import type { Column } from '../output/table.ts';
import { accent, bad, dim, warn, type Line, type Span } from '../output/text.ts';

const columns: readonly Column[] = [
  { title: 'PRODUCE →' },
  { title: 'p50', align: 'right' },
  { title: 'p99', align: 'right' },
  { title: 'MAX', align: 'right' },
  { title: 'MEASURED', align: 'right' },
  { title: 'LOST', align: 'right' },
];

const titles = { ack: 'ack', consume: 'consume', stored: 'stored' } as const;
const barWidth = 40;

export function latencyView(report: LatencyReport & { readonly failed: readonly LatencyFailed[] }, view: View): string {
  const where = report.role === null ? 'a topic of its own' : `${report.topic}, role ${report.role}`;
  return [
    view.line([
      `${report.probes} probes at ${report.ratePerSec}/s through ${where}`,
      dim(`  ${report.partitions} partitions, acks=all`),
    ]),
    view.table(columns, report.stages.map(stageCells)),
    ...report.stages.flatMap((stage) => histogramLines(stage).map(view.line)),
    ...report.problems.map((problem) => view.line([warn('! '), problem])),
    ...report.failed.map(({ condition, actual }) => view.line([bad('✗ '), condition, dim(` (${actual})`)])),
  ].join('\n');
}

function stageCells({ stage, p50Ms, p99Ms, maxMs, measured, lost }: StageLatency): readonly Span[] {
  return [
    plain(titles[stage]),
    timeCell(p50Ms),
    timeCell(p99Ms),
    timeCell(maxMs),
    plain(String(measured)),
    lost === 0 ? plain('0') : bad(String(lost)),
  ];
}

/** `≤ 20ms  ████████  61`. */
function histogramLines({ stage, histogram }: StageLatency): readonly Line[] {
  const most = Math.max(1, ...histogram.map(({ count }) => count));
  return histogram.map(({ upToMs, count }, index): Line => {
    const bound = upToMs === null ? '> 20s' : `≤ ${formatDuration(upToMs)}`;
    const bar = '█'.repeat(Math.ceil((count * barWidth) / most));
    return [dim((index === 0 ? titles[stage] : '').padEnd(8)), bound.padStart(8), '  ', accent(bar), ` ${count}`];
  });
}

function timeCell(ms: number | null): Span {
  return ms === null ? dim('?') : plain(ms < 100 ? `${ms.toFixed(1)}ms` : formatDuration(ms));
}

function plain(text: string): Span {
  return { tone: 'plain', text };
}

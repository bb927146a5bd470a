import { formatCount, formatDuration, formatSize } from '../../lib/config/units.ts';
import type { ProduceReport } from '../../lib/produce/run.ts';
import type { View } from '../base-command.ts';
import { bad, dim, ok, warn, type Line } from '../output/text.ts';

/** What was acked and what was not, topic by topic; then why not. */
export function produceView(report: ProduceReport, view: View): string {
  const table = view.table(
    [{ title: 'TOPIC' }, { title: 'ACKED', align: 'right' }, { title: 'NOT ACKED', align: 'right' }],
    report.topics.map(({ topic, acked, failed }) => [topic, String(acked), failed === 0 ? '0' : bad(String(failed))]),
  );
  return [table, ...produceLines(report).map(view.line)].join('\n');
}

function produceLines(report: ProduceReport): readonly Line[] {
  const { acked, failed, seconds, recordsPerSec, bytes, failures, blockedBy, interrupted, seed } = report;
  const head =
    acked + failed === 0
      ? warn('nothing sent')
      : failed === 0
        ? ok('all acked')
        : acked === 0
          ? bad('none acked')
          : warn('partly acked');
  const rate = `${formatCount(acked)} records, ${formatSize(bytes)} in ${formatDuration(seconds * 1000)}, ${formatCount(recordsPerSec)}/s`;
  const more = failed - failures.length;
  return [
    [interrupted ? 'stopped: ' : '', head, `   ${rate}`, ...(seed === null ? [] : [dim(`   seed ${seed}`)])],
    ...failures.map(({ topic, position, code, message }): Line => [
      `${topic} record ${position}: `,
      bad(code),
      ` ${message}`,
    ]),
    ...(more > 0 ? [dim(`and ${more} more`)] : []),
    ...(blockedBy === null
      ? []
      : [
          [bad(blockedBy.code), ` ${blockedBy.message}`],
          [dim('next: '), blockedBy.next ?? 'send the rest again'],
        ]),
  ];
}

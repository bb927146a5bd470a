import { formatDuration } from '../../lib/config/units.ts';
import { namedAtMost } from '../../lib/verify/account.ts';
import type { VerifiedStretch, VerifyResult } from '../../lib/verify/verify.ts';
import type { View } from '../base-command.ts';
import { bad, dim, ok, warn, type Line } from '../output/text.ts';

/** The accounts, a row a partition (and a row more for each that a replay ended), and what does not balance. */
export function verifyView(result: VerifyResult, view: View): string {
  const table = view.table(
    [
      { title: 'PARTITION' },
      { title: 'FIRST', align: 'right' },
      { title: 'NEXT', align: 'right' },
      { title: 'STORED', align: 'right' },
      { title: 'DUPLICATES', align: 'right' },
      { title: 'DEAD', align: 'right' },
      { title: 'SKIPPED', align: 'right' },
      { title: 'GAPS', align: 'right' },
      { title: 'ROWS', align: 'right' },
      { title: 'DLQ', align: 'right' },
      { title: '' },
    ],
    result.stretches.map((stretch) => cells(result.topic, stretch)),
  );
  return [
    table,
    ...result.findings.map(({ kind, partition, records, offsets, text }) =>
      view.line([
        bad('✗ '),
        `${result.topic}-${partition}: ${text}: ${records}`,
        ...(offsets.length === 0
          ? []
          : [` (offsets ${offsets.join(', ')}${offsets.length === namedAtMost ? ' …' : ''})`]),
        dim(`  ${kind}`),
      ]),
    ),
    ...result.notes.map((note) => view.line([warn('! '), note])),
    view.line(summary(result)),
  ].join('\n');
}

function cells(topic: string, stretch: VerifiedStretch): readonly Line[] {
  const { partition, firstOffset, nextOffset, stored, duplicates, deadLetters, skipped, gaps, rows, buried } = stretch;
  return [
    stretch.endedBy === null ? `${topic}-${partition}` : dim(`${topic}-${partition} until ${stretch.endedBy}`),
    String(firstOffset),
    String(nextOffset),
    ...[stored, duplicates, deadLetters, skipped, gaps, rows, buried].map(String),
    stretch.balanced ? ok('ok') : bad('✗'),
  ];
}

function summary({ balanced, deep, stretches, seconds, role }: VerifyResult): Line {
  const offsets = stretches.reduce((sum, { firstOffset, nextOffset }) => sum + (nextOffset - firstOffset), 0n);
  const compared = stretches.reduce((sum, stretch) => sum + stretch.compared, 0);
  const depth = deep ? `, ${compared} rows held against their record` : '';
  const took = dim(` in ${formatDuration(seconds * 1000)}`);
  return balanced
    ? [ok('✓ '), `role ${role}: all of ${offsets} offsets are accounted for${depth}`, took]
    : [bad('✗ '), `role ${role} does not balance over ${offsets} offsets${depth}`, took];
}

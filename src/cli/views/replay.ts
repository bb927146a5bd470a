import { formatCount, formatDuration, formatSize } from '../../lib/config/units.ts';
import type { ReplayResult } from '../../lib/replay/carry-out.ts';
import type { HistoryItem, ReplayHistory } from '../../lib/replay/history.ts';
import type { PartitionPlan, ReplayPlan } from '../../lib/replay/replay-plan.ts';
import type { View } from '../base-command.ts';
import type { Column } from '../output/table.ts';
import { bad, dim, ok, strong, warn, type Line, type Span } from '../output/text.ts';

/** Screens of `kpipe replay …`: results in, text out. */

const planColumns: readonly Column[] = [
  { title: 'P', align: 'right' },
  { title: 'POSITION', align: 'right' },
  { title: 'COMMITTED', align: 'right' },
  { title: 'TARGET', align: 'right' },
  { title: 'AGAIN', align: 'right' },
  { title: 'LEFT OUT', align: 'right' },
  { title: 'BYTES', align: 'right' },
  { title: 'LOG', align: 'right' },
  { title: '' },
];

const unknown = dim('?');

export function replayPlanView(context: string | null): (plan: ReplayPlan, view: View) => string {
  return (plan, view) =>
    [
      view.line(headLine(plan, context)),
      view.table(planColumns, plan.partitions.map(planCells)),
      ...summaryLines(plan).map(view.line),
      view.line(
        plan.refusals.length > 0
          ? bad('replay apply would refuse (exit 4)')
          : dim('nothing was changed: kpipe replay apply does it'),
      ),
    ].join('\n');
}

/** What is shown before the question: a line a partition. */
export function replayPlanLines(plan: ReplayPlan, context: string | null): readonly Line[] {
  return [
    headLine(plan, context),
    ...plan.partitions.map((partition): Line => [
      `  ${plan.topic}-${partition.partition}  `,
      offsetText(partition.position),
      ' → ',
      strong(offsetText(partition.targetOffset)),
      dim(`  ${changeText(partition)}`),
      ...(partition.note === null ? [] : [dim(`  ${partition.note}`)]),
    ]),
    ...summaryLines(plan),
  ];
}

function headLine(plan: ReplayPlan, context: string | null): Line {
  const members = plan.members.length === 0 ? 'no members' : `${plan.members.length} members`;
  return [
    dim(context === null ? '' : `context ${context}   `),
    'role ',
    strong(plan.role),
    ` to ${plan.to}`,
    dim(`   group ${plan.group} (${plan.state}, ${members})   cluster ${plan.clusterId}`),
  ];
}

function planCells(plan: PartitionPlan): readonly Line[] {
  return [
    String(plan.partition),
    offsetText(plan.position),
    plan.committedOffset === plan.position ? dim('=') : offsetText(plan.committedOffset),
    plan.change === 'stay' ? dim('=') : plan.change === 'unknown' ? unknown : strong(offsetText(plan.targetOffset)),
    plan.rereadRecords === 0 ? dim('0') : plan.rereadRecords.toLocaleString('en-US'),
    plan.skippedRecords === 0 ? dim('0') : warn(plan.skippedRecords.toLocaleString('en-US')),
    plan.bytes === null ? unknown : plan.bytes === 0 ? dim('0') : `~${formatSize(plan.bytes)}`,
    dim(`${plan.logStartOffset}–${plan.highWatermark}`),
    noteOf(plan),
  ];
}

function noteOf(plan: PartitionPlan): Span {
  if (plan.clamped !== null) {
    return warn(`asked for ${offsetText(plan.askedOffset)}: the log's ${plan.clamped}`);
  }
  return dim(plan.note ?? '');
}

function offsetText(offset: bigint | null): string {
  return offset === null ? 'none' : offset.toString();
}

function changeText({ change, rereadRecords, skippedRecords }: PartitionPlan): string {
  switch (change) {
    case 'back':
      return `${rereadRecords.toLocaleString('en-US')} again`;
    case 'forward':
      return `${skippedRecords.toLocaleString('en-US')} left out`;
    case 'stay':
      return 'as it is';
    case 'unknown':
      return '?';
  }
}

function summaryLines(plan: ReplayPlan): readonly Line[] {
  const { rereadRecords, skippedRecords, bytes, durationMs } = plan.totals;
  const size = bytes === null ? `? bytes (${plan.unknown['bytes'] ?? ''})` : `about ${formatSize(bytes)}`;
  const time =
    durationMs === null
      ? `? time (${plan.rate.basis})`
      : `about ${formatDuration(durationMs)} at ${formatCount(plan.rate.recordsPerSec ?? 0)}/s`;
  return [
    [
      strong(`${rereadRecords.toLocaleString('en-US')} offsets again`),
      `, ${size}, ${time}`,
      ...(skippedRecords === 0 ? [] : [', ', warn(`${skippedRecords.toLocaleString('en-US')} left out`)]),
    ],
    ...plan.effects.map((effect): Line => [dim('· '), effect]),
    ...plan.warnings.map((warning): Line => [warn('! '), warning]),
    ...plan.refusals.flatMap(({ text, next }): Line[] => [
      [bad('✗ '), text],
      [dim('  next:  '), next],
    ]),
  ];
}

export function replayResultView(result: ReplayResult, view: View): string {
  const columns: readonly Column[] = [
    { title: 'P', align: 'right' },
    { title: 'FROM', align: 'right' },
    { title: 'TO', align: 'right' },
    { title: 'READ BACK', align: 'right' },
    { title: 'COMMITTED', align: 'right' },
  ];
  const rows = result.partitions.map(({ partition, from, to, position, committedOffset }) =>
    [partition, offsetText(from), offsetText(to), offsetText(position), offsetText(committedOffset)].map(String),
  );
  return [
    view.line(resultLine(result)),
    ...(rows.length === 0 ? [] : [view.table(columns, rows)]),
    ...result.notes.map((note) => view.line([dim('· '), note])),
    ...(result.state === 'done' && result.undoes === null
      ? [view.line(dim(`kpipe replay undo ${result.id ?? ''} takes it back`))]
      : []),
  ].join('\n');
}

function resultLine({ state, id, role, undoes }: ReplayResult): Line {
  switch (state) {
    case 'nothing to do':
      return `role ${role} stands there already: nothing was to be done`;
    case 'withdrawn':
      return [ok('✓ '), `replay ${id ?? ''} of role ${role} has ended; it had set no position`];
    case 'done':
      return undoes === null
        ? [ok('✓ '), `replay ${id ?? ''} of role ${role} is done`]
        : [ok('✓ '), `replay ${undoes} of role ${role} is undone`];
  }
}

export function replayHistoryView({ replays, copies }: ReplayHistory, view: View): string {
  return [
    ...(replays.length === 0 ? [view.line(dim('no replays yet'))] : [replayTable(replays, view)]),
    ...copies.map(({ id, source, destination, state, by, next }) =>
      view.line([
        `copy ${id}  ${source} → ${destination}  `,
        state === 'done' ? ok('done') : bad('half-done'),
        dim(`  ${by}${next === null ? '' : `   next: ${next}`}`),
      ]),
    ),
  ].join('\n');
}

function replayTable(replays: readonly HistoryItem[], view: View): string {
  const columns: readonly Column[] = [
    { title: 'ID' },
    { title: 'ROLE' },
    { title: 'TO' },
    { title: 'PARTITIONS', align: 'right' },
    { title: 'STATE' },
    { title: 'BY' },
  ];
  const rows = replays.map((item) => [
    item.id,
    item.role,
    item.target,
    String(item.partitions.length),
    stateSpan(item),
    dim(item.by),
  ]);
  return [
    view.table(columns, rows),
    ...replays.flatMap(({ id, halfDone }) =>
      halfDone === null
        ? []
        : [
            view.line([
              warn('! '),
              `${id}: journalled, truth ${halfDone.truth}, mirror ${halfDone.mirror}`,
              dim(`   next: ${halfDone.next.join('   or  ')}`),
            ]),
          ],
    ),
  ].join('\n');
}

function stateSpan({ state }: HistoryItem): Span {
  switch (state) {
    case 'done':
      return ok('done');
    case 'half-done':
      return bad('half-done');
    case 'undone':
    case 'withdrawn':
      return dim(state);
  }
}

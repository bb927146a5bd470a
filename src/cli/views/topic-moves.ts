import { formatDuration } from '../../lib/config/units.ts';
import type { ElectionResult, Leadership } from '../../lib/topics/elect.ts';
import type { MoveProgress, MoveResult, MovedPartition } from '../../lib/topics/move/carry-out.ts';
import type { MovePlan } from '../../lib/topics/move/move-plan.ts';
import { formatGibi } from '../../lib/topics/risks.ts';
import type { View } from '../base-command.ts';
import { bad, dim, ok, strong, warn, type Line } from '../output/text.ts';

/** Screens of `kpipe topics move` and `kpipe topics elect`. */

const shownMoves = 40;

/** What would be moved, before anybody is asked. */
export function movePlanLines(plan: MovePlan, throttle: number | null): readonly Line[] {
  const more = plan.moves.length - shownMoves;
  const rate = throttle === null ? 'not slowed' : `at most ${formatGibi(BigInt(throttle))}/s a broker`;
  return [
    ...plan.moves
      .slice(0, shownMoves)
      .map(({ topic, partition, from, replicas, bytes, underWay }): Line => [
        `${topic}-${partition}  ${from.join(',')} → ${replicas.join(',')}`,
        dim(`   ${formatGibi(bytes)}${underWay ? ', under way' : ''}`),
      ]),
    ...(more > 0 ? [dim(`and ${more} more`)] : []),
    strong(`move: ${plan.moves.length} partitions, ${formatGibi(plan.bytes)} to copy, ${rate}`),
  ];
}

export function moveProgressLine(progress: MoveProgress): Line {
  const { partitionsDone, partitions, bytesDone, bytes, leftMs, down } = progress;
  return [
    `moving  ${partitionsDone}/${partitions} partitions  ${formatGibi(bytesDone)} of ${formatGibi(bytes)}`,
    leftMs === null ? '' : `  ${formatDuration(leftMs)} left`,
    ...(down.length === 0 ? [] : [warn(`  waits for broker ${down.join(', ')}, which is down`)]),
  ];
}

export function moveView(result: MoveResult, view: View): string {
  const { moved, notMoved, problem, throttlesLeft, tookMs, bytes } = result;
  const lines: readonly Line[] = [
    ...moved.slice(0, shownMoves).map((each): Line => [ok('moved      '), movedText(each)]),
    ...(moved.length > shownMoves ? [dim(`and ${moved.length - shownMoves} more`)] : []),
    ...notMoved.map((each): Line => [warn('not moved  '), movedText(each)]),
    ...(problem === null ? [] : [[bad(problem.code), ' ', problem.message] satisfies Line]),
    ...throttlesLeft.map((left): Line => [bad('throttle left  '), left]),
    ...(notMoved.length + throttlesLeft.length === 0
      ? []
      : [[dim('next: '), 'the same kpipe topics move goes on'] as const]),
    moved.length + notMoved.length === 0
      ? [ok('in place'), ': nothing to move']
      : strong(
          `${moved.length} moved, ${notMoved.length} not; ${formatGibi(bytes)} copied in ${formatDuration(tookMs)}`,
        ),
  ];
  return lines.map(view.line).join('\n');
}

function movedText({ topic, partition, from, to }: MovedPartition): string {
  return `${topic}-${partition}  ${from.join(',')} → ${to.join(',')}`;
}

export function electionView(result: ElectionResult, view: View): string {
  const { before, after, elected, failed, partitions, topics } = result;
  const rows = after.brokers.map(({ broker, leads, preferred }) => [
    String(broker),
    String(before.brokers.find((each) => each.broker === broker)?.leads ?? 0),
    String(leads),
    String(preferred),
  ]);
  const columns = [
    { title: 'BROKER', align: 'right' },
    { title: 'LED BEFORE', align: 'right' },
    { title: 'LEADS NOW', align: 'right' },
    { title: 'PREFERRED', align: 'right' },
  ] as const;
  return [
    view.table(columns, rows),
    ...failed.map(({ topic, partition, reason }) =>
      view.line([bad('not elected  '), `${topic}-${partition}  ${reason ?? ''}`]),
    ),
    view.line(
      strong(
        `${elected} elected, ${failed.length} not, of ${partitions} partitions of ${topics} topics; skew ${skewText(before)} → ${skewText(after)}`,
      ),
    ),
  ].join('\n');
}

export function skewText({ skew }: Leadership): string {
  return skew === null ? '?' : skew.toFixed(2);
}

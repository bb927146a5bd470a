import type { PartitionSituation, ReplayObservation } from './observation.ts';
import type { PartitionPlan, Refusal } from './replay-plan.ts';

/** A partition as it stands, and what is planned for it. */
export interface Planned {
  readonly situation: PartitionSituation;
  readonly plan: PartitionPlan;
}

/** Why a replay must not be applied. */
export function refusalsOf(seen: ReplayObservation, planned: readonly Planned[], clamp: boolean): readonly Refusal[] {
  const outside = planned.filter(({ plan }) => plan.clamped !== null);
  const recreated = planned.filter(({ situation }) => situation.recreated);
  const unknown = planned.filter(({ plan }) => plan.change === 'unknown');
  return [
    ...(seen.members.length === 0
      ? []
      : [
          {
            kind: 'members' as const,
            text: `group ${seen.group} has ${seen.members.length} members: ${seen.members.slice(0, 5).join(', ')}`,
            next: 'stop the consumers of the role, or use --pause-role',
          },
        ]),
    ...(outside.length === 0 || clamp
      ? []
      : [
          {
            kind: 'outside-log' as const,
            text: `outside of the log: ${outside.map(({ plan }) => outsideText(plan)).join('; ')}`,
            next: '--clamp takes the nearest offset that exists',
          },
        ]),
    ...(recreated.length === 0
      ? []
      : [
          {
            kind: 'recreated' as const,
            text: `topic ${seen.topic} was deleted and created again: the position of partition ${partitionsText(recreated)} is of the old one`,
            next: `begin it first: kpipe consume ${seen.role} --accept-recreated`,
          },
        ]),
    ...(unknown.length === 0
      ? []
      : [
          {
            kind: 'no-position' as const,
            text: `no position to count from in partition ${partitionsText(unknown)}: the role has never read it`,
            next: 'name the partitions with --partition, or use an offset, a time, earliest or latest',
          },
        ]),
  ];
}

function outsideText({ partition, askedOffset, logStartOffset, highWatermark }: PartitionPlan): string {
  return `partition ${partition} holds ${logStartOffset} to ${highWatermark}, not ${askedOffset ?? 'nothing'}`;
}

function partitionsText(planned: readonly Planned[]): string {
  return planned.map(({ plan }) => plan.partition).join(', ');
}

/** What the operator should know before. */
export function planWarnings(partitions: readonly PartitionPlan[]): readonly string[] {
  const gone = partitions.filter(({ takenByRetention }) => takenByRetention === null);
  const taken = sum(partitions, ({ takenByRetention }) => takenByRetention ?? 0);
  const skipped = sum(partitions, ({ skippedRecords }) => skippedRecords);
  return [
    ...(taken === 0 ? [] : [`retention has taken ${taken} of the offsets that were asked for`]),
    ...(gone.length === 0
      ? []
      : [
          `retention has taken records from before the oldest that is left, in partition ${gone.map(({ partition }) => partition).join(', ')}`,
        ]),
    ...(skipped === 0 ? [] : [`${skipped} offsets would never be read by this role`]),
  ];
}

export function sum<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

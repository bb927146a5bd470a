import { partitionKey } from '../ports.ts';
import type { GroupObservation, LagObservation, PartitionObservation } from './observation.ts';
import { addCommit, type Commit, type Judgement, type Lag } from './status.ts';
import { addEndPoint, type EndPoint } from './time-lag.ts';

/** What was seen of a partition of a group before, bounded. */
export interface PartitionHistory {
  /** Each look, oldest first: for rates. */
  readonly samples: readonly Sample[];
  /** Commits as far as they can be seen, oldest first: for the status. */
  readonly commits: readonly Commit[];
  /** For the estimate of time lag. */
  readonly ends: readonly EndPoint[];
}

export interface Sample {
  readonly atMs: number;
  readonly position: bigint | null;
  readonly highWatermark: bigint;
}

export type LagHistory = ReadonlyMap<string, PartitionHistory>;

export const noHistory: PartitionHistory = { samples: [], commits: [], ends: [] };

const samples = 10;

export function historyKey(group: string, partition: PartitionObservation): string {
  return `${group}/${partitionKey(partition)}`;
}

/** The lag of one partition as the history wants it; null where it is not known. */
export type LagOf = (group: GroupObservation, partition: PartitionObservation) => Lag | null;

/** The history with one more look. Partitions that are gone are forgotten. */
export function remember(history: LagHistory, seen: LagObservation, lagOf: LagOf, judgement: Judgement): LagHistory {
  return new Map(
    seen.groups.flatMap((group) =>
      group.partitions.map((partition) => {
        const key = historyKey(group.group, partition);
        const before = history.get(key) ?? noHistory;
        return [
          key,
          addLook(before, { group, partition, atMs: seen.observedAtMs, lag: lagOf(group, partition) }, judgement),
        ];
      }),
    ),
  );
}

interface Look {
  readonly group: GroupObservation;
  readonly partition: PartitionObservation;
  readonly atMs: number;
  readonly lag: Lag | null;
}

function addLook(before: PartitionHistory, look: Look, judgement: Judgement): PartitionHistory {
  const { position, highWatermark } = look.partition;
  if (highWatermark === null) {
    return before;
  }
  const commit = visibleCommit(before, look);
  return {
    samples: [...before.samples, { atMs: look.atMs, position, highWatermark }].slice(-samples),
    commits: commit === null ? before.commits : addCommit(before.commits, commit, judgement),
    ends: addEndPoint(before.ends, { offset: highWatermark, atMs: look.atMs }),
  };
}

/**
 * The commit that a look shows. PostgreSQL says when a position was written. Kafka does not: there a commit shows when
 * the offset moves, and a member that holds the partition is taken to commit the same offset again, so that a consumer
 * that stands is told from one that is gone.
 */
function visibleCommit(before: PartitionHistory, { group, partition, atMs, lag }: Look): Commit | null {
  const { position, positionWrittenAtMs } = partition;
  if (position === null || lag === null) {
    return null;
  }
  const last = before.commits.at(-1);
  const commit = { atMs: positionWrittenAtMs ?? atMs, position, lagRecords: lag.lagRecords, timeLagMs: lag.timeLagMs };
  if (last === undefined || last.position !== position) {
    return commit;
  }
  const again = positionWrittenAtMs === null ? group.members > 0 : positionWrittenAtMs > last.atMs;
  return again ? commit : null;
}

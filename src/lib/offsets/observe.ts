import type { FirstUnread, LagReader, PositionReader, Sight, StoredPosition } from '../ports.ts';
import { partitionKey } from '../ports.ts';
import { joinPartitions, readFrom, seenGroup, seenTopics } from './join.ts';
import type { LagObservation, PartitionObservation } from './observation.ts';
import type { LagTarget } from './targets.ts';

/** Where it is seen from. */
export interface LagSources {
  readonly reader: LagReader;
  /** null: kpipe.yaml has no PostgreSQL. */
  readonly positions: PositionReader | null;
  readonly now: () => number;
}

/**
 * Looks once. Positions are read before the log's ends, so that a position never lies beyond the end because time went
 * by. What can't be seen of one group, topic or broker is told there; only a cluster that is away is a failure.
 * @throws KPIPE_KAFKA_UNREACHABLE
 */
export async function observeLag(
  targets: readonly LagTarget[],
  { reader, positions, now }: LagSources,
): Promise<LagObservation> {
  const look = reader.look();
  const [sights, stored] = await Promise.all([
    look.groups(targets.map(({ group }) => group)),
    Promise.all(targets.map((target) => storedPositions(target, positions))),
  ]);
  const groups = targets.map((target, index) => seenGroup(target, sights[index], stored[index] ?? null));
  const { clusterId, topics: seen } = await look.topics([...new Set(groups.flatMap(({ topics }) => topics))]);
  const topics = seenTopics(seen);
  const joined = groups.map((group) => ({ group, ...joinPartitions(group, topics) }));
  const questions = joined.flatMap(({ partitions }) => partitions.flatMap(unreadQuestion));
  const unread = unreadBy(questions, await look.firstUnread(questions));
  return {
    observedAtMs: now(),
    clusterId,
    groups: joined.map(({ group, problem, partitions }) => ({
      ...group.seen,
      problem: group.seen.problem ?? problem,
      partitions: partitions.map((partition) => ({ ...partition, firstUnread: firstUnreadOf(partition, unread) })),
    })),
    topics: topics.retention,
    notes: [...new Set([...look.silent, ...groups.flatMap(({ notes }) => notes), ...topics.notes])],
    requests: look.requests,
  };
}

/** null: PostgreSQL does not hold this group's positions. */
async function storedPositions(
  { role, positionsIn }: LagTarget,
  positions: PositionReader | null,
): Promise<Sight<readonly StoredPosition[]> | null> {
  if (role === null || positionsIn !== 'postgres' || positions === null) {
    return null;
  }
  const stored = await positions.positions(role);
  return stored.kind === 'known' ? { kind: 'known', value: stored.positions } : stored;
}

interface UnreadQuestion {
  readonly topic: string;
  readonly partition: number;
  readonly position: bigint;
}

function unreadQuestion(partition: PartitionObservation): readonly UnreadQuestion[] {
  const position = readFrom(partition);
  return position === null ? [] : [{ topic: partition.topic, partition: partition.partition, position }];
}

function unreadBy(
  questions: readonly UnreadQuestion[],
  answers: readonly FirstUnread[],
): ReadonlyMap<string, FirstUnread> {
  return new Map(
    questions.flatMap((question, index) => {
      const answer = answers[index];
      return answer === undefined ? [] : [[questionKey(question), answer] as const];
    }),
  );
}

function firstUnreadOf(partition: PartitionObservation, unread: ReadonlyMap<string, FirstUnread>): FirstUnread | null {
  const [question] = unreadQuestion(partition);
  return question === undefined ? null : (unread.get(questionKey(question)) ?? null);
}

function questionKey(question: UnreadQuestion): string {
  return `${partitionKey(question)}@${question.position}`;
}

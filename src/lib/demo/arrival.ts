import type { Config } from '../config/load.ts';
import type { ClusterAdmin, PartitionPosition, PositionReader, TopicPartition } from '../ports.ts';
import { partitionKey } from '../ports.ts';
import { wait } from '../runtime/backoff.ts';
import type { ShopTopic } from '../shop/types.ts';

export interface Arrival {
  /** Records that no role has written yet, by topic. */
  readonly lagRecords: ReadonlyMap<ShopTopic, number>;
  readonly complete: boolean;
}

export interface ArrivalOptions {
  readonly admin: ClusterAdmin;
  /** null: without PostgreSQL. */
  readonly positions: PositionReader | null;
  /** Gives up when nothing has moved for so long. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (lagRecords: number) => void;
}

/** Waits until every role's position has reached the end that its topic has now. Says how far it came when it gives up. */
export async function awaitArrival(
  config: Config,
  topics: readonly ShopTopic[],
  options: ArrivalOptions,
): Promise<Arrival> {
  const ends = new Map<ShopTopic, readonly PartitionPosition[]>();
  for (const topic of topics) {
    ends.set(topic, await endPositions(options.admin, config.roles[topic]?.topic ?? topic));
  }
  let best = Number.POSITIVE_INFINITY;
  let movedAt = Date.now();
  for (;;) {
    options.signal.throwIfAborted();
    const lagRecords = new Map<ShopTopic, number>();
    for (const [topic, wanted] of ends) {
      lagRecords.set(topic, lagOf(wanted, await positionsOf(config, topic, options)));
    }
    const left = [...lagRecords.values()].reduce((sum, lag) => sum + lag, 0);
    options.onProgress(left);
    if (left === 0) {
      return { lagRecords, complete: true };
    }
    if (left < best) {
      best = left;
      movedAt = Date.now();
    }
    if (Date.now() - movedAt > options.patienceMs) {
      return { lagRecords, complete: false };
    }
    await wait(250, options.signal);
  }
}

/** Where each partition of a topic ends now. */
export async function endPositions(admin: ClusterAdmin, topic: string): Promise<readonly PartitionPosition[]> {
  const [description] = await admin.describeTopics([topic]);
  const partitions: readonly TopicPartition[] = (description?.partitions ?? []).map(({ partition }) => ({
    topic,
    partition,
  }));
  const answers = await admin.listOffsets(partitions, 'latest');
  return answers.map(({ partition, offset }) => ({ topic, partition, position: offset ?? 0n }));
}

/** The truth: PostgreSQL for what lands there, the group's commits for BigQuery, where an open intent is not done yet. */
async function positionsOf(
  config: Config,
  topic: ShopTopic,
  { admin, positions }: ArrivalOptions,
): Promise<readonly PartitionPosition[]> {
  if (topic !== 'analytics') {
    const answer = await positions?.positions(topic);
    return answer?.kind === 'known' ? answer.positions : [];
  }
  const commits = await admin.committedOffsets(config.roles.analytics?.group ?? '');
  return commits.map((commit) => ({ ...commit, position: commit.offset }));
}

function lagOf(ends: readonly PartitionPosition[], positions: readonly PartitionPosition[]): number {
  const reached = new Map(positions.map((position) => [partitionKey(position), position.position]));
  return ends.reduce((sum, end) => {
    const lag = end.position - (reached.get(partitionKey(end)) ?? 0n);
    return sum + (lag > 0n ? Number(lag) : 0);
  }, 0);
}

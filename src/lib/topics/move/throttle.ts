import { KpipeError, messageOf } from '../../errors.ts';
import type { ClusterAdmin, ReplicaAdmin, ReplicaAssignment, TopicConfigEntry } from '../../ports.ts';

/**
 * Kafka slows a move down by two settings that belong together: topics name the replicas that are slowed (as leader, as
 * follower), brokers say to how many bytes a second. A list of replicas is what kpipe and Kafka's own tool write for a
 * move; `*` is somebody's standing rule and stays.
 */
export const throttledReplicaKeys = {
  leader: 'leader.replication.throttled.replicas',
  follower: 'follower.replication.throttled.replicas',
} as const;
const brokerKeys = ['leader.replication.throttled.rate', 'follower.replication.throttled.rate'] as const;

/** A partition on its way: where it is read from, and where it is copied to. */
export interface ThrottledMove extends ReplicaAssignment {
  readonly from: readonly number[];
}

/** What a move's throttle sets: replicas by topic, and the brokers that take part. Pure. */
export function throttledReplicas(moves: readonly ThrottledMove[]): {
  readonly topics: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly brokers: readonly number[];
} {
  const copying = moves.filter(({ from, replicas }) => replicas.some((id) => !from.includes(id)));
  const topics = [...Map.groupBy(copying, ({ topic }) => topic)].map(([topic, ofTopic]) => {
    const list = (of: (move: ThrottledMove) => readonly number[]): string =>
      ofTopic.flatMap((move) => of(move).map((id) => `${move.partition}:${id}`)).join(',');
    const followers = ({ from, replicas }: ThrottledMove): readonly number[] =>
      replicas.filter((id) => !from.includes(id));
    return [
      topic,
      { [throttledReplicaKeys.leader]: list(({ from }) => from), [throttledReplicaKeys.follower]: list(followers) },
    ] as const;
  });
  const brokers = new Set(copying.flatMap(({ from, replicas }) => [...from, ...replicas]));
  return { topics: new Map(topics), brokers: [...brokers].toSorted((left, right) => left - right) };
}

/**
 * Slows the moves down; to be called before they begin. Topics first: a rate that was left behind is found by its topics'
 * lists.
 */
export async function setThrottle(
  admin: ReplicaAdmin,
  moves: readonly ThrottledMove[],
  bytesPerSec: number,
): Promise<void> {
  const { topics, brokers } = throttledReplicas(moves);
  const configs = await admin.topicConfigs([...topics.keys()]);
  for (const [topic, lists] of topics) {
    const set = Object.entries(lists).filter(([key]) => configs.get(topic)?.get(key)?.value !== '*');
    if (set.length > 0) {
      await admin.alterConfigs({ topic, set: Object.fromEntries(set) });
    }
  }
  for (const broker of brokers) {
    await admin.alterBrokerConfig(broker, Object.fromEntries(brokerKeys.map((key) => [key, String(bytesPerSec)])));
  }
}

/**
 * Takes away what moves have left on these topics and on the brokers, and answers what stays and why. Brokers keep their
 * rates while another topic is slowed, and where no move has left anything.
 *
 * @param brokers that this move has slowed
 */
export async function clearThrottles(
  admin: ReplicaAdmin,
  topics: readonly string[],
  brokers: readonly number[],
): Promise<readonly string[]> {
  const configs = await admin.topicConfigs(topics);
  const found = [...configs].map(([topic, config]) => {
    const own = Object.values(throttledReplicaKeys).flatMap((key) => {
      const entry = config.get(key);
      return entry?.source === 'topic' && (entry.value ?? '') !== '' ? [{ key, value: entry.value }] : [];
    });
    return { topic, rules: own.filter(({ value }) => value === '*'), lists: own.filter(({ value }) => value !== '*') };
  });
  const hasLists = found.some(({ lists }) => lists.length > 0);
  const left = hasLists || brokers.length > 0 ? [...(await clearRates(admin, topics, brokers))] : [];
  for (const { topic, rules, lists } of found) {
    left.push(...rules.map(({ key }) => `topic ${topic}: ${key}=* (a standing rule)`));
    if (lists.length > 0) {
      const set = Object.fromEntries(lists.map(({ key }) => [key, null]));
      await admin.alterConfigs({ topic, set }).catch((error: unknown) => {
        left.push(...lists.map(({ key }) => `topic ${topic}: ${key} (${messageOf(error)})`));
      });
    }
  }
  return left;
}

/** Whether a move has left, or has now, its lists on these topics. */
export async function hasThrottles(admin: ClusterAdmin, topics: readonly string[]): Promise<boolean> {
  const configs = await admin.topicConfigs(topics);
  return [...configs.values()].some(isThrottled);
}

async function clearRates(
  admin: ReplicaAdmin,
  topics: readonly string[],
  slowed: readonly number[],
): Promise<readonly string[]> {
  const cluster = await admin.describeCluster();
  const up = cluster.brokers.map(({ id }) => id);
  const others = await otherThrottledTopics(admin, topics);
  const left = slowed
    .filter((id) => !up.includes(id))
    .map((id) => `broker ${id}: ${brokerKeys.join(', ')} (the broker is down)`);
  for (const id of up) {
    try {
      const keys = Object.keys(await admin.brokerConfig(id, brokerKeys));
      if (keys.length > 0 && others.length > 0) {
        left.push(`broker ${id}: ${keys.join(', ')} (topics ${others.join(', ')} are slowed by them)`);
      } else if (keys.length > 0 || slowed.includes(id)) {
        // What this move has set may not have come to the broker's eyes yet.
        await admin.alterBrokerConfig(id, Object.fromEntries(brokerKeys.map((key) => [key, null])));
      }
    } catch (error) {
      left.push(`broker ${id}: ${brokerKeys.join(', ')} (${messageOf(error)})`);
    }
  }
  return left;
}

async function otherThrottledTopics(admin: ReplicaAdmin, topics: readonly string[]): Promise<readonly string[]> {
  const names = (await admin.listTopics()).map(({ name }) => name).filter((name) => !topics.includes(name));
  const configs = await admin.topicConfigs(names);
  return [...configs].filter(([, config]) => isThrottled(config)).map(([name]) => name);
}

function isThrottled(config: ReadonlyMap<string, TopicConfigEntry>): boolean {
  return Object.values(throttledReplicaKeys).some((key) => {
    const entry = config.get(key);
    return entry?.source === 'topic' && (entry.value ?? '') !== '';
  });
}

/** @throws KPIPE_USAGE for a rate that would never let a move end */
export function checkedRate(bytesPerSec: number): number {
  if (bytesPerSec < 1024) {
    throw new KpipeError('KPIPE_USAGE', 'a throttle below 1024 B/s would never let a move end', {
      next: 'write --throttle 50MB/s',
    });
  }
  return bytesPerSec;
}

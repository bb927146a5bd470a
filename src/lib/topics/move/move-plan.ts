import { KpipeError } from '../../errors.ts';
import { partitionKey, type Reassignment, type ReplicaAdmin, type TopicDescription } from '../../ports.ts';
import { placeReplicas, type BrokerRack } from '../placement.ts';
import type { ThrottledMove } from './throttle.ts';

/** How a topic's replicas should be. */
export interface WantedReplicas {
  readonly topic: string;
  readonly replicationFactor: number;
  readonly spreadRacks: boolean;
}

export interface MoveRequest {
  readonly wanted: readonly WantedReplicas[];
  /** Brokers that may hold replicas; empty: all that are up. */
  readonly brokers: readonly number[];
}

/** One partition's way. `from` and `replicas` name brokers, the preferred leader first. */
export interface PlannedMove extends ThrottledMove {
  /** What has to be copied. */
  readonly bytes: bigint;
  /** The controller has it already: it only has to be waited for. */
  readonly underWay: boolean;
}

export interface MovePlan {
  readonly clusterId: string;
  readonly moves: readonly PlannedMove[];
  readonly bytes: bigint;
}

/** What a look at the cluster says of moves; of the topics asked for. */
export interface MoveObservation {
  readonly clusterId: string;
  readonly brokers: readonly BrokerRack[];
  readonly topics: readonly TopicDescription[];
  readonly reassignments: readonly Reassignment[];
  readonly sizes: ReadonlyMap<string, ReadonlyMap<number, bigint>>;
  /** In effect, by topic. */
  readonly minInSync: ReadonlyMap<string, number>;
  /** Replicas of the cluster's other topics, by broker. */
  readonly elsewhere: ReadonlyMap<number, number>;
}

export async function observeMoves(admin: ReplicaAdmin, names: readonly string[]): Promise<MoveObservation> {
  const all = (await admin.listTopics()).map(({ name }) => name);
  const [cluster, described, reassignments, sizes, configs] = await Promise.all([
    admin.describeCluster(),
    admin.describeTopics(all),
    admin.reassignments(),
    admin.replicaSizes(names),
    admin.topicConfigs(names),
  ]);
  const elsewhere = new Map<number, number>();
  for (const topic of described.filter(({ name }) => !names.includes(name))) {
    for (const id of topic.partitions.flatMap(({ replicas }) => replicas)) {
      elsewhere.set(id, (elsewhere.get(id) ?? 0) + 1);
    }
  }
  return {
    clusterId: cluster.clusterId,
    brokers: cluster.brokers.map(({ id, rack }) => ({ id, rack })),
    topics: described.filter(({ name }) => names.includes(name)),
    reassignments,
    sizes,
    minInSync: new Map(
      names.map((name) => [name, Number(configs.get(name)?.get('min.insync.replicas')?.value ?? 1)] as const),
    ),
    elsewhere,
  };
}

/**
 * What has to be moved. Pure. A partition that is under way to where it should be is waited for; one that is under way to
 * somewhere else is sent on from there.
 * @throws KPIPE_TOPIC_MISSING, KPIPE_USAGE, KPIPE_REFUSED for what cannot be or would stop writes
 */
export function planMoves(request: MoveRequest, seen: MoveObservation): MovePlan {
  const brokers = allowedBrokers(request.brokers, seen);
  const under = new Map(seen.reassignments.map((each) => [partitionKey(each), each]));
  const moves = request.wanted.flatMap((wanted) => {
    const topic = seen.topics.find(({ name }) => name === wanted.topic);
    if (topic === undefined) {
      throw new KpipeError('KPIPE_TOPIC_MISSING', `there is no topic ${wanted.topic}`, {
        next: '`kpipe topics list` shows what exists',
      });
    }
    refuseImpossible(wanted, brokers, seen);
    const settled = topic.partitions.map(({ partition, replicas }) => {
      const { removing = [] } = under.get(partitionKey({ topic: wanted.topic, partition })) ?? {};
      return { topic: wanted.topic, partition, replicas: replicas.filter((id) => !removing.includes(id)) };
    });
    const { replicationFactor, spreadRacks } = wanted;
    const placed = placeReplicas(settled, { replicationFactor, brokers, spreadRacks }, seen.elsewhere);
    return topic.partitions.flatMap(({ replicas: now }, index) => {
      const target = placed[index];
      const before = settled[index];
      if (target === undefined || before === undefined) {
        return [];
      }
      const reassignment = under.get(partitionKey(target));
      const isPlaced = sameOrder(target.replicas, before.replicas);
      if (isPlaced && reassignment === undefined) {
        return [];
      }
      const from = reassignment === undefined ? now : now.filter((id) => !reassignment.adding.includes(id));
      return [{ ...target, from, bytes: copied(target, from, seen), underWay: isPlaced }];
    });
  });
  return { clusterId: seen.clusterId, moves, bytes: moves.reduce((total, { bytes }) => total + bytes, 0n) };
}

const sameOrder = (left: readonly number[], right: readonly number[]): boolean =>
  left.length === right.length && left.every((id, index) => id === right[index]);

function copied(
  { topic, partition, replicas }: { topic: string; partition: number; replicas: readonly number[] },
  from: readonly number[],
  { sizes }: MoveObservation,
): bigint {
  const adding = replicas.filter((id) => !from.includes(id)).length;
  return largest(sizes.get(partitionKey({ topic, partition }))) * BigInt(adding);
}

/** The size of the fullest replica. */
export function largest(replicas: ReadonlyMap<number, bigint> | undefined): bigint {
  return [...(replicas?.values() ?? [])].reduce((most, bytes) => (bytes > most ? bytes : most), 0n);
}

function allowedBrokers(named: readonly number[], { brokers }: MoveObservation): readonly BrokerRack[] {
  const unknown = named.filter((id) => !brokers.some((broker) => broker.id === id));
  if (unknown.length > 0) {
    throw new KpipeError('KPIPE_REFUSED', `broker ${unknown.join(', ')} is not up: nothing can be copied to it`, {
      next: `brokers that are up: ${brokers.map(({ id }) => id).join(', ')}`,
    });
  }
  return named.length === 0 ? brokers : brokers.filter(({ id }) => named.includes(id));
}

function refuseImpossible(wanted: WantedReplicas, brokers: readonly BrokerRack[], seen: MoveObservation): void {
  const { topic, replicationFactor, spreadRacks } = wanted;
  const minInSync = seen.minInSync.get(topic) ?? 1;
  if (replicationFactor > brokers.length) {
    throw new KpipeError(
      'KPIPE_REFUSED',
      `${topic}: ${replicationFactor} replicas need as many brokers; there are ${brokers.length}`,
      { where: { topic }, next: 'start or name more brokers, or ask for fewer replicas' },
    );
  }
  if (replicationFactor < minInSync) {
    throw new KpipeError(
      'KPIPE_REFUSED',
      `${topic}: ${replicationFactor} replicas are fewer than min.insync.replicas ${minInSync}: every write with acks=all would fail`,
      { where: { topic }, next: 'lower min.insync.replicas first (kpipe topics apply)' },
    );
  }
  if (spreadRacks && brokers.some(({ rack }) => rack === null)) {
    throw new KpipeError('KPIPE_REFUSED', `${topic}: placement: racks needs broker.rack on every broker`, {
      where: { topic },
      next: 'set broker.rack in the brokers’ configuration, or declare placement: any',
    });
  }
}

/** @throws KPIPE_REFUSED when a partition has fewer replicas in sync than its topic wants: copying would add to the trouble */
export function refuseUnderInSync(moves: readonly PlannedMove[], seen: MoveObservation): void {
  const poor = moves.flatMap(({ topic, partition, underWay }) => {
    const found = seen.topics
      .find(({ name }) => name === topic)
      ?.partitions.find((each) => each.partition === partition);
    const least = seen.minInSync.get(topic) ?? 1;
    return !underWay && (found?.isr.length ?? 0) < least
      ? [`${topic}-${partition} has ${found?.isr.length ?? 0} of ${least}`]
      : [];
  });
  if (poor.length > 0) {
    throw new KpipeError('KPIPE_REFUSED', `replicas are out of sync: ${poor.join(', ')}`, {
      next: 'start the brokers that are missing; `kpipe topics describe TOPIC` shows who is in sync',
    });
  }
}

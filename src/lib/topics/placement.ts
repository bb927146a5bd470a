import type { ReplicaAssignment } from '../ports.ts';

/** A broker that may hold replicas. */
export interface BrokerRack {
  readonly id: number;
  readonly rack: string | null;
}

export interface PlacementRules {
  readonly replicationFactor: number;
  /** Those that may hold replicas. */
  readonly brokers: readonly BrokerRack[];
  /** As evenly over the racks as the brokers allow. */
  readonly spreadRacks: boolean;
}

/**
 * Where the replicas should be, in the order of the partitions. Pure. Moves as little as the rules allow: a replica that may
 * stay stays, the preferred leader first of all; new ones go to the rack, then the broker, that has the fewest.
 *
 * @param elsewhere replicas of other partitions, by broker
 */
export function placeReplicas(
  partitions: readonly ReplicaAssignment[],
  rules: PlacementRules,
  elsewhere: ReadonlyMap<number, number> = new Map(),
): readonly ReplicaAssignment[] {
  const loads = new Map(elsewhere);
  const count = (broker: number, by: number): void => void loads.set(broker, (loads.get(broker) ?? 0) + by);
  const kept = partitions.map(({ replicas }) => keep(replicas, rules));
  for (const broker of kept.flat()) {
    count(broker, 1);
  }
  return partitions.map((partition, index) => {
    const replicas = [...(kept[index] ?? [])];
    while (replicas.length > rules.replicationFactor) {
      const fullest = replicas.slice(1).toSorted((left, right) => (loads.get(right) ?? 0) - (loads.get(left) ?? 0))[0];
      replicas.splice(replicas.indexOf(fullest ?? replicas.at(-1) ?? 0), 1);
      count(fullest ?? 0, -1);
    }
    while (replicas.length < rules.replicationFactor) {
      const next = nextBroker(replicas, rules, loads);
      if (next === undefined) {
        break;
      }
      replicas.push(next);
      count(next, 1);
    }
    return { ...partition, replicas };
  });
}

/** Partitions whose replicas could be spread better over the racks. */
export function badlySpread(assignments: readonly (readonly number[])[], brokers: readonly BrokerRack[]): number {
  return assignments.filter((replicas) => {
    const rules = { replicationFactor: replicas.length, brokers, spreadRacks: true };
    return keep(replicas, rules).length < replicas.length;
  }).length;
}

/** The replicas that may stay where they are. */
function keep(replicas: readonly number[], { replicationFactor, brokers, spreadRacks }: PlacementRules): number[] {
  const rackOf = new Map(brokers.map(({ id, rack }) => [id, rack]));
  const allowed = replicas.filter((id) => rackOf.has(id));
  if (!spreadRacks) {
    return allowed;
  }
  const { level, full } = fillRacks(brokers, replicationFactor);
  const inRack = new Map<string | null, number>();
  let atLevel = 0;
  return allowed.filter((id) => {
    const rack = rackOf.get(id) ?? null;
    const has = inRack.get(rack) ?? 0;
    if (has >= level || (has === level - 1 && atLevel >= full)) {
      return false;
    }
    atLevel += has === level - 1 ? 1 : 0;
    inRack.set(rack, has + 1);
    return true;
  });
}

/** The most replicas that a rack needs to hold, and how many racks need to hold so many: small racks fill up first. */
function fillRacks(
  brokers: readonly BrokerRack[],
  replicas: number,
): { readonly level: number; readonly full: number } {
  const sizes = [...Map.groupBy(brokers, ({ rack }) => rack).values()].map((inRack) => inRack.length);
  const room = (level: number): number => sizes.reduce((total, size) => total + Math.min(size, level), 0);
  let level = 1;
  while (room(level) < Math.min(replicas, brokers.length)) {
    level += 1;
  }
  return { level, full: replicas - room(level - 1) };
}

function nextBroker(
  replicas: readonly number[],
  { brokers, spreadRacks }: PlacementRules,
  loads: ReadonlyMap<number, number>,
): number | undefined {
  const rackOf = new Map(brokers.map(({ id, rack }) => [id, rack]));
  const inRack = (rack: string | null): number =>
    spreadRacks ? replicas.filter((id) => rackOf.get(id) === rack).length : 0;
  return brokers
    .filter(({ id }) => !replicas.includes(id))
    .toSorted(
      (left, right) =>
        inRack(left.rack) - inRack(right.rack) ||
        (loads.get(left.id) ?? 0) - (loads.get(right.id) ?? 0) ||
        left.id - right.id,
    )[0]?.id;
}

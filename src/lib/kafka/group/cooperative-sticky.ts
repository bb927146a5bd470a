import { partitionKey, type TopicPartition } from '../../ports.ts';

/**
 * The cooperative-sticky assignment (KIP-429) as its leader computes it. Pure.
 *
 * 1. Who has what: each member says what it owns and since which generation. Of several claims the newest counts; two of
 *    one generation cancel each other.
 * 2. The target: everybody keeps what it has, what nobody has goes to the least loaded, then single partitions move from
 *    the most to the least loaded until no move helps. Of a member that gives, the highest partitions go.
 * 3. What is given out: the target without the partitions that another member still says it owns. Their owners see them
 *    missing, drain, and join again; the next rebalance finds them free. So two members never have one partition.
 */
export interface SubscribedMember {
  readonly memberId: string;
  readonly topics: readonly string[];
  readonly owned: readonly TopicPartition[];
  /** −1: it owns nothing that counts. */
  readonly generation: number;
}

export type GroupAssignment = ReadonlyMap<string, readonly TopicPartition[]>;

/** What this rebalance gives out. `partitionsOf`: how many each topic has; a topic that is missing has none. */
export function assignCooperatively(
  members: readonly SubscribedMember[],
  partitionsOf: ReadonlyMap<string, number>,
): GroupAssignment {
  const target = balancedTarget(members, partitionsOf);
  return new Map(
    members.map(({ memberId }) => {
      const claimedByOthers = new Set(
        members.filter((other) => other.memberId !== memberId).flatMap(({ owned }) => owned.map(partitionKey)),
      );
      const mine = target.get(memberId) ?? [];
      return [memberId, mine.filter((partition) => !claimedByOthers.has(partitionKey(partition)))];
    }),
  );
}

/** Who should have what in the end. */
export function balancedTarget(
  members: readonly SubscribedMember[],
  partitionsOf: ReadonlyMap<string, number>,
): GroupAssignment {
  const shares = members
    .toSorted((left, right) => (left.memberId < right.memberId ? -1 : 1))
    .map((member): Share => ({ member, topics: new Set(member.topics), held: [] }));
  const all = assignable(shares, partitionsOf);
  const owners = trustedOwners(members);
  const free: TopicPartition[] = [];
  for (const partition of all) {
    const owner = owners.get(partitionKey(partition));
    const share = shares.find(({ member, topics }) => member.memberId === owner && topics.has(partition.topic));
    (share?.held ?? free).push(partition);
  }
  for (const partition of free) {
    leastLoaded(shares, partition.topic)?.held.push(partition);
  }
  while (moveOne(shares)) {
    // Each move makes the loads more even, so it ends.
  }
  return new Map(shares.map(({ member, held }) => [member.memberId, held.toSorted(inOrder)]));
}

interface Share {
  readonly member: SubscribedMember;
  readonly topics: ReadonlySet<string>;
  readonly held: TopicPartition[];
}

function assignable(shares: readonly Share[], partitionsOf: ReadonlyMap<string, number>): readonly TopicPartition[] {
  return [...new Set(shares.flatMap(({ topics }) => [...topics]))]
    .toSorted()
    .flatMap((topic) => Array.from({ length: partitionsOf.get(topic) ?? 0 }, (_, partition) => ({ topic, partition })));
}

/** Partition → member, where exactly one member of the newest generation claims it. */
function trustedOwners(members: readonly SubscribedMember[]): ReadonlyMap<string, string> {
  const newest = Math.max(-1, ...members.map(({ generation }) => generation));
  const claims = members
    .filter(({ generation }) => generation === newest)
    .flatMap(({ memberId, owned }) => owned.map((partition) => ({ key: partitionKey(partition), memberId })));
  return new Map(
    [...Map.groupBy(claims, ({ key }) => key)].flatMap(([key, [first, second]]) =>
      first === undefined || second !== undefined ? [] : [[key, first.memberId] as const],
    ),
  );
}

function leastLoaded(shares: readonly Share[], topic: string): Share | undefined {
  return shares
    .filter(({ topics }) => topics.has(topic))
    .reduce<Share | undefined>(
      (least, share) => (least === undefined || share.held.length < least.held.length ? share : least),
      undefined,
    );
}

/** Moves one partition to a member that has at least two fewer; false when there is none such. */
function moveOne(shares: readonly Share[]): boolean {
  for (const giver of shares.toSorted((left, right) => right.held.length - left.held.length)) {
    for (let index = giver.held.length - 1; index >= 0; index -= 1) {
      const partition = giver.held[index];
      const taker = partition === undefined ? undefined : leastLoaded(shares, partition.topic);
      if (partition !== undefined && taker !== undefined && taker.held.length < giver.held.length - 1) {
        giver.held.splice(index, 1);
        taker.held.push(partition);
        return true;
      }
    }
  }
  return false;
}

function inOrder(left: TopicPartition, right: TopicPartition): number {
  return left.topic === right.topic ? left.partition - right.partition : left.topic < right.topic ? -1 : 1;
}

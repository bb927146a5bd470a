import { partitionKey } from '../ports.ts';

/** How fast topics, partitions and groups move, and where it is uneven. Pure: looks in, figures out. */

/** A partition as one look saw it. null: not known. */
export interface PartitionLook {
  readonly topic: string;
  readonly partition: number;
  readonly leader: number;
  readonly highWatermark: bigint | null;
  /** On the leader's disk, as they are stored: compressed. */
  readonly bytes: number | null;
}

/** Where a group stands in a partition. */
export interface GroupLook {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly position: bigint | null;
}

export interface ThroughputLook {
  readonly atMs: number;
  readonly partitions: readonly PartitionLook[];
  readonly groups: readonly GroupLook[];
}

/** The JSON document of `kpipe topics throughput`. Rates are a second; not known is null. */
export interface ThroughputReport {
  /** ISO 8601. */
  readonly observedAt: string;
  readonly clusterId: string;
  /** Over how long the rates were measured. */
  readonly overMs: number;
  readonly topics: readonly TopicThroughput[];
  readonly groups: readonly GroupThroughput[];
}

export interface Throughput {
  readonly recordsPerSec: number | null;
  /** What the log grows by on disk, of one replica; null also where records were deleted meanwhile. */
  readonly bytesPerSec: number | null;
}

export interface TopicThroughput extends Throughput {
  readonly topic: string;
  /** The busiest partition against an even share: 1 is even. null: nothing moves, or not all is known. */
  readonly skew: number | null;
  /** Partitions with far more than their share. */
  readonly hot: readonly number[];
  readonly partitions: readonly PartitionThroughput[];
}

export interface PartitionThroughput extends Throughput {
  readonly partition: number;
  readonly leader: number;
}

export interface GroupThroughput {
  readonly group: string;
  readonly topic: string;
  /** What the group moves on. */
  readonly recordsPerSec: number | null;
}

/** Twice its even share, and enough records that chance is no reason. */
const hotShare = 2;
const hotRecordsPerSec = 10;

/** What moved between two looks. Partitions that were not there before have no rate. */
export function calculateThroughput(clusterId: string, before: ThroughputLook, now: ThroughputLook): ThroughputReport {
  const overMs = Math.max(0, now.atMs - before.atMs);
  const earlier = new Map(before.partitions.map((look) => [partitionKey(look), look]));
  return {
    observedAt: new Date(now.atMs).toISOString(),
    clusterId,
    overMs,
    topics: [...Map.groupBy(now.partitions, ({ topic }) => topic)].map(([topic, looks]) =>
      topicThroughput(
        topic,
        looks.map((look) => partitionThroughput(earlier.get(partitionKey(look)), look, overMs)),
      ),
    ),
    groups: groupThroughputs(before, now, overMs),
  };
}

function partitionThroughput(
  before: PartitionLook | undefined,
  { partition, leader, highWatermark, bytes }: PartitionLook,
  overMs: number,
): PartitionThroughput {
  // Another leader's disk holds other bytes: sizes of two replicas have no difference.
  const sizeBefore = before?.leader === leader ? before.bytes : null;
  return {
    partition,
    leader,
    recordsPerSec: rate(asNumber(before?.highWatermark), asNumber(highWatermark), overMs),
    bytesPerSec: rate(sizeBefore, bytes, overMs),
  };
}

function topicThroughput(topic: string, partitions: readonly PartitionThroughput[]): TopicThroughput {
  const records = partitions.map(({ recordsPerSec }) => recordsPerSec);
  const total = sum(records);
  const share = total === null ? null : total / partitions.length;
  const isKnown = share !== null && share > 0 && !records.includes(null);
  return {
    topic,
    recordsPerSec: total,
    bytesPerSec: sum(partitions.map(({ bytesPerSec }) => bytesPerSec)),
    skew: isKnown ? rounded(Math.max(...records.map((perSec) => perSec ?? 0)) / share) : null,
    hot:
      share === null || partitions.length === 1
        ? []
        : partitions
            .filter(({ recordsPerSec }) => (recordsPerSec ?? 0) >= Math.max(hotRecordsPerSec, share * hotShare))
            .map(({ partition }) => partition),
    partitions,
  };
}

function groupThroughputs(before: ThroughputLook, now: ThroughputLook, overMs: number): readonly GroupThroughput[] {
  const key = (look: GroupLook): string => `${look.group}/${partitionKey(look)}`;
  const earlier = new Map(before.groups.map((look) => [key(look), look.position]));
  const rates = now.groups.map((look) => ({
    group: look.group,
    topic: look.topic,
    recordsPerSec: rate(asNumber(earlier.get(key(look))), asNumber(look.position), overMs),
  }));
  return [...Map.groupBy(rates, ({ group, topic }) => JSON.stringify([group, topic])).values()].flatMap((ofOne) =>
    ofOne.slice(0, 1).map(({ group, topic }) => ({
      group,
      topic,
      recordsPerSec: sum(ofOne.map(({ recordsPerSec }) => recordsPerSec)),
    })),
  );
}

/** null where either end is not known, and where it went back: records were deleted, or the topic was made again. */
function rate(before: number | null, now: number | null, overMs: number): number | null {
  return before === null || now === null || overMs <= 0 || now < before
    ? null
    : rounded(((now - before) * 1000) / overMs);
}

/** Over what is known; null when nothing is. */
function sum(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : rounded(known.reduce((total, value) => total + value, 0));
}

function asNumber(offset: bigint | null | undefined): number | null {
  return offset === null || offset === undefined ? null : Number(offset);
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

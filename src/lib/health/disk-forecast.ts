import { partitionKey } from '../ports.ts';
import type { ClusterObservation, LogDirectory, RetentionBounds } from './cluster-observation.ts';

/**
 * How the log directories grow, and when they are full. Two looks give the growth of every replica; a replica grows until
 * its retention holds it, so a directory that is filled faster than it is emptied now may still settle before it is full.
 */
export interface DirectorySample {
  readonly atMs: number;
  readonly usableBytes: number | null;
  readonly replicaBytes: ReadonlyMap<string, number>;
}

/** By `BROKER:PATH`, oldest first. */
export type DiskHistory = ReadonlyMap<string, readonly DirectorySample[]>;

export const noDiskHistory: DiskHistory = new Map();

/** Enough for two minutes at a look each two seconds: growth comes in bursts of segments and flushes. */
const samplesKept = 60;
const shortestMs = 1000;

export function directoryKey(broker: number, path: string): string {
  return `${broker}:${path}`;
}

/** The history with one more look. Directories that were not seen keep what they had. */
export function rememberDisks(history: DiskHistory, seen: ClusterObservation): DiskHistory {
  const next = new Map(history);
  for (const { id, logDirectories } of seen.brokers) {
    for (const directory of logDirectories ?? []) {
      const key = directoryKey(id, directory.path);
      const sample = {
        atMs: seen.observedAtMs,
        usableBytes: directory.usableBytes,
        replicaBytes: new Map(directory.replicas.map((replica) => [partitionKey(replica), replica.bytes])),
      };
      next.set(key, [...(next.get(key) ?? []), sample].slice(-samplesKept));
    }
  }
  return next;
}

export interface DiskForecast {
  /** Bytes a second by which Kafka's own replicas grow; deletions are not subtracted. */
  readonly growthPerSec: number;
  /** By which the file system loses room beyond that, to whatever else writes there. */
  readonly otherPerSec: number;
  /** Until no room is left; null: not at this growth. */
  readonly fullInMs: number | null;
  /** Where Kafka's own replicas stop growing, by their retention at this growth; null: some never do. */
  readonly settlesAtBytes: number | null;
}

export type Forecast =
  | { readonly kind: 'known'; readonly forecast: DiskForecast }
  | { readonly kind: 'unknown'; readonly reason: string };

/** Judges a directory by the first and the last of its samples. */
export function forecastDisk(
  directory: LogDirectory,
  samples: readonly DirectorySample[],
  boundsOf: (topic: string) => RetentionBounds | null,
): Forecast {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last.atMs - first.atMs < shortestMs) {
    return { kind: 'unknown', reason: 'seen only once: growth needs two looks' };
  }
  if (directory.usableBytes === null || first.usableBytes === null) {
    return { kind: 'unknown', reason: 'the broker does not tell the size of its disk' };
  }
  const seconds = (last.atMs - first.atMs) / 1000;
  const growing = directory.replicas.map((replica): GrowingReplica => {
    const before = first.replicaBytes.get(partitionKey(replica)) ?? replica.bytes;
    const perSec = Math.max(0, (replica.bytes - before) / seconds);
    return { bytes: replica.bytes, perSec, limit: limitOf(replica.bytes, perSec, boundsOf(replica.topic)) };
  });
  const growthPerSec = growing.reduce((sum, { perSec }) => sum + perSec, 0);
  const lostPerSec = (first.usableBytes - directory.usableBytes) / seconds;
  const otherPerSec = Math.max(0, lostPerSec - growthPerSec);
  const settled = growing.reduce((sum, { limit }) => sum + limit, 0);
  return {
    kind: 'known',
    forecast: {
      growthPerSec: Math.round(growthPerSec),
      otherPerSec: Math.round(otherPerSec),
      fullInMs: timeUntilFull(growing, otherPerSec, directory.usableBytes),
      settlesAtBytes: Number.isFinite(settled) ? Math.round(settled) : null,
    },
  };
}

export interface GrowingReplica {
  readonly bytes: number;
  readonly perSec: number;
  /** Where it stops; Infinity: nowhere. Never below `bytes`. */
  readonly limit: number;
}

/** Retention keeps what came in its time and, since only whole segments go, up to a segment more. */
function limitOf(bytes: number, perSec: number, bounds: RetentionBounds | null): number {
  if (perSec === 0) {
    return bytes;
  }
  const byTime =
    bounds === null || bounds.retentionMs === null
      ? Number.POSITIVE_INFINITY
      : (perSec * bounds.retentionMs) / 1000 + bounds.segmentBytes;
  const bySize =
    bounds === null || bounds.retentionBytes === null
      ? Number.POSITIVE_INFINITY
      : bounds.retentionBytes + bounds.segmentBytes;
  return Math.max(bytes, Math.min(byTime, bySize));
}

/** Replicas stop growing one after the other; between two stops the room shrinks evenly. null: it lasts. */
export function timeUntilFull(replicas: readonly GrowingReplica[], otherPerSec: number, room: number): number | null {
  const stops = replicas
    .filter(({ perSec }) => perSec > 0)
    .map(({ bytes, perSec, limit }) => ({ atSec: (limit - bytes) / perSec, perSec }))
    .toSorted((left, right) => left.atSec - right.atSec);
  let rate = otherPerSec + stops.reduce((sum, { perSec }) => sum + perSec, 0);
  let left = room;
  let nowSec = 0;
  for (const stop of stops) {
    const span = stop.atSec - nowSec;
    if (left <= rate * span) {
      return Math.round((nowSec + left / rate) * 1000);
    }
    left -= rate * span;
    nowSec = stop.atSec;
    rate -= stop.perSec;
  }
  // What is left of the sum of floats after every replica stopped is no growth.
  return otherPerSec <= 0 ? null : Math.round((nowSec + left / otherPerSec) * 1000);
}

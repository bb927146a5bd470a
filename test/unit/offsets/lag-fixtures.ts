import type { GroupLag } from '../../../src/lib/offsets/lag-report.ts';
import type { GroupObservation, LagObservation, PartitionObservation } from '../../../src/lib/offsets/observation.ts';

/** Plain values of which a test says only what it is about. */
export function groupLag(over: Partial<GroupLag> = {}): GroupLag {
  return {
    role: 'events',
    group: 'kpipe-events',
    protocol: 'classic',
    state: 'Stable',
    members: 3,
    positionSource: 'postgres',
    lagRecords: 0,
    timeLagMs: 0,
    timeLagMethod: 'record',
    inPerSec: 100,
    outPerSec: 100,
    drainMs: 0,
    lossInMs: 604_800_000,
    lostRecords: 0,
    status: 'ok',
    reason: null,
    unknown: {},
    partitions: [],
    ...over,
  };
}

export const day = 86_400_000;
export const nowMs = Date.parse('2026-05-01T12:00:00Z');

export function partition(over: Partial<PartitionObservation> = {}): PartitionObservation {
  return {
    topic: 'events',
    partition: 0,
    committedOffset: 400n,
    position: 400n,
    positionWrittenAtMs: null,
    positionProblem: null,
    highWatermark: 1000n,
    logStartOffset: 0n,
    logProblem: null,
    firstUnread: { kind: 'record', offset: 400n, timestampMs: nowMs - 60_000, exact: true },
    member: 'shop@10.0.0.1',
    ...over,
  };
}

export function group(
  partitions: readonly PartitionObservation[],
  over: Partial<GroupObservation> = {},
): GroupObservation {
  return {
    role: 'events',
    group: 'kpipe-events',
    protocol: 'classic',
    state: 'Stable',
    members: 1,
    positionSource: 'group',
    problem: null,
    partitions,
    ...over,
  };
}

export function observation(groups: readonly GroupObservation[], over: Partial<LagObservation> = {}): LagObservation {
  return {
    observedAtMs: nowMs,
    clusterId: 'MkU3OEVBNTcwNTJENDM2Qg',
    groups,
    topics: new Map([['events', { retentionMs: 7 * day, retentionBytes: -1, expires: true }]]),
    notes: [],
    requests: 12,
    ...over,
  };
}

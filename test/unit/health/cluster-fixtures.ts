import type {
  ClusterObservation,
  LogDirectory,
  PartitionState,
  QuorumObservation,
  TopicObservation,
} from '../../../src/lib/health/cluster-observation.ts';

export const atMs = Date.UTC(2026, 0, 2, 3, 4, 5);

export function directory(some: Partial<LogDirectory> = {}): LogDirectory {
  return {
    path: '/data',
    problem: null,
    totalBytes: 1000,
    usableBytes: 500,
    replicas: [{ topic: 'events', partition: 0, bytes: 100 }],
    ...some,
  };
}

export function topic(
  partitions: readonly Partial<PartitionState>[],
  some: Partial<TopicObservation> = {},
): TopicObservation {
  return {
    name: 'events',
    internal: false,
    minInsyncReplicas: 2,
    retention: { retentionMs: 10_000, retentionBytes: null, segmentBytes: 10 },
    partitions: partitions.map((state, partition) => ({
      partition,
      leader: 1,
      replicas: [1, 2, 3],
      isr: [1, 2, 3],
      ...state,
    })),
    ...some,
  };
}

export const quorum: Extract<QuorumObservation, { kind: 'known' }> = {
  kind: 'known',
  leaderId: 1,
  epoch: 7,
  highWatermark: 100n,
  voters: [1, 2, 3].map((id) => ({ id, logEndOffset: 100n, lastCaughtUpMs: atMs })),
  observers: [],
};

/** Three brokers and controllers, all well. */
export function cluster(some: Partial<ClusterObservation> = {}): ClusterObservation {
  return {
    observedAtMs: atMs,
    clusterId: 'c',
    brokers: [1, 2, 3].map((id) => ({
      id,
      address: `127.0.0.1:909${id}`,
      rack: null,
      version: '4.3',
      problem: null,
      logDirectories: [directory()],
    })),
    quorum,
    topics: [topic([{}])],
    notes: [],
    ...some,
  };
}

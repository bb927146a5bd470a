import type { BatchSample } from '../../../../src/lib/topics/tune/batches.ts';
import type { TopicMeasure } from '../../../../src/lib/topics/tune/measure.ts';
import type { TopicSpec } from '../../../../src/lib/topics/spec.ts';

export const dayMs = 86_400_000;

export function spec(over: Partial<TopicSpec> = {}): TopicSpec {
  return {
    name: 'events',
    origin: 'declared',
    partitions: { count: 6, basis: '6 consumers', atLeast: false },
    replicationFactor: 3,
    config: {},
    roles: ['events'],
    keyed: true,
    ...over,
  };
}

/** 1,000 records of 100 B in 100 batches of 10, on 6 partitions, from one idempotent producer. */
export function batches(over: Partial<BatchSample> = {}): BatchSample {
  return {
    batches: 100,
    records: 1000,
    bytes: 100_000,
    largestBytes: 1500,
    unpackedBytesPerBatch: 1000,
    codecs: { none: 100 },
    producers: 1,
    partitions: 6,
    packed: null,
    duringWatch: true,
    ...over,
  };
}

/** 60 s of 1,000 records/s, 100 kB/s, over 6 partitions; one member that keeps up. */
export function measure(over: Partial<TopicMeasure> = {}): TopicMeasure {
  return {
    topic: 'events',
    partitions: 6,
    replicationFactor: 3,
    retentionMs: 7 * dayMs,
    retentionBytes: -1,
    minInsyncReplicas: 2,
    compacted: false,
    diskBytes: 0,
    watchedMs: 60_000,
    looks: 31,
    recordsPerSec: 1000,
    bytesPerSec: 100_000,
    peakRecordsPerSec: 1000,
    peakBytesPerSec: 100_000,
    busiestPartitionBytesPerSec: 20_000,
    history: null,
    batches: batches(),
    readers: [reader()],
    ...over,
  };
}

export function reader(over: Partial<TopicMeasure['readers'][number]> = {}): TopicMeasure['readers'][number] {
  return {
    role: 'events',
    group: 'kpipe-events',
    members: 1,
    recordsPerSec: 1000,
    leastLagRecords: 0,
    saturated: false,
    ...over,
  };
}

/** Nothing came in, now or before. */
export const idle = {
  recordsPerSec: 0,
  bytesPerSec: 0,
  peakRecordsPerSec: 0,
  peakBytesPerSec: 0,
  busiestPartitionBytesPerSec: 0,
} as const;

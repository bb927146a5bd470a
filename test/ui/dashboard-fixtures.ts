import type { DashboardState } from '../../src/lib/dashboard/watch.ts';
import type { BrokerLine, BrokerReport } from '../../src/lib/health/broker-report.ts';
import type { PartState } from '../../src/lib/metrics/part-feed.ts';
import type { ProcessReport } from '../../src/lib/metrics/role-processes.ts';
import type { GroupLag, LagReport, PartitionLag } from '../../src/lib/offsets/lag-report.ts';
import { calculateThroughput, type PartitionLook, type ThroughputReport } from '../../src/lib/offsets/throughput.ts';
import { judgeReplication } from '../../src/lib/replication/judge.ts';
import { groupLag } from '../unit/offsets/lag-fixtures.ts';
import { behindBy, declared, observation, primary, sender, standby } from '../unit/replication/replication-fixtures.ts';

/** What was seen of a small shop, of which a test says only what it is about. */
export const nowMs = Date.parse('2026-05-01T14:02:11.123Z');

export function partitionLag(partition: number, over: Partial<PartitionLag> = {}): PartitionLag {
  return {
    topic: 'events',
    partition,
    committedOffset: 90n,
    position: 90n,
    highWatermark: 100n,
    logStartOffset: 0n,
    lagRecords: 10,
    timeLagMs: 1900,
    timeLagMethod: 'record',
    inPerSec: 1,
    outPerSec: 1,
    lossInMs: 600_000_000,
    lostRecords: 0,
    member: 'shop@10.0.0.1',
    status: 'ok',
    reason: null,
    unknown: {},
    ...over,
  };
}

export const events = groupLag({
  role: 'events',
  group: 'kpipe-events',
  lagRecords: 1204,
  timeLagMs: 1900,
  inPerSec: 4100,
  outPerSec: 4300,
  drainMs: 6000,
  partitions: [partitionLag(0), partitionLag(1, { lagRecords: 1194, status: 'warn' })],
});
export const logs = groupLag({
  role: 'logs',
  group: 'kpipe-logs',
  lagRecords: 88_310,
  timeLagMs: 252_000,
  timeLagMethod: 'estimate',
  drainMs: null,
  unknown: { drainMs: 'never' },
  status: 'warn',
  reason: 'the lag grows: 1 to 2 records',
  partitions: [],
});
export const analytics = groupLag({
  role: 'analytics',
  group: 'kpipe-analytics',
  state: 'Empty',
  members: 0,
  lagRecords: 2_100_000,
  timeLagMs: 248_400_000,
  lossInMs: 10_800_000,
  status: 'stop',
  reason: 'no commit for 2d21h',
  partitions: [],
});

export function lagReport(roles: readonly GroupLag[], over: Partial<LagReport> = {}): LagReport {
  return {
    observedAt: new Date(nowMs).toISOString(),
    clusterId: 'MkU3OEVBNTcwNTJENDM2Qg',
    roles,
    notes: [],
    cost: { requests: 12, ms: 34 },
    ...over,
  };
}

/** Partition 1 of events takes most of it. */
export function throughput(): ThroughputReport {
  const looks = (at: readonly number[]): readonly PartitionLook[] => [
    ...at.map((end, partition) => ({
      topic: 'events',
      partition,
      leader: 1,
      highWatermark: BigInt(end),
      bytes: end * 100,
    })),
    { topic: 'idle', partition: 0, leader: -1, highWatermark: 5n, bytes: null },
  ];
  const before = { atMs: nowMs - 10_000, partitions: looks([0, 0, 0]), groups: [] };
  return calculateThroughput('c', before, { atMs: nowMs, partitions: looks([1000, 8000, 1000]), groups: [] });
}

function brokerLine(id: number, over: Partial<BrokerLine> = {}): BrokerLine {
  return {
    id,
    address: `10.0.0.${id}:9092`,
    rack: null,
    version: '4.3',
    state: 'up',
    reason: null,
    controller: id === 2,
    leaders: 4,
    preferredLeaders: 4,
    replicas: 12,
    outOfSync: 0,
    bytes: 91_400_000,
    leaderSkew: 1,
    logDirectories: [
      {
        path: `/data/kafka-${id}`,
        reason: null,
        replicas: 12,
        bytes: 91_400_000,
        totalBytes: 271e9,
        usableBytes: 79.2e9,
        usedPercent: 70.7,
        growthBytesPerSec: 2100,
        otherBytesPerSec: 0,
        fullInMs: null,
        settlesAtBytes: null,
        forecastReason: null,
      },
    ],
    ...over,
  };
}

export function brokerReport(over: Partial<BrokerReport> = {}): BrokerReport {
  return {
    observedAt: new Date(nowMs).toISOString(),
    clusterId: 'MkU3OEVBNTcwNTJENDM2Qg',
    controller: {
      leader: 2,
      epoch: 7,
      voters: [1, 2, 3].map((id) => ({ id, lagRecords: 0, caughtUpMs: 0 })),
      reason: null,
    },
    brokers: [brokerLine(1), brokerLine(2), brokerLine(3)],
    partitions: {
      topics: 3,
      partitions: 12,
      offline: 0,
      underMinIsr: 0,
      atMinIsr: 0,
      underReplicated: 0,
      notPreferred: 0,
      isrShrinks: 0,
    },
    ok: true,
    problems: [],
    notes: [],
    ...over,
  };
}

export function brokerDown(): BrokerReport {
  const whole = brokerReport();
  return {
    ...whole,
    ok: false,
    brokers: [
      brokerLine(1),
      brokerLine(2),
      brokerLine(3, { state: 'down', reason: 'not registered', logDirectories: [] }),
    ],
    partitions: { ...whole.partitions, underReplicated: 12, atMinIsr: 12 },
    problems: [
      {
        code: 'BROKER_DOWN',
        level: 'fail',
        broker: 3,
        detail: 'broker 3 is not registered',
        consequence: 'its replicas fall behind',
        next: 'start broker 3, or move its replicas: kpipe topics move',
        partitions: 12,
      },
    ],
  };
}

/** replica2 is paused. */
export function replicas() {
  const observed = observation(
    primary({
      senders: [sender(), sender({ pid: 11, applicationName: 'replica2', replayLsn: behindBy(14_700_000) })],
      slots: [],
    }),
    [
      declared(standby()),
      declared(standby({ replayPaused: true, replayedLsn: behindBy(14_700_000) }), { name: 'replica2' }),
    ],
  );
  return judgeReplication(observed, { lagAlarmMs: null, backupSlot: null });
}

export const processes: ProcessReport = {
  observedAt: new Date(nowMs).toISOString(),
  processes: [
    {
      url: 'http://10.0.0.1:9464',
      role: 'events',
      ready: true,
      reasons: [],
      metrics: {
        role: 'events',
        latencyBuckets: [],
        records: 10,
        deadLetters: 2,
        assigned: 6,
        claimed: 6,
        residentBytes: 1e8,
        paused: [],
      },
    },
    { url: 'http://10.0.0.2:9464', role: null, ready: null, reasons: ['connect ECONNREFUSED'], metrics: null },
  ],
  roles: [
    {
      role: 'events',
      processes: 1,
      ready: 1,
      overMs: 60_000,
      batches: 240,
      p50UpToMs: 250,
      p99UpToMs: Number.POSITIVE_INFINITY,
      recordsPerSec: 4300,
      deadLettersPerSec: 0,
      deadLetters: 2,
    },
  ],
};

export function seen<Report>(report: Report, over: Partial<PartState<Report>> = {}): PartState<Report> {
  return { report, seenAtMs: nowMs, lookMs: 34, failure: null, failedLooks: 0, ...over };
}

export function notSeen<Report>(over: Partial<PartState<Report>> = {}): PartState<Report> {
  return { report: null, seenAtMs: null, lookMs: null, failure: 'not looked at yet', failedLooks: 0, ...over };
}

export function state(over: Partial<DashboardState> = {}): DashboardState {
  return {
    lag: seen(lagReport([events, logs, analytics])),
    brokers: seen(brokerReport()),
    topics: seen(throughput()),
    processes: null,
    stores: null,
    replica: null,
    backup: null,
    ...over,
  };
}

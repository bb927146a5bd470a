import type { Counter, Gauge, Registry } from 'prom-client';

import type { RunObserver } from '../runtime/observer.ts';
import type { RunState } from '../runtime/run-state.ts';
import type { SinkUsage } from '../runtime/sink.ts';
import type { PartitionBacklog } from '../runtime/watches.ts';

/** What is asked of the run when the metrics are read. */
export interface MetricSources {
  readonly state: () => RunState;
  /** @throws when Kafka does not say */
  readonly backlog: () => Promise<readonly PartitionBacklog[]>;
  /** Null where the role's sink bills nothing. */
  readonly usage?: () => SinkUsage | null;
}

export interface RoleMetrics {
  readonly observer: RunObserver;
  /** Counts records from here on; the sources are asked at each reading. */
  readonly observe: (sources: MetricSources) => void;
  /** The Prometheus text format. */
  readonly read: () => Promise<{ readonly contentType: string; readonly text: string }>;
}

type PartitionLabel = 'topic' | 'partition';

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const dayMs = 86_400_000;
const latencySeconds = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600];

/**
 * The metrics of one role in one process, in a registry of their own. Labels are the role, its partitions, dead letter
 * reasons and error codes: all of them closed or counted, so nothing in a record can add a time series.
 */
export async function createRoleMetrics(role: string): Promise<RoleMetrics> {
  const prometheus = await import('prom-client');
  const registry = new prometheus.Registry();
  registry.setDefaultLabels({ role });
  prometheus.collectDefaultMetrics({ register: registry });
  const counters = createCounters(prometheus, registry);
  const rebalances = new prometheus.Counter({
    name: 'kpipe_rebalances_total',
    help: 'generations of the consumer group that this process joined',
    registers: [registry],
  });
  const batchDuration = new prometheus.Histogram({
    name: 'kpipe_batch_duration_seconds',
    help: 'from a batch’s first attempt until it was durable, with dead letters, retries and pauses',
    buckets: seconds,
    registers: [registry],
  });
  const latency = new prometheus.Histogram({
    name: 'kpipe_end_to_end_latency_seconds',
    help: 'from the Kafka timestamp of a batch’s oldest record until the batch was durable',
    buckets: latencySeconds,
    registers: [registry],
  });
  let current: MetricSources | null = null;
  return {
    observer: {
      wrote: ({ batch, stored, duplicates, writeMs, atMs }) => {
        const { topic, partition: number, skipped } = batch.sink;
        const partition = String(number);
        counters.records.inc({ topic, partition }, batch.recordCount);
        counters.stored.inc({ topic, partition }, stored);
        counters.duplicates.inc({ topic, partition }, duplicates);
        counters.skipped.inc({ topic, partition }, skipped);
        for (const { reason } of batch.dead) {
          counters.dead.inc({ topic, partition, reason });
        }
        batchDuration.observe(writeMs / 1000);
        if (batch.firstTimestampMs !== null) {
          latency.observe(Math.max(0, atMs - batch.firstTimestampMs) / 1000);
        }
      },
      joined: () => rebalances.inc(),
    },
    observe: (next) => {
      const isFirst = current === null;
      current = next;
      // A run that carries on after an operator's pause takes the place of the one before.
      if (isFirst) {
        const sources = (): MetricSources => current ?? next;
        createGauges(prometheus, registry, {
          state: () => sources().state(),
          backlog: () => sources().backlog(),
        });
        createUsageGauges(prometheus, registry, () => sources().usage?.() ?? null);
      }
    },
    read: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}

type Prometheus = typeof import('prom-client');

interface Counters {
  readonly records: Counter<PartitionLabel>;
  readonly stored: Counter<PartitionLabel>;
  readonly duplicates: Counter<PartitionLabel>;
  readonly skipped: Counter<PartitionLabel>;
  readonly dead: Counter<PartitionLabel | 'reason'>;
}

function createCounters({ Counter: Of }: Prometheus, registry: Registry): Counters {
  const counter = (name: string, help: string): Counter<PartitionLabel> =>
    new Of({ name, help, labelNames: ['topic', 'partition'], registers: [registry] });
  return {
    records: counter('kpipe_records_total', 'records whose effect is durable, whatever it is'),
    stored: counter('kpipe_records_stored_total', 'records that became rows'),
    duplicates: counter('kpipe_records_duplicate_total', 'records that were there already, and changed nothing'),
    skipped: counter('kpipe_records_skipped_total', 'records that were left out on purpose'),
    dead: new Of({
      name: 'kpipe_dead_letters_total',
      help: 'records that became dead letters',
      labelNames: ['topic', 'partition', 'reason'],
      registers: [registry],
    }),
  };
}

/** What BigQuery may bill or ration; no series at all for a sink without usage. */
function createUsageGauges({ Gauge: Of }: Prometheus, registry: Registry, usage: () => SinkUsage | null): void {
  const gauge = (name: string, help: string, value: (of: SinkUsage) => number): void => {
    const made: Gauge = new Of({
      name,
      help,
      registers: [registry],
      collect: () => {
        made.remove();
        const now = usage();
        if (now !== null) {
          made.set(value(now));
        }
      },
    });
  };
  gauge('kpipe_bigquery_requests', 'requests with rows since the role started', ({ requests }) => requests);
  gauge('kpipe_bigquery_bytes', 'bytes of rows sent since the role started', ({ bytes }) => bytes);
  gauge('kpipe_bigquery_load_jobs', 'load jobs since the role started', ({ loadJobs }) => loadJobs);
  gauge(
    'kpipe_bigquery_estimated_dollars',
    'what writing cost since the role started, by list prices',
    ({ dollars }) => dollars,
  );
  gauge(
    'kpipe_bigquery_estimated_dollars_per_day',
    'what a day of writing costs at the rate since the role started, by list prices',
    ({ dollars, sinceMs }) => (dollars * dayMs) / Math.max(1, Date.now() - sinceMs),
  );
}

/** Set anew at each reading: a partition that went to another process leaves no old value behind. */
function createGauges({ Gauge: Of }: Prometheus, registry: Registry, sources: MetricSources): void {
  const registers = [registry];
  const ofPartition = (name: string, help: string): Gauge<PartitionLabel> =>
    new Of({ name, help, labelNames: ['topic', 'partition'], registers });
  const position = ofPartition('kpipe_position', 'the offset that is written next');
  const lag = new Of<PartitionLabel>({
    name: 'kpipe_lag_records',
    help: 'records in the log beyond the position; absent while Kafka does not say',
    labelNames: ['topic', 'partition'],
    registers,
    collect: async () => {
      lag.reset();
      position.reset();
      for (const each of await sources.backlog().catch(() => [])) {
        const labels = { topic: each.topic, partition: String(each.partition) };
        lag.set(labels, each.lagRecords);
        position.set(labels, Number(each.position));
      }
    },
  });
  const assigned: Gauge = new Of({
    name: 'kpipe_assigned_partitions',
    help: 'partitions that the consumer group gave this process',
    registers,
    collect: (): void => assigned.set(sources.state().assigned ?? 0),
  });
  const held: Gauge = new Of({
    name: 'kpipe_claimed_partitions',
    help: 'partitions of them that are claimed and read',
    registers,
    collect: (): void => held.set(sources.state().held),
  });
  const paused = new Of<'code'>({
    name: 'kpipe_paused',
    help: '1 while writing waits, by the code of the reason',
    labelNames: ['code'],
    registers,
    collect: () => {
      paused.reset();
      for (const code of sources.state().paused.keys()) {
        paused.set({ code }, 1);
      }
    },
  });
}

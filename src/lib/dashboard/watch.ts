import { backupLooker, type BackupLook } from '../backup/look.ts';
import type { Config, PostgresConfig } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';
import type { BrokerReport } from '../health/broker-report.ts';
import type { GateReport } from '../health/gate.ts';
import { lookAtGate } from '../health/look-at-gate.ts';
import { withClusterWatch } from '../health/watch-cluster.ts';
import { PartFeed, type PartState } from '../metrics/part-feed.ts';
import { ProcessWatch, type ProcessReport } from '../metrics/role-processes.ts';
import type { Pace } from '../offsets/follow.ts';
import type { LagReport } from '../offsets/lag-report.ts';
import type { LagTarget } from '../offsets/targets.ts';
import type { ThroughputReport } from '../offsets/throughput.ts';
import { withThroughputWatch } from '../offsets/watch-throughput.ts';
import { LagWatch, withLagSources } from '../offsets/watch.ts';
import { watchReplicas } from '../replication/look.ts';
import type { ReplicaReport } from '../replication/report.ts';
import type { DashboardPart, DashboardPaces } from './paces.ts';

/** What was last seen of every part. null: kpipe.yaml has nothing of it. */
export interface DashboardState {
  readonly lag: PartState<LagReport>;
  readonly brokers: PartState<BrokerReport>;
  readonly topics: PartState<ThroughputReport>;
  readonly processes: PartState<ProcessReport> | null;
  readonly stores: PartState<GateReport> | null;
  readonly replica: PartState<ReplicaReport> | null;
  readonly backup: PartState<BackupLook> | null;
}

export interface DashboardOptions {
  readonly targets: readonly LagTarget[];
  /** Where processes of roles serve /metrics and /readyz. */
  readonly processes: readonly string[];
  readonly paces: DashboardPaces;
  readonly now: () => number;
}

/** A part that is looked at. `run` opens what it needs, and ends when the signal aborts. */
interface Part {
  readonly name: DashboardPart;
  readonly feed: Pick<PartFeed<never>, 'take'>;
  readonly run: (pace: Pace, signal: AbortSignal) => Promise<void>;
}

/** After what a part needs could not even be opened. */
const openAgainMs = 5000;

/**
 * Looks at every part until the signal aborts, each on its own: what fails, and why, is a state of that part and never the
 * end of another. `show` gets the whole state after every look.
 */
export async function watchDashboard(
  config: Config,
  options: DashboardOptions,
  show: (state: DashboardState, part: DashboardPart) => void,
  signal: AbortSignal,
): Promise<void> {
  const { parts, state } = partsOf(config, options, (part) => show(state(), part));
  await Promise.all(parts.map((part) => keepRunning(part, options, signal)));
}

/** Nothing is opened before the part is wanted for the first time. */
async function keepRunning({ name, feed, run }: Part, { paces, now }: DashboardOptions, signal: AbortSignal) {
  const pace = paces.of(name);
  await pace.due(Number.NEGATIVE_INFINITY, now, signal);
  while (!signal.aborted) {
    const beganAtMs = now();
    try {
      await run(pace, signal);
    } catch (error) {
      feed.take({ kind: 'failed', error: coded(error) });
      await pace.due(beganAtMs + openAgainMs, now, signal);
    }
  }
}

function coded(error: unknown): KpipeError {
  return error instanceof KpipeError ? error : new KpipeError('KPIPE_INTERNAL', messageOf(error), { cause: error });
}

interface Parts {
  readonly parts: readonly Part[];
  readonly state: () => DashboardState;
}

function partsOf(config: Config, options: DashboardOptions, changed: (part: DashboardPart) => void): Parts {
  const { postgres } = config;
  const { now } = options;
  const feedOf = <Report>(part: DashboardPart): PartFeed<Report> => new PartFeed<Report>(now, () => changed(part));
  const lag = feedOf<LagReport>('lag');
  const brokers = feedOf<BrokerReport>('brokers');
  const topics = feedOf<ThroughputReport>('topics');
  const processes = options.processes.length === 0 ? null : feedOf<ProcessReport>('processes');
  const stores = config.redis === undefined && config.bigquery === undefined ? null : feedOf<GateReport>('stores');
  const replica = postgres === undefined || postgres.replicas.length === 0 ? null : feedOf<ReplicaReport>('replica');
  const backup = postgres?.backups === undefined ? null : feedOf<BackupLook>('backup');
  return {
    parts: [
      { name: 'lag', feed: lag, run: (pace, signal) => followGroups(config, options, lag, pace, signal) },
      {
        name: 'brokers',
        feed: brokers,
        run: (pace, signal) => withClusterWatch(config, (watch) => brokers.follow(() => watch.look(), pace, signal)),
      },
      {
        name: 'topics',
        feed: topics,
        run: (pace, signal) =>
          withThroughputWatch(config, now, (watch) => topics.follow(() => watch.look(), pace, signal)),
      },
      ...(processes === null ? [] : [processesPart(options, processes)]),
      ...(stores === null ? [] : [storesPart(config, options, stores)]),
      ...(replica === null || postgres === undefined ? [] : [replicaPart(config, postgres, replica)]),
      ...(backup === null ? [] : [backupPart(config, options, backup)]),
    ],
    state: () => ({
      lag: lag.state,
      brokers: brokers.state,
      topics: topics.state,
      processes: processes?.state ?? null,
      stores: stores?.state ?? null,
      replica: replica?.state ?? null,
      backup: backup?.state ?? null,
    }),
  };
}

function followGroups(
  config: Config,
  { targets }: DashboardOptions,
  feed: PartFeed<LagReport>,
  pace: Pace,
  signal: AbortSignal,
): Promise<void> {
  return withLagSources(config, (sources) => {
    const watch = new LagWatch(targets, sources);
    return feed.follow(() => watch.look(), pace, signal);
  });
}

function processesPart({ processes, now }: DashboardOptions, feed: PartFeed<ProcessReport>): Part {
  return {
    name: 'processes',
    feed,
    run: (pace, signal) => {
      const watch = new ProcessWatch(processes, now);
      return feed.follow(() => watch.look(signal), pace, signal);
    },
  };
}

function storesPart(config: Config, { now }: DashboardOptions, feed: PartFeed<GateReport>): Part {
  return {
    name: 'stores',
    feed,
    run: (pace, signal) =>
      feed.follow(() => lookAtGate(config, ['redis', 'bigquery'], { forMs: 0, now }, signal), pace, signal),
  };
}

function replicaPart(config: Config, postgres: PostgresConfig, feed: PartFeed<ReplicaReport>): Part {
  return {
    name: 'replica',
    feed,
    run: (pace, signal) => watchReplicas(config, postgres, { pace, probe: false }, (look) => feed.take(look), signal),
  };
}

function backupPart(config: Config, { now }: DashboardOptions, feed: PartFeed<BackupLook>): Part {
  return { name: 'backup', feed, run: (pace, signal) => feed.follow(backupLooker(config, now), pace, signal) };
}

import { backupLooker, type BackupLook } from '../backup/look.ts';
import type { Config, PostgresConfig } from '../config/load.ts';
import { roleNames } from '../config/schema.ts';
import type { BrokerReport } from '../health/broker-report.ts';
import { withClusterWatch } from '../health/watch-cluster.ts';
import { Pace } from '../offsets/follow.ts';
import type { LagReport } from '../offsets/lag-report.ts';
import { lagTargets } from '../offsets/targets.ts';
import { LagWatch, withLagSources } from '../offsets/watch.ts';
import { watchReplicas } from '../replication/look.ts';
import type { ReplicaReport } from '../replication/report.ts';
import { exposedPart, exposedSamples, renderSamples, type ExposedPart } from './exposition.ts';
import { PartFeed } from './part-feed.ts';
import { backupSeries, brokerSeries, lagSeries, replicaSeries } from './series.ts';
import { startHealthServer, type HealthServer } from './server.ts';

export interface ExporterOptions {
  readonly host: string;
  readonly port: number;
  readonly intervalMs: number;
  /** Consumer groups beside the roles. */
  readonly groups: readonly string[];
  readonly now: () => number;
}

/** A part that is looked at and shown. `run` ends when the signal aborts. */
interface ExporterPart {
  readonly run: (pace: Pace, signal: AbortSignal) => Promise<void>;
  readonly expose: (at: { readonly keptMs: number; readonly nowMs: number }) => ExposedPart;
}

/** Figures of looks that failed are shown for so many intervals, and marked; then they are gone. */
const keptIntervals = 3;
/** A store's own deadlines are longer than a short interval. */
const shortestKeptMs = 30_000;

/**
 * Serves /metrics, /livez and /readyz until the signal aborts. Every part is looked at on its own; a reading never waits.
 * @param onListening gets the address, with the port that was taken
 * @throws KPIPE_USAGE when the address cannot be had
 */
export async function serveMetrics(
  config: Config,
  options: ExporterOptions,
  onListening: (url: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const parts = partsOf(config, options);
  const keptMs = Math.max(shortestKeptMs, keptIntervals * options.intervalMs);
  const exposed = (): readonly ExposedPart[] => parts.map(({ expose }) => expose({ keptMs, nowMs: options.now() }));
  const server = await listen(options, exposed);
  onListening(server.url);
  const ended = new AbortController();
  const together = AbortSignal.any([signal, ended.signal]);
  try {
    await Promise.all(parts.map(({ run }) => run(new Pace(options.intervalMs), together)));
  } finally {
    ended.abort();
    await server.close();
  }
}

function listen({ host, port }: ExporterOptions, exposed: () => readonly ExposedPart[]): Promise<HealthServer> {
  return startHealthServer(host, port, {
    live: () => ({ ok: true, reasons: [] }),
    ready: () => {
      const failed = exposed().flatMap(({ part, state }) =>
        state.failure === null ? [] : [`${part}: ${state.failure}`],
      );
      return Promise.resolve({ ok: failed.length === 0, reasons: failed });
    },
    metrics: () => renderSamples(exposedSamples(exposed())),
  });
}

function partsOf(config: Config, options: ExporterOptions): readonly ExporterPart[] {
  const { postgres } = config;
  const hasGroups = options.groups.length > 0 || roleNames.some((role) => config.roles[role] !== undefined);
  return [
    ...(hasGroups ? [lagPart(config, options)] : []),
    brokersPart(config, options.now),
    ...(postgres === undefined || postgres.replicas.length === 0 ? [] : [replicaPart(config, postgres, options.now)]),
    ...(postgres?.backups === undefined ? [] : [backupPart(config, options.now)]),
  ];
}

function lagPart(config: Config, { groups, now }: ExporterOptions): ExporterPart {
  const named = roleNames.filter((role) => config.roles[role] !== undefined);
  const targets = lagTargets(config, named, groups);
  const feed = new PartFeed<LagReport>(now);
  return {
    run: (pace, signal) =>
      withLagSources(config, (sources) => {
        const watch = new LagWatch(targets, sources);
        return feed.follow(() => watch.look(), pace, signal);
      }),
    expose: (at) => exposedPart('lag', feed.state, lagSeries, at),
  };
}

function brokersPart(config: Config, now: () => number): ExporterPart {
  const feed = new PartFeed<BrokerReport>(now);
  return {
    run: (pace, signal) => withClusterWatch(config, (watch) => feed.follow(() => watch.look(), pace, signal)),
    expose: (at) => exposedPart('brokers', feed.state, brokerSeries, at),
  };
}

function replicaPart(config: Config, postgres: PostgresConfig, now: () => number): ExporterPart {
  const feed = new PartFeed<ReplicaReport>(now);
  return {
    run: (pace, signal) => watchReplicas(config, postgres, { pace, probe: false }, (look) => feed.take(look), signal),
    expose: (at) => exposedPart('replica', feed.state, replicaSeries, at),
  };
}

function backupPart(config: Config, now: () => number): ExporterPart {
  const feed = new PartFeed<BackupLook>(now);
  return {
    run: (pace, signal) => feed.follow(backupLooker(config, now), pace, signal),
    expose: (at) => exposedPart('backup', feed.state, backupSeries, at),
  };
}

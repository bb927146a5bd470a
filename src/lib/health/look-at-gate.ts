import { lookAtBackups } from '../backup/look.ts';
import { openBackupPlace } from '../backup/place.ts';
import { probeBigQuery } from '../bigquery/probe.ts';
import type { Config } from '../config/load.ts';
import { roleNames } from '../config/schema.ts';
import { withDeadline } from '../deadline.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { lookAtLag } from '../offsets/look.ts';
import { lagTargets } from '../offsets/targets.ts';
import { probeRedis } from '../redis/probe.ts';
import { lookAtReplicas, replicationExpectations } from '../replication/look.ts';
import { bigQueryFindings } from './bigquery.ts';
import { backupLooked, brokersLooked, lagLooked, replicaLooked, storeLooked } from './gate-rules.ts';
import {
  gateReport,
  judgedPart,
  skippedPart,
  type GatePart,
  type GatePartName,
  type GateReport,
  type Looked,
} from './gate.ts';
import { redisFindings } from './redis.ts';
import { lookAtCluster } from './watch-cluster.ts';

export interface GateOptions {
  /** How long lag and brokers are watched: statuses and growth need time. */
  readonly forMs: number;
  readonly now: () => number;
}

const probeDeadlineMs = 5000;
/** For each part, beyond the time that it is watched: a store that hangs must not hang the gate. */
const marginMs = 20_000;
/** Rates need two looks. */
const shortestWatchMs = 1000;
const longestIntervalMs = 2000;

/**
 * Looks at the parts. What is not configured is skipped; what cannot be looked at is a finding. Stores are asked one after
 * the other, so that loading one's driver does not eat into another's deadline; lag and brokers are watched at once.
 */
export async function lookAtGate(
  config: Config,
  names: readonly GatePartName[],
  options: GateOptions,
  signal: AbortSignal,
): Promise<GateReport> {
  const looked = new Map<GatePartName, GatePart>();
  for (const name of names.filter((each) => !isWatched(each))) {
    looked.set(name, await lookAtPart(name, config, options, signal));
    signal.throwIfAborted();
  }
  await Promise.all(
    names.filter(isWatched).map(async (name) => looked.set(name, await lookAtPart(name, config, options, signal))),
  );
  signal.throwIfAborted();
  return gateReport(
    names.flatMap((name) => looked.get(name) ?? []),
    options.now(),
  );
}

function isWatched(name: GatePartName): boolean {
  return name === 'lag' || name === 'brokers';
}

type PartLook = { readonly skipped: string } | { readonly look: () => Promise<Looked> };

async function lookAtPart(
  name: GatePartName,
  config: Config,
  options: GateOptions,
  signal: AbortSignal,
): Promise<GatePart> {
  const part = partLook(name, config, options, signal);
  if ('skipped' in part) {
    return skippedPart(name, part.skipped);
  }
  const startedAt = performance.now();
  const looked = await withDeadline(part.look(), options.forMs + marginMs, 'no answer').catch((error: unknown) =>
    notLooked(name, error),
  );
  return judgedPart(name, looked, Math.round(performance.now() - startedAt));
}

/** A store that is away fails its own part; of what lives in it, nothing is known. */
function notLooked(name: GatePartName, error: unknown): Looked {
  const isAway =
    error instanceof KpipeError && error.code.endsWith('_UNREACHABLE') && name !== 'lag' && name !== 'backup';
  const text = error instanceof KpipeError ? `${error.code} ${error.message}` : messageOf(error);
  const next = error instanceof KpipeError ? (error.next ?? null) : null;
  return {
    detail: 'cannot be looked at',
    findings: [
      { level: isAway ? 'fail' : 'unknown', detail: text, next: next ?? '`kpipe doctor` looks at every store' },
    ],
    figures: [],
  };
}

function partLook(name: GatePartName, config: Config, { forMs, now }: GateOptions, signal: AbortSignal): PartLook {
  const { postgres, redis, bigquery, alerts } = config;
  switch (name) {
    case 'lag': {
      if (roleNames.every((role) => config.roles[role] === undefined)) {
        return { skipped: 'no roles in kpipe.yaml' };
      }
      const options = { forMs: Math.max(shortestWatchMs, forMs), intervalMs: longestIntervalMs, conditions: [] };
      return {
        look: async () =>
          lagLooked(await lookAtLag(config, lagTargets(config, [], []), options, signal), alerts.lag ?? {}),
      };
    }
    case 'brokers':
      return {
        look: async () =>
          brokersLooked(await lookAtCluster(config, { forMs, conditions: [] }, signal), alerts.disk ?? {}, forMs > 0),
      };
    case 'replica':
      if (postgres === undefined || postgres.replicas.length === 0) {
        return { skipped: 'no postgres.replicas in kpipe.yaml' };
      }
      return {
        look: async () =>
          replicaLooked(
            await lookAtReplicas(config, postgres, { probe: false, conditions: [] }),
            replicationExpectations(config).lagAlarmMs,
          ),
      };
    case 'backup':
      return postgres?.backups === undefined
        ? { skipped: 'no postgres.backups in kpipe.yaml' }
        : { look: () => backupsLooked(config, now()) };
    case 'redis':
      return redis === undefined
        ? { skipped: 'no redis in kpipe.yaml' }
        : { look: async () => storeLooked(redisFindings(await probeRedis(redis.url, probeDeadlineMs))) };
    case 'bigquery':
      return bigquery === undefined
        ? { skipped: 'no bigquery in kpipe.yaml' }
        : { look: async () => storeLooked(bigQueryFindings(await probeBigQuery(bigquery, probeDeadlineMs))) };
  }
}

async function backupsLooked(config: Config, nowMs: number): Promise<Looked> {
  const { lines, problems } = await lookAtBackups(openBackupPlace(config), nowMs);
  return backupLooked(lines, problems, config.alerts.backup ?? {});
}

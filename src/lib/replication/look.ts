import type { Config, PostgresConfig } from '../config/load.ts';
import { followLag, type Look, type Pace } from '../offsets/follow.ts';
import { ReplicationObserver, type ObserveOptions } from '../postgres/replica-observe.ts';
import { evaluateReplicaFailOn, type FailedCondition, type ReplicaCondition } from './fail-on.ts';
import { noHistory, remember } from './history.ts';
import { judgeReplication } from './judge.ts';
import type { ReplicationExpectations } from './observation.ts';
import type { ReplicaReport } from './report.ts';

/** A report with what `--fail-on` makes of it; the JSON of `kpipe replica status`. */
export interface CheckedReplicaReport extends ReplicaReport {
  readonly failed: readonly FailedCondition[];
  /** Conditions on figures that are not known. */
  readonly unjudged: readonly FailedCondition[];
}

export interface ReplicaLookOptions {
  readonly probe: boolean;
  readonly conditions: readonly ReplicaCondition[];
}

const deadlineMs = 3000;
const catchUpMs = 1000;
const probeDeadlineMs = 5000;

function observeOptions(probe: boolean): ObserveOptions {
  return { deadlineMs, catchUpMs, probeDeadlineMs: probe ? probeDeadlineMs : null };
}

export function replicationExpectations({ alerts, postgres }: Config): ReplicationExpectations {
  return { lagAlarmMs: alerts.replica?.lag ?? null, backupSlot: postgres?.backups?.walArchive?.slot ?? null };
}

/** Asks both ends once. @throws KPIPE_POSTGRES_UNREACHABLE when no server at all answers */
export async function lookAtReplicas(
  config: Config,
  postgres: PostgresConfig,
  { probe, conditions }: ReplicaLookOptions,
): Promise<CheckedReplicaReport> {
  const observer = new ReplicationObserver(postgres, observeOptions(probe), Date.now);
  try {
    const report = judgeReplication(await observer.observe(), replicationExpectations(config));
    return { ...report, ...evaluateReplicaFailOn(conditions, report) };
  } finally {
    await observer.close();
  }
}

export interface ReplicaWatchOptions {
  readonly pace: Pace;
  /** undefined: until the signal. */
  readonly forMs?: number | undefined;
  readonly probe: boolean;
}

/** Asks both ends again and again, and hands on every look; one that found no server, too. */
export async function watchReplicas(
  config: Config,
  postgres: PostgresConfig,
  { pace, forMs, probe }: ReplicaWatchOptions,
  show: (look: Look<ReplicaReport>) => void,
  signal: AbortSignal,
): Promise<void> {
  const observer = new ReplicationObserver(postgres, observeOptions(probe), Date.now);
  const expectations = replicationExpectations(config);
  let history = noHistory;
  const look = async (): Promise<ReplicaReport> => {
    const observation = await observer.observe();
    const report = judgeReplication(observation, expectations, history);
    history = remember(history, observation);
    return report;
  };
  try {
    const untilMs = forMs === undefined ? undefined : Date.now() + forMs;
    for await (const seen of followLag({ look, pace, now: Date.now, untilMs }, signal)) {
      show(seen);
    }
  } finally {
    await observer.close();
  }
}

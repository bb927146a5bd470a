import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { ClusterObserver } from '../kafka/cluster-observer.ts';
import { followLag, Pace, type Look } from '../offsets/follow.ts';
import { evaluateBrokerFailOn, type BrokerCondition, type BrokerFailed } from './broker-fail-on.ts';
import type { BrokerReport } from './broker-report.ts';
import type { ClusterObservation } from './cluster-observation.ts';
import { noDiskHistory, rememberDisks, type DiskHistory } from './disk-forecast.ts';
import { judgeCluster } from './judge-cluster.ts';
import type { DiskAlerts } from './broker-problems.ts';

/** A report with what `--fail-on` makes of it; the JSON of `kpipe brokers`. */
export interface CheckedBrokerReport extends BrokerReport {
  readonly failed: readonly BrokerFailed[];
  /** Conditions on figures that are not known. */
  readonly unjudged: readonly BrokerFailed[];
}

const deadlineMs = 5000;
const longestIntervalMs = 2000;

/** Looks again and again; growth and shrinking ISRs are told by the looks before. */
export class ClusterWatch {
  readonly #observer: Pick<ClusterObserver, 'observe'>;
  readonly #alerts: DiskAlerts;
  #disks: DiskHistory = noDiskHistory;
  #before: ClusterObservation | null = null;

  constructor(observer: Pick<ClusterObserver, 'observe'>, alerts: DiskAlerts) {
    this.#observer = observer;
    this.#alerts = alerts;
  }

  /** @throws KPIPE_KAFKA_UNREACHABLE; the next look may find it again */
  async look(): Promise<BrokerReport> {
    const seen = await this.#observer.observe();
    this.#disks = rememberDisks(this.#disks, seen);
    const report = judgeCluster(seen, { disks: this.#disks, before: this.#before, alerts: this.#alerts });
    this.#before = seen;
    return report;
  }
}

/** Runs `work` with a watch on the cluster; its connections are closed whatever happens. */
export async function withClusterWatch<Result>(
  { kafka, alerts }: Config,
  work: (watch: ClusterWatch) => Promise<Result>,
): Promise<Result> {
  const observer = await ClusterObserver.open(kafka, deadlineMs, Date.now);
  try {
    return await work(new ClusterWatch(observer, alerts.disk ?? {}));
  } finally {
    await observer.close();
  }
}

export interface ClusterLookOptions {
  /** How long to look; 0: once. Growth needs two looks. */
  readonly forMs: number;
  readonly conditions: readonly BrokerCondition[];
}

/** Looks for a while and answers the last look. @throws KPIPE_KAFKA_UNREACHABLE */
export async function lookAtCluster(
  config: Config,
  { forMs, conditions }: ClusterLookOptions,
  signal: AbortSignal,
): Promise<CheckedBrokerReport> {
  return withClusterWatch(config, async (watch) => {
    const pace = new Pace(Math.max(100, Math.min(longestIntervalMs, forMs)));
    const looks = followLag({ look: () => watch.look(), pace, now: Date.now, untilMs: Date.now() + forMs }, signal);
    let last: BrokerReport | undefined;
    for await (const look of looks) {
      if (look.kind === 'failed') {
        throw look.error;
      }
      last = look.report;
    }
    signal.throwIfAborted();
    if (last === undefined) {
      throw new KpipeError('KPIPE_INTERNAL', 'the cluster was not looked at');
    }
    return { ...last, ...evaluateBrokerFailOn(conditions, last) };
  });
}

/** Looks until the time is over or the signal aborts, and hands on every look; one that failed too. */
export async function watchCluster(
  config: Config,
  { pace, forMs }: { readonly pace: Pace; readonly forMs?: number | undefined },
  show: (look: Look<BrokerReport>) => void,
  signal: AbortSignal,
): Promise<void> {
  await withClusterWatch(config, async (watch) => {
    const untilMs = forMs === undefined ? undefined : Date.now() + forMs;
    for await (const look of followLag({ look: () => watch.look(), pace, now: Date.now, untilMs }, signal)) {
      show(look);
    }
  });
}

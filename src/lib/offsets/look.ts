import type { Config } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import type { LagReader } from '../ports.ts';
import { nearestName } from '../config/nearest.ts';
import { alertProblems, evaluateFailOn, type FailCondition, type LagProblem } from './fail-on.ts';
import { followLag, Pace, type Look } from './follow.ts';
import type { LagReport } from './lag-report.ts';
import type { LagTarget } from './targets.ts';
import { LagWatch, withLagSources } from './watch.ts';

/** A report with what `--fail-on` and `--check` make of it; the JSON of `kpipe lag`. */
export interface CheckedLagReport extends LagReport {
  readonly problems: readonly LagProblem[];
  /** Conditions on figures that are not known. */
  readonly unjudged: readonly LagProblem[];
}

export interface LookOptions {
  /** How long to watch: rates and statuses need two looks or more. */
  readonly forMs: number;
  readonly intervalMs: number;
  readonly conditions: readonly FailCondition[];
  /** Judge by kpipe.yaml's alerts, too. */
  readonly check?: boolean;
}

/**
 * Watches for a while and answers the last look.
 * @throws KPIPE_KAFKA_UNREACHABLE; KPIPE_GROUP_MISSING for a group that was named and never existed
 */
export async function lookAtLag(
  config: Config,
  targets: readonly LagTarget[],
  options: LookOptions,
  signal: AbortSignal,
): Promise<CheckedLagReport> {
  return withLagSources(config, async (sources) => {
    const watch = new LagWatch(targets, sources);
    const pace = new Pace(Math.max(100, Math.min(options.intervalMs, options.forMs)));
    const untilMs = sources.now() + options.forMs;
    let report: LagReport | undefined;
    for await (const look of followLag({ look: () => watch.look(), pace, now: sources.now, untilMs }, signal)) {
      if (look.kind === 'failed') {
        throw look.error;
      }
      report = look.report;
    }
    signal.throwIfAborted();
    const last = report ?? (await watch.look());
    await refuseMissingGroup(last, sources.reader);
    const { failed, unjudged } = evaluateFailOn(options.conditions, last.roles);
    const alerts = options.check === true ? alertProblems(last.roles, config.alerts.lag ?? {}) : [];
    return { ...last, problems: [...failed, ...alerts], unjudged };
  });
}

/** A role that never ran is shown; a group that somebody typed and that does not exist is a mistake. */
async function refuseMissingGroup(report: LagReport, reader: LagReader): Promise<void> {
  const missing = report.roles.find(
    (group) => group.role === null && group.state === 'Dead' && group.partitions.length === 0,
  );
  if (missing === undefined) {
    return;
  }
  const groups = await reader.groupNames();
  const nearest = nearestName(missing.group, groups);
  throw new KpipeError('KPIPE_GROUP_MISSING', `there is no consumer group ${missing.group}`, {
    next:
      nearest === undefined
        ? `the cluster has: ${groups.slice(0, 10).join(', ') || 'none'}`
        : `did you mean ${nearest}?`,
  });
}

export interface WatchOptions {
  readonly pace: Pace;
  /** undefined: until the signal. */
  readonly forMs?: number | undefined;
}

/** Watches until the time is over or the signal aborts, and hands on every look; one that failed too. */
export async function watchLag(
  config: Config,
  targets: readonly LagTarget[],
  { pace, forMs }: WatchOptions,
  show: (look: Look) => void,
  signal: AbortSignal,
): Promise<void> {
  await withLagSources(config, async (sources) => {
    const watch = new LagWatch(targets, sources);
    const untilMs = forMs === undefined ? undefined : sources.now() + forMs;
    for await (const look of followLag({ look: () => watch.look(), pace, now: sources.now, untilMs }, signal)) {
      show(look);
    }
  });
}

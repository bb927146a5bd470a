import { formatDuration, formatSize, parseDuration, parseSize } from '../config/units.ts';
import { KpipeError } from '../errors.ts';
import { holds, splitCondition, type FailOperator } from '../offsets/fail-on.ts';
import { problemCodes, type ProblemCode, type ReplicaReport, type StandbyReport } from './report.ts';

/**
 * `--fail-on 'lag>30s,bytes>64MB,SLOT_LOST'`: figures of the standbys and names of problems, any of which fails. A
 * figure that is not known meets no condition; it is named apart.
 */
export type ReplicaCondition =
  | {
      readonly kind: 'figure';
      readonly metric: Metric;
      readonly operator: FailOperator;
      readonly limit: number;
      readonly text: string;
    }
  | { readonly kind: 'problem'; readonly code: ProblemCode; readonly text: string };

const metrics = {
  lag: { unit: 'duration', example: 'lag>30s', of: (standby: StandbyReport) => standby.lagMs },
  bytes: { unit: 'size', example: 'bytes>64MB', of: (standby: StandbyReport) => standby.replayBytes },
  probe: { unit: 'duration', example: 'probe>1s', of: probeOf },
  retained: {
    unit: 'size',
    example: 'retained>1GB',
    of: (standby: StandbyReport) => standby.slot?.retainedBytes ?? null,
  },
  safe: { unit: 'size', example: 'safe<1GB', of: (standby: StandbyReport) => standby.slot?.safeWalBytes ?? null },
  conflicts: {
    unit: 'count',
    example: 'conflicts>0',
    of: (standby: StandbyReport) => standby.conflicts?.total ?? null,
  },
} as const;
type StandbyMetric = keyof typeof metrics;
/** `problems` are counted over all servers. */
type Metric = StandbyMetric | 'problems';

/** @throws KPIPE_USAGE naming the condition that is wrong */
export function parseReplicaFailOn(expression: string): readonly ReplicaCondition[] {
  return expression.split(',').map((part) => parseCondition(part.trim()));
}

function parseCondition(text: string): ReplicaCondition {
  const code = problemCodes.find((each) => each === text.toUpperCase());
  if (code !== undefined) {
    return { kind: 'problem', code, text };
  }
  const { name = '', operator, value = '' } = splitCondition(text) ?? {};
  const limit = isMetric(name) ? parseLimit(name === 'problems' ? 'count' : metrics[name].unit, value) : undefined;
  if (!isMetric(name) || operator === undefined || limit === undefined) {
    const examples = Object.values(metrics).map(({ example }) => example);
    throw new KpipeError('KPIPE_USAGE', `--fail-on: not a condition: ${text === '' ? '(empty)' : text}`, {
      next: `write conditions such as ${[...examples, 'problems>0', 'SLOT_LOST'].join(', ')}`,
    });
  }
  return { kind: 'figure', metric: name, operator, limit, text };
}

function isMetric(name: string): name is Metric {
  return name === 'problems' || Object.hasOwn(metrics, name);
}

function parseLimit(unit: 'duration' | 'size' | 'count', value: string): number | undefined {
  switch (unit) {
    case 'duration':
      return parseDuration(value);
    case 'size':
      return parseSize(value);
    case 'count':
      return /^\d+$/.test(value) ? Number(value) : undefined;
  }
}

/** What a condition makes of one standby. */
export interface FailedCondition {
  readonly standby: string | null;
  readonly condition: string;
  /** `1m12s`, `61 MB`; for `unjudged` why it is not known. */
  readonly actual: string;
}

export interface ReplicaFailOn {
  readonly failed: readonly FailedCondition[];
  readonly unjudged: readonly FailedCondition[];
}

export function evaluateReplicaFailOn(conditions: readonly ReplicaCondition[], report: ReplicaReport): ReplicaFailOn {
  const failed: FailedCondition[] = [];
  const unjudged: FailedCondition[] = [];
  for (const condition of conditions) {
    if (condition.kind === 'problem') {
      const found = report.problems.filter(({ code }) => code === condition.code);
      failed.push(...found.map(({ standby, detail }) => ({ standby, condition: condition.text, actual: detail })));
      continue;
    }
    if (condition.metric === 'problems') {
      const count = report.problems.length;
      failed.push(
        ...(holds(condition.operator, count, condition.limit)
          ? [{ standby: null, condition: condition.text, actual: String(count) }]
          : []),
      );
      continue;
    }
    const { unit, of } = metrics[condition.metric];
    for (const standby of report.standbys) {
      const actual = of(standby, report);
      const named = { standby: standby.name, condition: condition.text };
      if (actual === null) {
        unjudged.push({ ...named, actual: standby.reason ?? 'not known' });
      } else if (holds(condition.operator, actual, condition.limit)) {
        failed.push({ ...named, actual: shown(unit, actual) });
      }
    }
  }
  return { failed, unjudged };
}

/** A probe that was not replayed in time took longer than any limit. */
function probeOf(standby: StandbyReport, { probeDeadlineMs }: ReplicaReport): number | null {
  return standby.probeMs ?? (probeDeadlineMs !== null && standby.reachable ? Number.POSITIVE_INFINITY : null);
}

function shown(unit: 'duration' | 'size' | 'count', value: number): string {
  switch (unit) {
    case 'duration':
      return Number.isFinite(value) ? formatDuration(value) : 'not replayed in time';
    case 'size':
      return formatSize(value);
    case 'count':
      return String(value);
  }
}

import { formatDuration, parseDuration } from '../config/units.ts';
import { KpipeError } from '../errors.ts';
import { neverDrains, type GroupLag } from './lag-report.ts';
import { lagStatuses } from './status.ts';

/**
 * `--fail-on 'time>5m,loss<6h,lag>1000,status>=warn'`: conditions, any of which fails a group. A figure that is not
 * known meets no condition; it is named apart, so that nobody takes "not known" for "fine".
 */
export interface FailCondition {
  readonly metric: FailMetric;
  readonly operator: FailOperator;
  /** ms for times, records, records a second, or a rank in `lagStatuses`. */
  readonly limit: number;
  /** As written. */
  readonly text: string;
}

const metrics = {
  time: { unit: 'duration', example: 'time>5m' },
  loss: { unit: 'duration', example: 'loss<6h' },
  drain: { unit: 'duration', example: 'drain>1h' },
  lag: { unit: 'count', example: 'lag>1000' },
  lost: { unit: 'count', example: 'lost>0' },
  in: { unit: 'count', example: 'in>5k' },
  out: { unit: 'count', example: 'out<10' },
  members: { unit: 'count', example: 'members<1' },
  status: { unit: 'status', example: 'status>=warn' },
} as const satisfies Readonly<
  Record<string, { readonly unit: 'duration' | 'count' | 'status'; readonly example: string }>
>;

export type FailMetric = keyof typeof metrics;
export type FailOperator = '>' | '>=' | '<' | '<=' | '=' | '!=';

const operators: Readonly<Record<FailOperator, (actual: number, limit: number) => boolean>> = {
  '>': (actual, limit) => actual > limit,
  '>=': (actual, limit) => actual >= limit,
  '<': (actual, limit) => actual < limit,
  '<=': (actual, limit) => actual <= limit,
  '=': (actual, limit) => actual === limit,
  '!=': (actual, limit) => actual !== limit,
};

/** @throws KPIPE_USAGE naming the condition that is wrong */
export function parseFailOn(expression: string): readonly FailCondition[] {
  return expression.split(',').map((part) => parseCondition(part.trim()));
}

/** A condition's three parts, whatever it is about; undefined: it is none. */
export function splitCondition(
  text: string,
): { readonly name: string; readonly operator: FailOperator; readonly value: string } | undefined {
  const match = /^([a-z]+)\s*(>=|<=|!=|>|<|=)\s*(\S+)$/.exec(text);
  const [, name = '', operator = '', value = ''] = match ?? [];
  return isOperator(operator) ? { name, operator, value } : undefined;
}

export function holds(operator: FailOperator, actual: number, limit: number): boolean {
  return operators[operator](actual, limit);
}

function parseCondition(text: string): FailCondition {
  const { name, operator, value } = splitCondition(text) ?? {};
  if (name === undefined || operator === undefined || value === undefined || !isMetric(name)) {
    throw new KpipeError('KPIPE_USAGE', `--fail-on: not a condition: ${text === '' ? '(empty)' : text}`, {
      next: `write conditions such as ${Object.values(metrics)
        .map(({ example }) => example)
        .join(', ')}`,
    });
  }
  const limit = parseLimit(metrics[name].unit, value);
  if (limit === undefined) {
    throw new KpipeError('KPIPE_USAGE', `--fail-on: ${value} is no ${metrics[name].unit} in ${text}`, {
      next: `write it as in ${metrics[name].example}${name === 'status' ? ` (${lagStatuses.join(', ')})` : ''}`,
    });
  }
  return { metric: name, operator, limit, text };
}

function isMetric(name: string): name is FailMetric {
  return Object.hasOwn(metrics, name);
}

function isOperator(operator: string): operator is FailOperator {
  return Object.hasOwn(operators, operator);
}

function parseLimit(unit: 'duration' | 'count' | 'status', value: string): number | undefined {
  switch (unit) {
    case 'duration':
      return parseDuration(value);
    case 'count':
      return parseCount(value);
    case 'status': {
      const rank = lagStatuses.findIndex((status) => status === value.toLowerCase());
      return rank < 0 ? undefined : rank;
    }
  }
}

/** `1000`, `5k`, `2M`; not `5m`, which are minutes. */
function parseCount(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([kM])?$/.exec(text);
  const scale = match?.[2] === undefined ? 1 : match[2] === 'k' ? 1000 : 1_000_000;
  return match === null ? undefined : Number(match[1]) * scale;
}

export interface LagProblem {
  readonly role: string | null;
  readonly group: string;
  readonly condition: string;
  /** `12m3s`, `88310`, `stop`; for `unjudged` why the figure is not known. */
  readonly actual: string;
}

export interface FailOnResult {
  readonly failed: readonly LagProblem[];
  readonly unjudged: readonly LagProblem[];
}

export function evaluateFailOn(conditions: readonly FailCondition[], groups: readonly GroupLag[]): FailOnResult {
  const checked = groups.flatMap((group) =>
    conditions.map((condition) => ({ group, condition, actual: actualOf(group, condition) })),
  );
  const name = ({ group, condition }: (typeof checked)[number], actual: string): LagProblem => ({
    role: group.role,
    group: group.group,
    condition: condition.text,
    actual,
  });
  return {
    failed: checked.flatMap((check) =>
      check.actual.value !== null && holds(check.condition.operator, check.actual.value, check.condition.limit)
        ? [name(check, shown(check.condition.metric, check.actual.value))]
        : [],
    ),
    unjudged: checked.flatMap((check) => (check.actual.value === null ? [name(check, check.actual.reason)] : [])),
  };
}

export interface LagAlerts {
  /** ms */
  readonly time?: number | undefined;
  /** ms */
  readonly lossIn?: number | undefined;
}

/** `--check`: what is wrong whatever was wished for, and what kpipe.yaml's alerts name. */
export function alertProblems(groups: readonly GroupLag[], { time, lossIn }: LagAlerts): readonly LagProblem[] {
  const conditions = ['lost>0', 'status>=stall', ...(time === undefined ? [] : [`time>${formatDuration(time)}`])];
  const { failed } = evaluateFailOn(conditions.map(parseCondition), groups);
  // Whoever has read everything has a whole retention, however short that is.
  const behind = groups.filter(({ lagRecords }) => (lagRecords ?? 0) > 0);
  const losing = lossIn === undefined ? [] : [parseCondition(`loss<${formatDuration(lossIn)}`)];
  return [...failed, ...evaluateFailOn(losing, behind).failed];
}

type Actual = { readonly value: number } | { readonly value: null; readonly reason: string };

function actualOf(group: GroupLag, { metric, limit }: FailCondition): Actual {
  const orReason = (value: number | null, figure: string): Actual =>
    value === null ? { value, reason: group.unknown[figure] ?? 'not known' } : { value };
  switch (metric) {
    case 'time':
      return orReason(group.timeLagMs, 'timeLagMs');
    case 'loss':
      return orReason(group.lossInMs, 'lossInMs');
    case 'drain':
      // A lag that does not fall takes longer than any limit.
      return group.unknown['drainMs'] === neverDrains
        ? { value: Number.POSITIVE_INFINITY }
        : orReason(group.drainMs, 'drainMs');
    case 'lag':
      return orReason(group.lagRecords, 'lagRecords');
    case 'lost':
      return { value: group.lostRecords };
    case 'in':
      return orReason(group.inPerSec, 'inPerSec');
    case 'out':
      return orReason(group.outPerSec, 'outPerSec');
    case 'members':
      return group.state === null
        ? { value: null, reason: 'the group could not be described' }
        : { value: group.members };
    case 'status':
      // Not known is worse than ok only for who says so: status>=unknown.
      return group.status === 'unknown' && limit !== lagStatuses.indexOf('unknown')
        ? { value: null, reason: group.reason ?? 'not known' }
        : { value: lagStatuses.indexOf(group.status) };
  }
}

function shown(metric: FailMetric, value: number): string {
  switch (metrics[metric].unit) {
    case 'duration':
      return Number.isFinite(value) ? formatDuration(value) : 'never';
    case 'count':
      return String(value);
    case 'status':
      return lagStatuses[value] ?? 'unknown';
  }
}

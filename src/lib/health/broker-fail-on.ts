import { formatDuration, formatSize, parseDuration, parseSize } from '../config/units.ts';
import { KpipeError } from '../errors.ts';
import { holds, splitCondition, type FailOperator } from '../offsets/fail-on.ts';
import {
  brokerProblemCodes,
  type BrokerProblemCode,
  type BrokerReport,
  type LogDirectoryReport,
  type PartitionCounts,
} from './broker-report.ts';

/**
 * `--fail-on 'offline>0,used>85,full<3d,UNDER_MIN_ISR'`: counts of the cluster, figures of each log directory, and names of
 * problems, any of which fails. A figure that is not known meets no condition; it is named apart.
 */
export type BrokerCondition =
  | {
      readonly kind: 'count';
      readonly metric: CountMetric;
      readonly operator: FailOperator;
      readonly limit: number;
      readonly text: string;
    }
  | {
      readonly kind: 'disk';
      readonly metric: DiskMetric;
      readonly operator: FailOperator;
      readonly limit: number;
      readonly text: string;
    }
  | { readonly kind: 'problem'; readonly code: BrokerProblemCode; readonly text: string };

const counts = {
  offline: 'offline',
  undermin: 'underMinIsr',
  atmin: 'atMinIsr',
  underreplicated: 'underReplicated',
  notpreferred: 'notPreferred',
  shrinks: 'isrShrinks',
} as const satisfies Readonly<Record<string, keyof PartitionCounts>>;
type CountMetric = keyof typeof counts | 'down' | 'problems';

const disks = {
  used: { parse: parsePercent, show: (value: number) => `${value} %` },
  free: { parse: parseSize, show: formatSize },
  full: { parse: parseDuration, show: formatDuration },
} as const;
type DiskMetric = keyof typeof disks;

const examples = 'offline>0, undermin>0, down>0, used>85, free<20GB, full<3d, problems>0, UNDER_REPLICATED';

export interface BrokerFailed {
  /** `1 /var/lib/kafka`, or null for the cluster. */
  readonly where: string | null;
  readonly condition: string;
  readonly actual: string;
}

export interface BrokerFailOn {
  readonly failed: readonly BrokerFailed[];
  readonly unjudged: readonly BrokerFailed[];
}

/** @throws KPIPE_USAGE naming the condition that is wrong */
export function parseBrokerFailOn(expression: string): readonly BrokerCondition[] {
  return expression.split(',').map((part) => parseCondition(part.trim()));
}

function parseCondition(text: string): BrokerCondition {
  const code = brokerProblemCodes.find((each) => each === text.toUpperCase());
  if (code !== undefined) {
    return { kind: 'problem', code, text };
  }
  const { name = '', operator, value = '' } = splitCondition(text) ?? {};
  if (operator !== undefined && isDisk(name)) {
    const limit = disks[name].parse(value);
    if (limit !== undefined) {
      return { kind: 'disk', metric: name, operator, limit, text };
    }
  }
  if (operator !== undefined && isCount(name) && /^\d+$/.test(value)) {
    return { kind: 'count', metric: name, operator, limit: Number(value), text };
  }
  throw new KpipeError('KPIPE_USAGE', `--fail-on: not a condition: ${text === '' ? '(empty)' : text}`, {
    next: `write conditions such as ${examples}`,
  });
}

function isDisk(name: string): name is DiskMetric {
  return Object.hasOwn(disks, name);
}

function isCount(name: string): name is CountMetric {
  return Object.hasOwn(counts, name) || name === 'down' || name === 'problems';
}

/** `85`, `85%`. */
function parsePercent(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)%?$/.exec(text);
  return match === null ? undefined : Number(match[1]);
}

export function evaluateBrokerFailOn(conditions: readonly BrokerCondition[], report: BrokerReport): BrokerFailOn {
  const verdicts = conditions.map((condition) => evaluate(condition, report));
  return {
    failed: verdicts.flatMap(({ failed }) => failed),
    unjudged: verdicts.flatMap(({ unjudged }) => unjudged),
  };
}

function evaluate(condition: BrokerCondition, report: BrokerReport): BrokerFailOn {
  switch (condition.kind) {
    case 'problem': {
      const found = report.problems.filter(({ code }) => code === condition.code);
      return {
        failed: found.map(({ broker, detail }) => ({
          where: broker === null ? null : String(broker),
          condition: condition.text,
          actual: detail,
        })),
        unjudged: [],
      };
    }
    case 'count':
      return evaluateCount(condition, report);
    case 'disk':
      return evaluateDisks(condition, report);
  }
}

function evaluateCount(
  { metric, operator, limit, text }: Extract<BrokerCondition, { kind: 'count' }>,
  report: BrokerReport,
): BrokerFailOn {
  const actual = countOf(metric, report);
  const named = { where: null, condition: text };
  if (actual === null) {
    return { failed: [], unjudged: [{ ...named, actual: 'seen only once' }] };
  }
  return { failed: holds(operator, actual, limit) ? [{ ...named, actual: String(actual) }] : [], unjudged: [] };
}

function countOf(metric: CountMetric, { brokers, problems, partitions }: BrokerReport): number | null {
  switch (metric) {
    case 'down':
      return brokers.filter(({ state }) => state !== 'up').length;
    case 'problems':
      return problems.filter(({ level }) => level !== 'notice').length;
    default:
      return partitions[counts[metric]];
  }
}

function evaluateDisks(
  { metric, operator, limit, text }: Extract<BrokerCondition, { kind: 'disk' }>,
  { brokers }: BrokerReport,
): BrokerFailOn {
  const failed: BrokerFailed[] = [];
  const unjudged: BrokerFailed[] = [];
  for (const { id, logDirectories, reason } of brokers) {
    if (logDirectories.length === 0) {
      unjudged.push({ where: String(id), condition: text, actual: reason ?? 'the broker does not tell' });
    }
    for (const directory of logDirectories) {
      const named = { where: `${id} ${directory.path}`, condition: text };
      const actual = figureOf(metric, directory);
      if (actual === null) {
        unjudged.push({ ...named, actual: directory.forecastReason ?? 'the broker does not tell' });
      } else if (holds(operator, actual, limit)) {
        failed.push({ ...named, actual: Number.isFinite(actual) ? disks[metric].show(actual) : 'never' });
      }
    }
  }
  return { failed, unjudged };
}

function figureOf(metric: DiskMetric, directory: LogDirectoryReport): number | null {
  switch (metric) {
    case 'used':
      return directory.usedPercent;
    case 'free':
      return directory.usableBytes;
    case 'full':
      // A disk that lasts is full later than any limit.
      return directory.fullInMs ?? (directory.forecastReason === null ? Number.POSITIVE_INFINITY : null);
  }
}

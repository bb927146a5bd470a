import { formatDuration, parseDuration } from '../config/units.ts';
import { KpipeError } from '../errors.ts';
import { holds, splitCondition, type FailOperator } from '../offsets/fail-on.ts';

/** What `kpipe latency` answers; the JSON contract of `latency --json`. Times are ms from just before the record is handed to the producer. */
export interface LatencyReport {
  /** ISO 8601. */
  readonly observedAt: string;
  readonly clusterId: string;
  readonly topic: string;
  /** null: on a topic of its own. */
  readonly role: string | null;
  readonly probes: number;
  readonly partitions: number;
  readonly ratePerSec: number;
  readonly lostAfterMs: number;
  readonly stages: readonly StageLatency[];
  /** Why probes could not be produced. */
  readonly problems: readonly string[];
}

/** `ack`: acked by all in-sync replicas · `consume`: with a read-committed consumer · `stored`: in the role's commit. */
export type Stage = 'ack' | 'consume' | 'stored';

export interface StageLatency {
  readonly stage: Stage;
  readonly measured: number;
  /** Of the probes, those that did not get there in time. */
  readonly lost: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly maxMs: number | null;
  readonly histogram: readonly Bucket[];
}

export interface Bucket {
  /** Inclusive; null: no bound. */
  readonly upToMs: number | null;
  readonly count: number;
}

const bounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000];

/** @param latencies of the probes that got there, in any order */
export function stageLatency(stage: Stage, latencies: readonly number[], probes: number): StageLatency {
  const sorted = latencies.toSorted((left, right) => left - right);
  return {
    stage,
    measured: sorted.length,
    lost: probes - sorted.length,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    maxMs: percentile(sorted, 1),
    histogram: histogram(sorted),
  };
}

/** Nearest rank: a value that was measured, never one in between. */
function percentile(sorted: readonly number[], share: number): number | null {
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  return value === undefined ? null : Math.round(value * 100) / 100;
}

/** From the first to the last bucket that holds any. */
function histogram(sorted: readonly number[]): readonly Bucket[] {
  const buckets = [...bounds, null].map((upToMs, index): Bucket => {
    const above = bounds[index - 1] ?? Number.NEGATIVE_INFINITY;
    return { upToMs, count: sorted.filter((ms) => ms > above && ms <= (upToMs ?? Number.POSITIVE_INFINITY)).length };
  });
  const filled = buckets.map(({ count }) => count > 0);
  return buckets.slice(Math.max(0, filled.indexOf(true)), filled.lastIndexOf(true) + 1);
}

/** `--fail-on 'ack>50ms,stored>2s,lost>0'`: the p99 of a stage, or probes that any stage lost. */
export interface LatencyCondition {
  readonly metric: Stage | 'lost';
  readonly operator: FailOperator;
  readonly limit: number;
  readonly text: string;
}

const metrics = ['ack', 'consume', 'stored', 'lost'] as const;

/** @throws KPIPE_USAGE naming the condition that is wrong */
export function parseLatencyFailOn(expression: string): readonly LatencyCondition[] {
  return expression.split(',').map((part) => {
    const text = part.trim();
    const { name, operator, value = '' } = splitCondition(text) ?? {};
    const metric = metrics.find((each) => each === name);
    const limit = metric === 'lost' ? wholeNumber(value) : parseDuration(value);
    if (metric === undefined || operator === undefined || limit === undefined) {
      throw new KpipeError('KPIPE_USAGE', `--fail-on: not a condition: ${text === '' ? '(empty)' : text}`, {
        next: 'write conditions such as ack>50ms, consume>100ms, stored>2s, lost>0 (times are p99)',
      });
    }
    return { metric, operator, limit, text };
  });
}

function wholeNumber(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

export interface LatencyFailed {
  readonly condition: string;
  readonly actual: string;
}

/** A stage that measured nothing took longer than any limit; one that was not measured at all meets no condition. */
export function evaluateLatencyFailOn(
  conditions: readonly LatencyCondition[],
  { stages }: Pick<LatencyReport, 'stages'>,
): readonly LatencyFailed[] {
  return conditions.flatMap(({ metric, operator, limit, text }): readonly LatencyFailed[] => {
    if (metric === 'lost') {
      const lost = Math.max(0, ...stages.map((stage) => stage.lost));
      return holds(operator, lost, limit) ? [{ condition: text, actual: String(lost) }] : [];
    }
    const stage = stages.find((each) => each.stage === metric);
    const actual = stage === undefined ? null : (stage.p99Ms ?? Number.POSITIVE_INFINITY);
    return actual !== null && holds(operator, actual, limit)
      ? [{ condition: text, actual: Number.isFinite(actual) ? formatDuration(actual) : 'none arrived' }]
      : [];
  });
}

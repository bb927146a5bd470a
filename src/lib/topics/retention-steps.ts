import { setTimeout as pause } from 'node:timers/promises';

import { formatDuration } from '../config/units.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { Change } from './change.ts';

/** A retention that is lowered bit by bit, so that disks and readers are not surprised, and one can still stop. */
export interface RetentionSteps {
  /** In how many steps; the last one is the declared value. */
  readonly steps: number;
  /** Between two: the brokers look for what has expired every five minutes by default. */
  readonly pauseMs: number;
}

/** The values on the way, without the last one: equal steps from what is in effect. Pure. */
export function retentionsBetween(fromMs: number, toMs: number, steps: number): readonly number[] {
  if (fromMs <= toMs) {
    return [];
  }
  return Array.from({ length: Math.max(0, steps - 1) }, (_, index) =>
    Math.round(fromMs - ((fromMs - toMs) * (index + 1)) / steps),
  );
}

export interface LoweringOptions extends RetentionSteps {
  readonly nowMs: number;
  readonly signal: AbortSignal;
  /** Before each value is set. */
  readonly onStep: (retentionMs: number, text: string) => void;
}

/** Sets every value on the way and waits after each. @throws the signal's reason: the retention stays at the last value set */
export async function lowerRetention(
  admin: ClusterAdmin,
  change: Extract<Change, { kind: 'config' }>,
  options: LoweringOptions,
): Promise<void> {
  const fromMs = await retentionInEffect(admin, change.topic, options.nowMs);
  const values = retentionsBetween(fromMs, Number(change.to), options.steps);
  for (const [index, retentionMs] of values.entries()) {
    options.signal.throwIfAborted();
    const text = `${change.topic}: retention.ms ${formatDuration(retentionMs)} (step ${index + 1} of ${options.steps}), then ${formatDuration(options.pauseMs)} pause`;
    options.onStep(retentionMs, text);
    await admin.alterConfigs({ topic: change.topic, set: { 'retention.ms': String(retentionMs) } });
    await pause(options.pauseMs, undefined, { signal: options.signal }).catch(() => options.signal.throwIfAborted());
  }
}

/** The topic's retention, or the age of its oldest record where that is less: above it nothing happens. */
async function retentionInEffect(admin: ClusterAdmin, topic: string, nowMs: number): Promise<number> {
  const [configs, described] = await Promise.all([admin.topicConfigs([topic]), admin.describeTopics([topic])]);
  const set = Number(configs.get(topic)?.get('retention.ms')?.value ?? -1);
  const partitions = (described[0]?.partitions ?? []).map(({ partition }) => ({ topic, partition }));
  const first = await admin.listOffsets(partitions, { timestampMs: 0 });
  const times = first.flatMap(({ timestampMs }) => (timestampMs === null ? [] : [timestampMs]));
  const oldestMs = times.length === 0 ? 0 : Math.max(0, nowMs - Math.min(...times));
  return set < 0 ? oldestMs : Math.min(set, oldestMs);
}

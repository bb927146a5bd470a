import { formatDuration } from '../../lib/config/units.ts';
import type { Freshness } from '../../ui/lag-screen-model.ts';
import { escapeControls } from '../output/escape.ts';

/** As `PartState` of lib/metrics has it. */
interface Seen {
  readonly seenAtMs: number | null;
  readonly lookMs: number | null;
  readonly failure: string | null;
  readonly failedLooks: number;
}

export interface Clock {
  readonly nowMs: number;
  /** Between two looks at this part; null: nobody looks, on purpose. */
  readonly intervalMs: number | null;
}

/** Looks may take their time: only this late they are called late. */
const lateMs = 8000;

/**
 * How old what is shown is. A look that failed says why; one that does not come back says so after a while.
 * @param requests that the last look cost; null: not known
 */
export function freshnessOf(seen: Seen, clock: Clock, requests: number | null): Freshness {
  return {
    observedAt: seen.seenAtMs === null ? null : clockTime(seen.seenAtMs),
    stale: staleOf(seen, clock),
    cost: costOf(seen.lookMs, requests),
  };
}

function staleOf({ seenAtMs, failure, failedLooks }: Seen, { nowMs, intervalMs }: Clock): string | null {
  const age = seenAtMs === null ? '' : ` ${formatAge(nowMs - seenAtMs)}`;
  if (failure !== null && failedLooks > 0) {
    return `${seenAtMs === null ? 'NOT KNOWN' : `STALE${age}`}: ${escapeControls(failure)}`;
  }
  const isLate = seenAtMs !== null && intervalMs !== null && nowMs - seenAtMs > 2 * intervalMs + lateMs;
  return isLate ? `STALE${age}: no answer yet` : null;
}

function costOf(lookMs: number | null, requests: number | null): string | null {
  if (lookMs === null) {
    return null;
  }
  return requests === null ? `${Math.round(lookMs)}ms` : `${requests} requests ${Math.round(lookMs)}ms`;
}

/** Whole seconds: an age that is read, not measured. */
export function formatAge(ms: number): string {
  return formatDuration(Math.max(0, Math.round(ms / 1000)) * 1000 || 0).replace(/^0ms$/, '0s');
}

/** `14:02:11Z`. */
export function clockTime(atMs: number): string {
  return new Date(atMs).toISOString().replace(/^.*T([\d:]+).*$/, '$1Z');
}

import type { ClockReading } from '../clock.ts';

/** What `kpipe doctor` says of one thing that it looked at. */
export interface CheckResult {
  readonly name: string;
  readonly store: Store;
  /** False only at level `fail`. */
  readonly ok: boolean;
  readonly level: CheckLevel;
  readonly detail: string;
  /** What to do; null when there is nothing to do. */
  readonly next: string | null;
  /** How long the look at its store took. */
  readonly ms: number;
}

export type Store = 'kafka' | 'postgres' | 'redis' | 'bigquery';
export type CheckLevel = 'ok' | 'warn' | 'fail';

/** A check's outcome before it belongs to a store. */
export type Finding = Pick<CheckResult, 'name' | 'level' | 'detail' | 'next'>;

export function fine(name: string, detail: string): Finding {
  return { name, level: 'ok', detail, next: null };
}

export function warning(name: string, detail: string, next: string): Finding {
  return { name, level: 'warn', detail, next };
}

export function failing(name: string, detail: string, next: string): Finding {
  return { name, level: 'fail', detail, next };
}

const skewWarnMs = 1000;
const skewFailMs = 60_000;

/** Log partitions, TTLs and lag as time are wrong by as much as the clocks differ. */
export function clockFinding(name: string, clock: ClockReading): Finding {
  const offset = Math.round(clock.offsetMs);
  const certain = Math.abs(clock.offsetMs) - clock.uncertaintyMs;
  const detail = `${offset >= 0 ? '+' : ''}${offset} ms against this machine (± ${Math.ceil(clock.uncertaintyMs)} ms)`;
  const next = 'synchronise the clocks of both machines (chrony, systemd-timesyncd)';
  if (certain > skewFailMs) {
    return failing(name, detail, next);
  }
  return certain > skewWarnMs ? warning(name, detail, next) : fine(name, detail);
}

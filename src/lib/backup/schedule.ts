/** When the next backup is due, and when one was missed. All times are ms since the epoch. */
export interface ScheduleState {
  readonly everyMs: number;
  /** Of the newest backup; null when there is none. */
  readonly lastCompletedAtMs: number | null;
}

/** At most a twentieth of the interval and never more than 10 minutes: many hosts do not begin at once. */
export function jitterMs(everyMs: number, random: () => number): number {
  return Math.round(random() * Math.min(everyMs / 20, 600_000));
}

/** The next beginning, without jitter: at once where there is no backup, or where one is overdue. */
export function dueAtMs({ everyMs, lastCompletedAtMs }: ScheduleState, nowMs: number): number {
  return lastCompletedAtMs === null ? nowMs : Math.max(nowMs, lastCompletedAtMs + everyMs);
}

/** A run is missed when a whole interval has passed since it was due, and no backup was made. */
export function isMissed(dueMs: number, everyMs: number, nowMs: number): boolean {
  return nowMs >= dueMs + everyMs;
}

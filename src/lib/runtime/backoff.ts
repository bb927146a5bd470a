import { setTimeout as sleep } from 'node:timers/promises';

export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
}

/** Full jitter: anything from 0 to the exponential bound, so that many who wait do not come back at once. */
export function backoffMs(attempt: number, { baseMs, capMs }: BackoffOptions, random: () => number): number {
  return random() * Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
}

/** Waits; an abort ends the wait early and without an error. */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) {
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  }
}

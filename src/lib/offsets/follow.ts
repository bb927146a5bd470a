import { KpipeError } from '../errors.ts';
import type { LagReport } from './lag-report.ts';

/** How often to look, changed while it runs. */
export class Pace {
  #intervalMs: number;
  #paused = false;
  #changed = Promise.withResolvers<void>();

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
  }

  get intervalMs(): number {
    return this.#intervalMs;
  }

  get paused(): boolean {
    return this.#paused;
  }

  change(to: { readonly intervalMs?: number; readonly paused?: boolean }): void {
    this.#intervalMs = to.intervalMs ?? this.#intervalMs;
    this.#paused = to.paused ?? this.#paused;
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Resolves when the next look is due, counted from when the last began; at once when the signal aborts. */
  async due(lookedAtMs: number, now: () => number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const leftMs = this.#paused ? Number.POSITIVE_INFINITY : lookedAtMs + this.#intervalMs - now();
      if (leftMs <= 0) {
        return;
      }
      await this.#wait(leftMs, signal);
    }
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    const done = Promise.withResolvers<void>();
    const timer = Number.isFinite(ms) ? setTimeout(done.resolve, ms) : undefined;
    signal.addEventListener('abort', () => done.resolve(), { once: true });
    await Promise.race([done.promise, this.#changed.promise]);
    clearTimeout(timer);
    done.resolve();
  }
}

export type Look<Report = LagReport> =
  | { readonly kind: 'report'; readonly report: Report }
  /** Nothing could be seen this time; the next look may see it. */
  | { readonly kind: 'failed'; readonly error: KpipeError };

export interface Follow<Report = LagReport> {
  readonly look: () => Promise<Report>;
  readonly pace: Pace;
  readonly now: () => number;
  /** Until then; undefined: until the signal. At least one look is made. */
  readonly untilMs?: number | undefined;
}

/** Looks at the pace given until the time is over or the signal aborts. */
export async function* followLag<Report = LagReport>(
  { look, pace, now, untilMs }: Follow<Report>,
  signal: AbortSignal,
): AsyncGenerator<Look<Report>, void, undefined> {
  while (!signal.aborted) {
    const lookedAtMs = now();
    yield await tryLook(look);
    if (untilMs !== undefined && now() >= untilMs) {
      return;
    }
    const nextMs = untilMs === undefined ? lookedAtMs : Math.min(lookedAtMs, untilMs - pace.intervalMs);
    await pace.due(nextMs, now, signal);
  }
}

async function tryLook<Report>(look: () => Promise<Report>): Promise<Look<Report>> {
  try {
    return { kind: 'report', report: await look() };
  } catch (error) {
    if (error instanceof KpipeError) {
      return { kind: 'failed', error };
    }
    throw error;
  }
}

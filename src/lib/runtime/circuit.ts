import { backoffMs, type BackoffOptions } from './backoff.ts';

/**
 * Keeps a server that is away from costing every call a time-out. Closed: it is asked. After a failure it is open: not
 * asked at all, until one trial is due; the trial's outcome closes it or opens it for longer.
 */
export class Circuit {
  readonly #backoff: BackoffOptions;
  readonly #random: () => number;
  #failures = 0;
  #trialAtMs = 0;
  #onTrial = false;

  constructor(backoff: BackoffOptions, random: () => number) {
    this.#backoff = backoff;
    this.#random = random;
  }

  get isClosed(): boolean {
    return this.#failures === 0;
  }

  /** Whether a trial is due now; answers yes to one caller only, until its outcome is told. */
  startTrial(nowMs: number): boolean {
    if (this.isClosed || this.#onTrial || nowMs < this.#trialAtMs) {
      return false;
    }
    this.#onTrial = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#onTrial = false;
  }

  /** At least half of the backoff: full jitter alone could mean no pause at all. */
  failed(nowMs: number): void {
    const bound = backoffMs(this.#failures, this.#backoff, () => 0.5 + this.#random() / 2);
    this.#failures += 1;
    this.#onTrial = false;
    this.#trialAtMs = nowMs + bound;
  }
}

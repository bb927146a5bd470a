import { messageOf } from '../../errors.ts';
import { AccessGrace, accessGraceMs, isAccessFailure } from '../access-failures.ts';
import { refusalsOf } from '../failures.ts';
import { backoffMs } from '../../runtime/backoff.ts';
import type { GroupCoordinator } from './coordinator.ts';
import type { MembershipOptions } from './membership.ts';

/** Longer than a coordinator takes to move when its broker is stopped in order; shorter silences are nobody's business. */
const tellAfterMs = 1000;
const backoff = { baseMs: 100, capMs: 500 };

/** How talking to the group goes: waits between attempts, one line when the group is away, and who waits for news. */
export class GroupContact {
  readonly #coordinator: GroupCoordinator;
  readonly #options: MembershipOptions;
  readonly #stop: AbortSignal;
  #failures = 0;
  #failingSince = 0;
  #told = false;
  readonly #grace = new AccessGrace({ wereGood: false });
  #next = Promise.withResolvers<void>();
  #wake: (() => void) | null = null;
  #woken = false;

  constructor(coordinator: GroupCoordinator, options: MembershipOptions, stop: AbortSignal) {
    this.#coordinator = coordinator;
    this.#options = options;
    this.#stop = stop;
    stop.addEventListener('abort', () => this.wake(), { once: true });
  }

  succeeded(): void {
    this.#failures = 0;
    this.#grace.accepted();
    if (this.#told) {
      this.#told = false;
      this.#options.onAway(null);
    }
    this.#news();
  }

  /**
   * Waits a little: capped, with full jitter.
   * @throws the error when it says that our credentials are refused, and they were never good, or not for a while
   */
  async failed(error: unknown): Promise<void> {
    const { now, onAway, group, random } = this.#options;
    this.#endIfRefused(error);
    this.#failures += 1;
    if (this.#failures === 1) {
      this.#failingSince = now();
    }
    if (!this.#told && now() - this.#failingSince >= tellAfterMs && !this.#stop.aborted) {
      this.#told = true;
      const what = isAccessFailure(error)
        ? `Kafka does not let group ${group} go on for ${accessGraceMs / 1000} s at most`
        : `the coordinator of group ${group} does not answer`;
      onAway(`${what} (${reasonOf(error)})`);
    }
    this.#news();
    await this.pause(backoffMs(this.#failures, backoff, random));
  }

  #endIfRefused(error: unknown): void {
    if (isAccessFailure(error) && this.#grace.isOver(this.#options.now())) {
      throw error;
    }
  }

  /** Whoever joins again and again must not do so as fast as it can. */
  breathe(): Promise<void> {
    return this.pause(this.#options.random() * 100);
  }

  /** Nobody who may count our silence has answered for a whole session. */
  isExpired(sessionMs: number): boolean {
    return this.#options.now() - this.#coordinator.contactAt > sessionMs;
  }

  next(): Promise<void> {
    return this.#next.promise;
  }

  #news(): void {
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  /** Until the time is over, or somebody wakes it; also when that was just before. */
  async pause(ms: number): Promise<void> {
    if (this.#woken || this.#stop.aborted) {
      this.#woken = false;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
    this.#wake = null;
    this.#woken = false;
  }

  /** There is something to tell the group. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }
}

/** The driver's own text of a refusal names the request, not the reason. */
function reasonOf(error: unknown): string {
  if (isAccessFailure(error)) {
    return error.message;
  }
  const ids = refusalsOf(error).map(({ id }) => id);
  return ids.length === 0 ? messageOf(error) : [...new Set(ids)].join(', ');
}

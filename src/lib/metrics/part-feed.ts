import { KpipeError, messageOf } from '../errors.ts';
import { followLag, type Look, type Pace } from '../offsets/follow.ts';

/** What was last seen of a part, for a reader that comes at any time. */
export interface PartState<Report> {
  /** The last look that succeeded; null: none yet. */
  readonly report: Report | null;
  /** When it began, ms since the epoch. */
  readonly seenAtMs: number | null;
  readonly lookMs: number | null;
  /** Why the last look failed; null: it did not. */
  readonly failure: string | null;
  readonly failedLooks: number;
}

/**
 * Looks at a part at a pace of its own. Looks never overlap and readers cause none, however often they come: a slow store
 * makes its figures old, not the reading slow.
 */
export class PartFeed<Report> {
  readonly #now: () => number;
  readonly #changed: () => void;
  #state: PartState<Report> = {
    report: null,
    seenAtMs: null,
    lookMs: null,
    failure: 'not looked at yet',
    failedLooks: 0,
  };

  /** @param changed is called after each look; a reader that comes by itself needs none */
  constructor(now: () => number, changed: () => void = () => undefined) {
    this.#now = now;
    this.#changed = changed;
  }

  get state(): PartState<Report> {
    return this.#state;
  }

  /** Looks until the signal aborts. A look that fails is a state, never an end. */
  async follow(look: () => Promise<Report>, pace: Pace, signal: AbortSignal): Promise<void> {
    let beganAtMs = this.#now();
    const coded = async (): Promise<Report> => {
      beganAtMs = this.#now();
      try {
        return await look();
      } catch (error) {
        throw error instanceof KpipeError
          ? error
          : new KpipeError('KPIPE_INTERNAL', messageOf(error), { cause: error });
      }
    };
    for await (const seen of followLag({ look: coded, pace, now: this.#now }, signal)) {
      this.take(seen, beganAtMs);
    }
  }

  /** What a watch of the part’s own hands on; when its look began is not known then. */
  take(look: Look<Report>, beganAtMs: number | null = null): void {
    this.#state =
      look.kind === 'report'
        ? {
            ...this.#state,
            report: look.report,
            seenAtMs: beganAtMs ?? this.#now(),
            lookMs: beganAtMs === null ? null : this.#now() - beganAtMs,
            failure: null,
          }
        : { ...this.#state, failure: look.error.message, failedLooks: this.#state.failedLooks + 1 };
    this.#changed();
  }
}

/** The report while it is young enough to be shown. */
export function freshReport<Report>(
  { report, seenAtMs }: PartState<Report>,
  keptMs: number,
  nowMs: number,
): Report | null {
  return seenAtMs === null || nowMs - seenAtMs > keptMs ? null : report;
}

import { Pace } from '../offsets/follow.ts';

/** What a dashboard looks at, each at a pace of its own. */
export const dashboardParts = ['lag', 'brokers', 'topics', 'processes', 'stores', 'replica', 'backup'] as const;
export type DashboardPart = (typeof dashboardParts)[number];

/** Looked at so often while no view shows it; null: not at all. */
const hiddenMs: Readonly<Record<DashboardPart, number | null>> = {
  // The charts go on while another view is open.
  lag: 10_000,
  brokers: 15_000,
  topics: null,
  processes: null,
  stores: null,
  replica: 10_000,
  backup: 60_000,
};

/** Not more often than this, however short the interval: a look that costs its store connections or signatures. */
const leastMs: Readonly<Partial<Record<DashboardPart, number>>> = { stores: 10_000, backup: 10_000 };

/**
 * One pace for people, and from it one for each part: what is shown is looked at every interval, what only the header
 * needs more seldom, and the rest not at all.
 */
export class DashboardPaces {
  readonly #paces: ReadonlyMap<DashboardPart, Pace>;
  #intervalMs: number;
  #paused = false;
  #shown: readonly DashboardPart[] = ['lag'];

  constructor(intervalMs: number) {
    this.#intervalMs = intervalMs;
    this.#paces = new Map(dashboardParts.map((part) => [part, new Pace(intervalMs)]));
    this.#apply();
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
    this.#apply();
  }

  /** What the view that is open shows. */
  show(parts: readonly DashboardPart[]): void {
    this.#shown = parts;
    this.#apply();
  }

  of(part: DashboardPart): Pace {
    const pace = this.#paces.get(part);
    if (pace === undefined) {
      throw new RangeError(`no part ${part}`);
    }
    return pace;
  }

  #apply(): void {
    for (const [part, pace] of this.#paces) {
      const intervalMs = this.#intervalOf(part);
      pace.change({ paused: this.#paused || intervalMs === null, intervalMs: intervalMs ?? this.#intervalMs });
    }
  }

  #intervalOf(part: DashboardPart): number | null {
    if (this.#shown.includes(part)) {
      return Math.max(this.#intervalMs, leastMs[part] ?? 0);
    }
    const hidden = hiddenMs[part];
    return hidden === null ? null : Math.max(this.#intervalMs, hidden);
  }
}

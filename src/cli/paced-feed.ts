import { formatDuration } from '../lib/config/units.ts';

const intervalsMs = [500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/** What every screen that is drawn anew at a pace shows of it. */
interface PacedModel {
  readonly paused: boolean;
  readonly interval: string;
}

/** How often to look: one part's, or a whole dashboard's. */
interface ChangeablePace {
  readonly intervalMs: number;
  readonly paused: boolean;
  readonly change: (to: { readonly intervalMs?: number; readonly paused?: boolean }) => void;
}

/** A screen's model: who draws it subscribes, and its keys change the pace of the looks. */
export class PacedFeed<Model extends PacedModel> {
  readonly #pace: ChangeablePace;
  readonly #listeners = new Set<() => void>();
  #model: Model;

  constructor(pace: ChangeablePace, model: Model) {
    this.#pace = pace;
    this.#model = model;
  }

  readonly current = (): Model => this.#model;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly togglePause = (): void => {
    this.#pace.change({ paused: !this.#pace.paused });
    this.#set({ ...this.#model, paused: this.#pace.paused });
  };

  readonly changeInterval = (direction: 1 | -1): void => {
    const { intervalMs } = this.#pace;
    const next =
      direction === 1 ? intervalsMs.find((ms) => ms > intervalMs) : intervalsMs.findLast((ms) => ms < intervalMs);
    this.#pace.change({ intervalMs: next ?? intervalMs });
    this.#set({ ...this.#model, interval: formatDuration(this.#pace.intervalMs) });
  };

  protected update(part: Partial<Model>): void {
    this.#set({ ...this.#model, ...part });
  }

  #set(model: Model): void {
    this.#model = model;
    for (const listener of this.#listeners) {
      listener();
    }
  }
}

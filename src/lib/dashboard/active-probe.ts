import type { Config } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { measureLatency } from '../latency/measure.ts';
import type { LatencyReport } from '../latency/report.ts';

/** What has become of the probes that somebody asked for. */
export type ProbeState =
  | { readonly kind: 'none' }
  | { readonly kind: 'running'; readonly role: ProbeRole; readonly sent: number }
  | { readonly kind: 'measured'; readonly role: ProbeRole; readonly report: LatencyReport }
  | { readonly kind: 'failed'; readonly role: ProbeRole; readonly message: string; readonly next: string | null };

/** null: on a topic of its own. */
export type ProbeRole = 'events' | null;

export const probeCount = 20;
export const probesPerSec = 20;

/** Sends probes when it is asked to, one run at a time. */
export class ActiveProbe {
  readonly #config: Config;
  readonly #signal: AbortSignal;
  readonly #changed: (state: ProbeState) => void;
  #running: Promise<void> | null = null;

  constructor(config: Config, changed: (state: ProbeState) => void, signal: AbortSignal) {
    this.#config = config;
    this.#changed = changed;
    this.#signal = signal;
  }

  start(role: ProbeRole): void {
    this.#running ??= this.#measure(role).finally(() => {
      this.#running = null;
    });
  }

  /** Resolves when no run is left; whoever ends the signal waits for it, so that the probes' topic goes. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #measure(role: ProbeRole): Promise<void> {
    const onProgress = (sent: number): void => {
      if (sent % 5 === 0) {
        this.#changed({ kind: 'running', role, sent });
      }
    };
    this.#changed({ kind: 'running', role, sent: 0 });
    try {
      const options = { role, count: probeCount, ratePerSec: probesPerSec, onProgress };
      this.#changed({ kind: 'measured', role, report: await measureLatency(this.#config, options, this.#signal) });
    } catch (error) {
      const next = error instanceof KpipeError ? (error.next ?? null) : null;
      this.#changed({ kind: 'failed', role, message: messageOf(error), next });
    }
  }
}

import { stageLatency, type Stage, type StageLatency } from './report.ts';

interface Probe {
  readonly partition: number;
  readonly sentAt: number;
  readonly reached: Partial<Record<Stage, number>>;
  offset: bigint | null;
  failed: boolean;
}

/** When each probe got where, by a clock that only runs forward (ms). */
export class ProbeLog {
  readonly #probes = new Map<number, Probe>();
  readonly #stages: readonly Stage[];
  readonly #now: () => number;
  readonly #lostAfterMs: number;
  #changed = Promise.withResolvers<void>();

  constructor(stages: readonly Stage[], now: () => number, lostAfterMs: number) {
    this.#stages = stages;
    this.#now = now;
    this.#lostAfterMs = lostAfterMs;
  }

  sent(index: number, partition: number): void {
    this.#probes.set(index, { partition, sentAt: this.#now(), reached: {}, offset: null, failed: false });
  }

  acked(index: number, offset: bigint | null): void {
    const probe = this.#probes.get(index);
    if (probe !== undefined) {
      probe.offset ??= offset;
      this.#reach(probe, 'ack');
    }
  }

  consumed(index: number, offset: bigint): void {
    const probe = this.#probes.get(index);
    if (probe !== undefined) {
      probe.offset ??= offset;
      this.#reach(probe, 'consume');
    }
  }

  /** The role's position: everything below it is in its commits. */
  stored(partition: number, position: bigint): void {
    for (const probe of this.#probes.values()) {
      if (probe.partition === partition && probe.offset !== null && probe.offset < position) {
        this.#reach(probe, 'stored');
      }
    }
  }

  /** The broker refused it: it will get nowhere. */
  failed(index: number): void {
    const probe = this.#probes.get(index);
    if (probe !== undefined) {
      probe.failed = true;
      this.#wake();
    }
  }

  get isComplete(): boolean {
    return [...this.#probes.values()].every(
      ({ failed, reached }) => failed || this.#stages.every((stage) => reached[stage] !== undefined),
    );
  }

  /** Resolves when every probe that was sent is through, at the latest after `ms` or when the signal aborts. */
  async complete(ms: number, signal: AbortSignal): Promise<void> {
    const over = Promise.withResolvers<'over'>();
    const end = (): void => over.resolve('over');
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
    let waiting = !signal.aborted;
    while (waiting && !this.isComplete) {
      waiting = (await Promise.race([this.#changed.promise, over.promise])) !== 'over';
    }
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }

  latencies(): readonly StageLatency[] {
    const probes = [...this.#probes.values()];
    return this.#stages.map((stage) => {
      const reached = probes.flatMap(({ sentAt, reached: at }) => {
        const latencyMs = (at[stage] ?? Number.POSITIVE_INFINITY) - sentAt;
        return latencyMs <= this.#lostAfterMs ? [latencyMs] : [];
      });
      return stageLatency(stage, reached, probes.length);
    });
  }

  #reach(probe: Probe, stage: Stage): void {
    probe.reached[stage] ??= this.#now();
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

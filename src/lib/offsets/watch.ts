import type { Config } from '../config/load.ts';
import { openLagReader } from '../kafka/lag-reader.ts';
import { createPositionReader } from '../postgres/positions.ts';
import { historyKey, noHistory, remember, type LagHistory } from './history.ts';
import type { LagReport } from './lag-report.ts';
import { calculateLag } from './lag.ts';
import type { PartitionObservation } from './observation.ts';
import { observeLag, type LagSources } from './observe.ts';
import type { LagTarget } from './targets.ts';
import { partitionLagNow } from './partition-lag.ts';
import { defaultJudgement, type Judgement, type Lag } from './status.ts';

/** Connections for looking at lag. Closed whatever happens. */
export async function withLagSources<Result>(
  config: Config,
  work: (sources: LagSources) => Promise<Result>,
): Promise<Result> {
  const reader = await openLagReader(config.kafka);
  const positions = config.postgres === undefined ? null : createPositionReader(config.postgres);
  try {
    return await work({ reader, positions, now: Date.now });
  } finally {
    await Promise.all([reader.close(), positions?.close()]);
  }
}

/** Looks again and again; each look is judged with those before it. */
export class LagWatch {
  readonly #targets: readonly LagTarget[];
  readonly #sources: LagSources;
  readonly #judgement: Judgement;
  #history: LagHistory = new Map();

  constructor(targets: readonly LagTarget[], sources: LagSources, judgement: Judgement = defaultJudgement) {
    this.#targets = targets;
    this.#sources = sources;
    this.#judgement = judgement;
  }

  /** @throws KPIPE_KAFKA_UNREACHABLE; the next look may find it again */
  async look(): Promise<LagReport> {
    const startedAt = performance.now();
    const seen = await observeLag(this.#targets, this.#sources);
    this.#history = remember(
      this.#history,
      seen,
      (group, partition) => this.#lagOf(group.group, partition, seen.observedAtMs),
      this.#judgement,
    );
    const report = calculateLag(seen, this.#history, this.#judgement);
    return { ...report, cost: { requests: seen.requests, ms: Math.round(performance.now() - startedAt) } };
  }

  #lagOf(group: string, partition: PartitionObservation, nowMs: number): Lag | null {
    const { ends } = this.#history.get(historyKey(group, partition)) ?? noHistory;
    return partitionLagNow(partition, ends, nowMs);
  }
}

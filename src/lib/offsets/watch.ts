import type { Config } from '../config/load.ts';
import { openKafkaAdmin } from '../kafka/admin.ts';
import { openRecordTimeReader } from '../kafka/record-time.ts';
import { createPositionReader } from '../postgres/positions.ts';
import { historyKey, noHistory, remember, type LagHistory } from './history.ts';
import type { LagReport } from './lag-report.ts';
import { calculateLag } from './lag.ts';
import type { PartitionObservation } from './observation.ts';
import { observeLag, type LagSources, type LagTarget } from './observe.ts';
import { partitionLagNow } from './partition-lag.ts';
import { defaultJudgement, type Judgement, type Lag } from './status.ts';

/** Connections for looking at lag. Closed whatever happens. */
export async function withLagSources<Result>(
  config: Config,
  work: (sources: LagSources) => Promise<Result>,
): Promise<Result> {
  const admin = await openKafkaAdmin(config.kafka);
  const records = await openRecordTimeReader(config.kafka);
  const positions = config.postgres === undefined ? null : createPositionReader(config.postgres);
  try {
    return await work({ admin, records, positions, now: Date.now });
  } finally {
    await Promise.all([admin.close(), records.close(), positions?.close()]);
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
    const seen = await observeLag(this.#targets, this.#sources);
    this.#history = remember(
      this.#history,
      seen,
      (group, partition) => this.#lagOf(group.group, partition, seen.observedAtMs),
      this.#judgement,
    );
    return calculateLag(seen, this.#history, this.#judgement);
  }

  #lagOf(group: string, partition: PartitionObservation, nowMs: number): Lag | null {
    const { ends } = this.#history.get(historyKey(group, partition)) ?? noHistory;
    return partitionLagNow(partition, ends, nowMs);
  }
}

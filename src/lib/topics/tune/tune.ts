import type { Config } from '../../config/load.ts';
import { parseByteRate } from '../../config/units.ts';
import { KpipeError } from '../../errors.ts';
import { fullRequestBytes } from '../../bigquery/requests.ts';
import { selectSpecs } from '../draw-up.ts';
import { topicSpecs, type TopicSpec } from '../spec.ts';
import type { Advice, YamlEdit } from './advice.ts';
import { durabilityAdvice } from './durability.ts';
import { measureTopic, type TopicMeasure } from './measure.ts';
import { partitionsAdvice } from './partitions.ts';
import { producersAdvice } from './producers.ts';
import { retentionAdvice } from './retention.ts';
import { sinkAdvice } from './sink.ts';
import { watchTopics, type TuneObservation, type WatchProgress } from './watch.ts';
import { withTuneSources } from './sources.ts';
import { writeEdits, type WrittenEdits } from './write-edits.ts';

/** The JSON document of `kpipe topics tune`. */
export interface TopicTuning {
  readonly clusterId: string;
  /** ISO 8601, UTC. */
  readonly observedAt: string;
  /** How long it watched; 0: no declared topic exists. */
  readonly watchedMs: number;
  /** It was interrupted, and says what it had seen until then. */
  readonly endedEarly: boolean;
  readonly topics: readonly TunedTopic[];
  /** Declared, and not there yet. */
  readonly missing: readonly string[];
  /** What `--write` did; null: it was not asked for, or had nothing to write. */
  readonly written: WrittenEdits | null;
}

export interface TunedTopic {
  readonly topic: string;
  readonly measured: TopicMeasure;
  readonly advice: readonly Advice[];
}

export interface TuneRequest {
  /** Empty: every topic that kpipe.yaml declares. */
  readonly topics: readonly string[];
  readonly forMs: number;
  readonly headroom: number;
  /** What a partition is known to carry; null: nobody measured it. */
  readonly perPartitionBytesPerSec: number | null;
  /** Edit kpipe.yaml. */
  readonly write: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Watches the declared topics and advises. Nothing but kpipe.yaml is changed, and that only with `write`.
 * @throws KPIPE_USAGE for a topic that is not declared; KPIPE_INTERRUPTED when nothing was seen; KPIPE_KAFKA_…
 */
export async function tuneTopics(
  config: Config,
  request: TuneRequest,
  onProgress: (progress: WatchProgress) => void,
  signal: AbortSignal,
): Promise<TopicTuning> {
  const declared = topicSpecs(config).filter(({ origin }) => origin === 'declared');
  const specs = selectSpecs(declared, request.topics);
  const options = { forMs: request.forMs, now: Date.now, onProgress };
  const seen = await withTuneSources(config, (sources) => watchTopics(sources, specs, options, signal));
  const topics = adviseTopics(config, specs, seen, request);
  const edits = editsOf({ topics });
  return {
    clusterId: seen.clusterId,
    observedAt: new Date(seen.observedAtMs).toISOString(),
    watchedMs: Math.max(0, ...topics.map(({ measured }) => measured.watchedMs)),
    endedEarly: seen.endedEarly,
    topics,
    missing: seen.missing,
    written: request.write && edits.length > 0 ? writeEdits(config, edits, request.env) : null,
  };
}

/** What kpipe.yaml says that advice is held against. */
export type TunedConfig = Pick<Config, 'topics' | 'roles' | 'bigquery'>;

/** Every rule on every topic. Pure. */
export function adviseTopics(
  config: TunedConfig,
  specs: readonly TopicSpec[],
  seen: TuneObservation,
  { headroom, perPartitionBytesPerSec }: Pick<TuneRequest, 'headroom' | 'perPartitionBytesPerSec'>,
): readonly TunedTopic[] {
  return specs.flatMap((spec) => {
    const facts = seen.facts.find(({ topic }) => topic === spec.name);
    const declared = config.topics[spec.name];
    if (facts === undefined || declared === undefined) {
      return [];
    }
    const measure = measureTopic(facts, seen.looks);
    const { partitions } = declared;
    const advice = [
      partitionsAdvice({ spec, declared: partitions, measure, headroom, perPartitionBytesPerSec }),
      producersAdvice(measure),
      retentionAdvice({ spec, declared, measure, disk: seen.disk }),
      durabilityAdvice({ spec, declared, measure, brokers: seen.brokers }),
      ...sinkOf(config, spec, measure),
    ];
    return [{ topic: spec.name, measured: measure, advice }];
  });
}

/** For the topic that goes to BigQuery. */
function sinkOf(
  { roles, bigquery }: TunedConfig,
  { roles: readers }: TopicSpec,
  measure: TopicMeasure,
): readonly Advice[] {
  const { analytics } = roles;
  return analytics === undefined || bigquery === undefined || !readers.includes('analytics')
    ? []
    : [sinkAdvice({ measure, batch: analytics.batch, write: bigquery.write, fullRequestBytes })];
}

/** All that the advice would have otherwise in kpipe.yaml. */
function editsOf({ topics }: Pick<TopicTuning, 'topics'>): readonly YamlEdit[] {
  return topics.flatMap(({ advice }) => advice.flatMap(({ edits }) => edits));
}

/** `1.5`. @throws KPIPE_USAGE */
export function headroomOf(text: string): number {
  const headroom = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || headroom < 1 || headroom > 100) {
    throw new KpipeError('KPIPE_USAGE', `--headroom: ${text} is not a factor from 1 to 100`, {
      next: 'write --headroom 2 for twice the peak',
    });
  }
  return headroom;
}

/** `12MB/s`, in bytes a second. @throws KPIPE_USAGE */
export function perPartitionOf(text: string | undefined): number | null {
  const rate = text === undefined ? null : parseByteRate(text);
  if (rate === undefined || rate === 0) {
    throw new KpipeError('KPIPE_USAGE', `--per-partition: ${String(text)} is not a rate`, { next: 'write 12MB/s' });
  }
  return rate;
}

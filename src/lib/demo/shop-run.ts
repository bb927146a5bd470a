import type { Config } from '../config/load.ts';
import { openPublisher, type Delivery } from '../kafka/publisher.ts';
import { generatedRecords, type Outgoing } from '../produce/outgoing.ts';
import { produceRecords } from '../produce/produce.ts';
import type { ProduceSummary } from '../produce/tally.ts';
import { spreadOver } from '../shop/shop.ts';
import { shopTopics, topicsOf, type OrderState, type ProducerKind, type ShopTopic } from '../shop/types.ts';
import type { AckedRecord } from './findings.ts';

export interface ShopRunOptions {
  /** The shop's topics by their names here; one that is left out is not written. */
  readonly topics: Readonly<Partial<Record<ShopTopic, string | undefined>>>;
  readonly count: number;
  readonly ratePerSec: number;
  readonly seed: number;
  readonly run: string;
  readonly brokenShare: number;
  readonly ordersProjected: boolean;
  readonly nowMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (acked: number) => void;
}

export interface ShopRun {
  readonly acked: ReadonlyMap<ShopTopic, readonly SentRecord[]>;
  readonly problems: readonly string[];
}

export interface SentRecord extends AckedRecord {
  readonly ackedAtMs: number;
  readonly order: OrderState | null;
}

/** Who writes how much of it. */
const shares: Readonly<Record<ProducerKind, number>> = { app: 0.3, api: 0.3, worker: 0.4 };
const spanMs = 600_000;
const deliveryTimeoutMs = 60_000;

/**
 * The three kinds of producer at work at once, each with a connection of its own.
 * @throws KPIPE_KAFKA_UNREACHABLE, KPIPE_TOPIC_MISSING, KPIPE_INTERRUPTED
 */
export async function runShop(config: Config, options: ShopRunOptions): Promise<ShopRun> {
  const acked = new Map<ShopTopic, SentRecord[]>();
  const shopTopicOf = new Map(shopTopics.map((topic) => [options.topics[topic], topic]));
  const done: Record<ProducerKind, number> = { app: 0, api: 0, worker: 0 };
  const onAcked = (records: readonly Outgoing[], deliveries: readonly Delivery[]): void => {
    const ackedAtMs = Date.now();
    for (const [index, { topic, expect, id, order }] of records.entries()) {
      const delivery = deliveries[index];
      const shopTopic = shopTopicOf.get(topic);
      if (delivery?.kind === 'acked' && delivery.offset !== null && shopTopic !== undefined) {
        const sent = {
          partition: delivery.partition,
          offset: delivery.offset,
          expect: expect ?? 'stored',
          id,
          ackedAtMs,
          order,
        };
        const list = acked.get(shopTopic);
        if (list === undefined) {
          acked.set(shopTopic, [sent]);
        } else {
          list.push(sent);
        }
      }
    }
  };
  const summaries = await Promise.all(
    producersFor(options).map(async (kind) => {
      const onProgress = (settled: number): void => {
        done[kind] = settled;
        options.onProgress(done.app + done.api + done.worker);
      };
      return { kind, summary: await runProducer(config, kind, options, onProgress, onAcked) };
    }),
  );
  options.signal.throwIfAborted();
  return { acked, problems: summaries.flatMap(({ kind, summary }) => problemsOf(kind, summary)) };
}

/** Those that write any of the topics. */
function producersFor({ topics }: ShopRunOptions): readonly ProducerKind[] {
  return (['app', 'api', 'worker'] as const).filter((kind) =>
    topicsOf[kind].some((topic) => topics[topic] !== undefined),
  );
}

async function runProducer(
  config: Config,
  kind: ProducerKind,
  options: ShopRunOptions,
  onProgress: (settled: number) => void,
  onAcked: (records: readonly Outgoing[], deliveries: readonly Delivery[]) => void,
): Promise<ProduceSummary> {
  const { seed, run, brokenShare, ordersProjected, nowMs, signal } = options;
  const producers = producersFor(options);
  const share = shares[kind] / producers.reduce((sum, each) => sum + shares[each], 0);
  // The last one takes what rounding leaves over.
  const before = producers.slice(0, producers.indexOf(kind)).reduce((sum, each) => sum + shares[each], 0);
  const total = producers.reduce((sum, each) => sum + shares[each], 0);
  const count =
    Math.round((options.count * (before + shares[kind])) / total) - Math.round((options.count * before) / total);
  const topics = Object.fromEntries(
    Object.entries(options.topics).filter(([topic]) => topicsOf[kind].some((own) => own === topic)),
  );
  const timeOf = spreadOver(nowMs - spanMs, nowMs, count);
  const batches = generatedRecords({ kind, seed, run, brokenShare, ordersProjected, topics, timeOf });
  const publisher = await openPublisher(config.kafka, {
    clientId: `${config.kafka.clientId}-demo-${kind}`,
    deliveryTimeoutMs,
  });
  try {
    return await produceRecords({
      publisher,
      batches,
      count,
      ratePerSec: options.ratePerSec * share,
      signal,
      onProgress,
      onAcked,
    });
  } finally {
    await publisher.close();
  }
}

function problemsOf(kind: ProducerKind, { failed, failures, blockedBy }: ProduceSummary): readonly string[] {
  if (failed === 0) {
    return [];
  }
  const reason = blockedBy ?? failures[0];
  return [
    `producer ${kind}: ${failed} records were not acked${reason === undefined ? '' : `: ${reason.code} ${reason.message}`}`,
  ];
}

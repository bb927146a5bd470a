import { randomBytes } from 'node:crypto';

import type { Config, PostgresConfig } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';
import { withKafkaAdmin, type KafkaAdmin } from '../kafka/admin.ts';
import { PartitionFetcher } from '../kafka/fetch/partition-fetcher.ts';
import { openPublisher, type KafkaPublisher } from '../kafka/publisher.ts';
import { createPositionReader } from '../postgres/positions.ts';
import { wait } from '../runtime/backoff.ts';
import { ProbeLog } from './probe-log.ts';
import { probeIndex, probeRecord } from './probe-record.ts';
import { eventsTopic, ownTopic, type ProbeTopic } from './probe-topic.ts';
import type { LatencyReport, Stage } from './report.ts';

export interface LatencyOptions {
  /** null: a topic of its own, and no stage `stored`. */
  readonly role: 'events' | null;
  readonly count: number;
  readonly ratePerSec: number;
  readonly onProgress?: (sent: number) => void;
}

/** A probe that has not got through by then is lost. */
const lostAfterMs = 20_000;
/** How often the role's position is asked for, while a probe waits for it. */
const positionPollMs = 10;
const longestPollMs = 500;
const probeBytes = 1_000_000;

/**
 * Sends probes and times them to their ack, to a consumer, and to the role's commit. Connections are made and used before
 * the first probe that counts.
 * @throws KPIPE_REFUSED, KPIPE_CONFIG_INVALID, KPIPE_KAFKA_…, KPIPE_POSTGRES_…
 */
export async function measureLatency(
  config: Config,
  options: LatencyOptions,
  signal: AbortSignal,
): Promise<LatencyReport> {
  return withKafkaAdmin(config.kafka, async (admin) => {
    const place = options.role === null ? await ownTopic(admin) : await eventsTopic(config, admin);
    try {
      return await probe(config, admin, place, options, signal);
    } finally {
      await place.leave();
    }
  });
}

async function probe(
  config: Config,
  admin: KafkaAdmin,
  place: ProbeTopic,
  options: LatencyOptions,
  signal: AbortSignal,
): Promise<LatencyReport> {
  const { topic, clusterId } = place;
  const publisher = await openPublisher(config.kafka, { clientId: 'kpipe-latency', deliveryTimeoutMs: lostAfterMs });
  const fetcher = await PartitionFetcher.open(config.kafka, {
    topic,
    clientId: 'kpipe-latency',
    maxBytesPerPartition: probeBytes,
    maxBytes: probeBytes * 16,
    minBytes: 1,
    maxWaitMs: longestPollMs,
  });
  try {
    const partitions = await publisher.partitionCount(topic);
    const lane = new ProbeRun({ topic, partitions, publisher, fetcher, admin });
    await lane.begin();
    await lane.send({ count: partitions, ratePerSec: partitions, stages: ['ack', 'consume'], watch: null }, signal);
    const stages: readonly Stage[] = options.role === null ? ['ack', 'consume'] : ['ack', 'consume', 'stored'];
    const watch = options.role === null ? null : watchPositions(required(config), options.role, topic);
    const { count, ratePerSec, onProgress } = options;
    const sent = await lane.send({ count, ratePerSec, stages, watch, ...(onProgress && { onProgress }) }, signal);
    signal.throwIfAborted();
    return {
      observedAt: new Date().toISOString(),
      clusterId,
      topic,
      role: options.role,
      probes: count,
      partitions,
      ratePerSec,
      lostAfterMs,
      stages: sent.log.latencies(),
      problems: [...sent.problems],
    };
  } finally {
    await Promise.all([fetcher.close(), publisher.close()]);
  }
}

function required({ postgres, file }: Config): PostgresConfig {
  if (postgres === undefined) {
    throw new KpipeError('KPIPE_CONFIG_INVALID', `${file} has no postgres section`);
  }
  return postgres;
}

interface ProbeRunParts {
  readonly topic: string;
  readonly partitions: number;
  readonly publisher: KafkaPublisher;
  readonly fetcher: PartitionFetcher;
  readonly admin: KafkaAdmin;
}

interface Sending {
  readonly count: number;
  readonly ratePerSec: number;
  readonly stages: readonly Stage[];
  /** Asks for the role's positions until the signal aborts. */
  readonly watch: ((log: ProbeLog, signal: AbortSignal) => Promise<void>) | null;
  readonly onProgress?: (sent: number) => void;
}

interface Sent {
  readonly log: ProbeLog;
  readonly problems: ReadonlySet<string>;
}

/** One reader and one producer; rounds of probes share them. */
class ProbeRun {
  readonly #parts: ProbeRunParts;
  #reading: Promise<void> | undefined;
  #round: { readonly id: string; readonly log: ProbeLog } | undefined;

  constructor(parts: ProbeRunParts) {
    this.#parts = parts;
  }

  async begin(): Promise<void> {
    const { topic, partitions, fetcher, admin } = this.#parts;
    const all = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }));
    for (const { partition, offset } of await admin.listOffsets(all, 'latest')) {
      fetcher.add({ topic, partition }, offset ?? 0n, (batch) => {
        for (const record of batch.records) {
          const round = this.#round;
          const index = round === undefined ? null : probeIndex(round.id, record);
          if (round !== undefined && index !== null) {
            round.log.consumed(index, record.offset);
          }
        }
        return Promise.resolve();
      });
    }
    this.#reading = fetcher.run();
    this.#reading.catch(() => undefined);
  }

  /** Sends at an even pace, round the partitions, and waits until all are through or lost. */
  async send(sending: Sending, signal: AbortSignal): Promise<Sent> {
    const { partitions } = this.#parts;
    const log = new ProbeLog(sending.stages, () => performance.now(), lostAfterMs);
    const round = { id: randomBytes(6).toString('hex'), log };
    this.#round = round;
    const problems = new Set<string>();
    const over = new AbortController();
    const watching = sending.watch?.(log, AbortSignal.any([signal, over.signal]));
    try {
      const startedAt = performance.now();
      for (let index = 0; index < sending.count && !signal.aborted; index += 1) {
        await wait(Math.max(0, startedAt + (index * 1000) / sending.ratePerSec - performance.now()), signal);
        void this.#sendOne(round, index, index % partitions, problems);
        sending.onProgress?.(index + 1);
      }
      // A reader that ended takes what it threw with it.
      await Promise.race([
        log.complete(lostAfterMs, signal),
        this.#reading,
        ...(watching === undefined ? [] : [watching]),
      ]);
    } finally {
      over.abort();
      await watching;
    }
    return { log, problems };
  }

  async #sendOne(
    { id, log }: { readonly id: string; readonly log: ProbeLog },
    index: number,
    partition: number,
    problems: Set<string>,
  ): Promise<void> {
    const { publisher, topic } = this.#parts;
    const record = probeRecord(id, index, partition, Date.now());
    log.sent(index, partition);
    try {
      const [delivery] = await publisher.deliver(topic, [record]);
      if (delivery?.kind === 'acked') {
        log.acked(index, delivery.offset);
      } else {
        problems.add(delivery?.error.message ?? 'not sent');
        log.failed(index);
      }
    } catch (error) {
      problems.add(messageOf(error));
      log.failed(index);
    }
  }
}

/** The role's commits, as PostgreSQL shows them: by what they show, a probe is stored. */
function watchPositions(postgres: PostgresConfig, role: string, topic: string): NonNullable<Sending['watch']> {
  return async (log, signal) => {
    const reader = createPositionReader(postgres);
    try {
      while (!signal.aborted) {
        const answer = await reader.positions(role);
        if (answer.kind === 'unknown') {
          throw new KpipeError(
            'KPIPE_POSTGRES_FAILED',
            `the positions of role ${role} cannot be read: ${answer.reason}`,
          );
        }
        for (const { partition, position } of answer.positions.filter((each) => each.topic === topic)) {
          log.stored(partition, position);
        }
        await wait(positionPollMs, signal);
      }
    } finally {
      await reader.close();
    }
  };
}

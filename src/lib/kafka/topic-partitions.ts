import { setTimeout as sleep } from 'node:timers/promises';

import type { Admin } from 'kafkajs';

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError } from '../errors.ts';
import { withDeadline } from '../deadline.ts';
import { classifySendFailure, connectFailure, refused, topicMissing } from './produce-errors.ts';
import type { KafkaClient } from './producer-lease.ts';

const maxAgeMs = 300_000;
const answerMs = 8000;
/** A topic that was just made is not known to every broker at once. */
const graceMs = 3000;

/** How many partitions each topic has: what a producer must know to place a key. Asked again every 5 minutes. */
export class TopicPartitions {
  readonly #config: KafkaConfig;
  readonly #createClient: () => Promise<KafkaClient>;
  readonly #known = new Map<string, { readonly count: Promise<number>; readonly at: number }>();

  constructor(config: KafkaConfig, createClient: () => Promise<KafkaClient>) {
    this.#config = config;
    this.#createClient = createClient;
  }

  /** @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_UNREACHABLE, KPIPE_PRODUCE_FAILED (no right to see it) */
  count(topic: string): Promise<number> {
    const known = this.#known.get(topic);
    if (known !== undefined && Date.now() - known.at < maxAgeMs) {
      return known.count;
    }
    const count = this.#ask(topic);
    this.#known.set(topic, { count, at: Date.now() });
    count.catch(() => this.#known.delete(topic));
    return count;
  }

  async #ask(topic: string): Promise<number> {
    const { kafka, connections } = await this.#createClient();
    const admin = kafka.admin();
    try {
      await withDeadline(admin.connect(), answerMs, 'no answer');
      for (const startedAt = Date.now(); Date.now() - startedAt < graceMs; await sleep(250)) {
        const count = await partitionsOf(admin, topic);
        if (count > 0) {
          return count;
        }
      }
      throw topicMissing(topic);
    } catch (error) {
      if (error instanceof KpipeError) {
        throw error;
      }
      const denied = classifySendFailure(error).kind === 'fatal';
      throw denied ? refused(`to describe ${topic}`, { topic }, error) : connectFailure(this.#config, error);
    } finally {
      await withDeadline(admin.disconnect(), 1000, 'still connected').catch(() => undefined);
      connections.cut();
    }
  }
}

/** 0: the broker that answered does not know the topic. */
async function partitionsOf(admin: Admin, topic: string): Promise<number> {
  try {
    const { topics } = await withDeadline(admin.fetchTopicMetadata({ topics: [topic] }), answerMs, 'no answer');
    return topics[0]?.partitions.length ?? 0;
  } catch (error) {
    if (classifySendFailure(error).kind === 'missing') {
      return 0;
    }
    throw error;
  }
}

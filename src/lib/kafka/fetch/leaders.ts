import { KpipeError } from '../../errors.ts';
import type { KafkaConnections } from '../connections.ts';
import { callFailure, refusalsOf } from '../failures.ts';
import { metadata } from '../topic-requests.ts';
import type { Leader } from './fetch-partition.ts';

/** A broker that has just started does not know every topic at once. */
const missingGraceMs = 30_000;
/** What a broker answers for a topic that has no id. */
const noId = '00000000-0000-0000-0000-000000000000';

/** Who leads the partitions of a topic, and whether it is still the same topic. */
export class Leaders {
  readonly #kafka: KafkaConnections;
  readonly #topic: string;
  readonly #now: () => number;
  #topicId: string | null;
  #missingSinceMs: number | null = null;

  constructor(kafka: KafkaConnections, topic: string, topicId: string | null, now: () => number) {
    this.#kafka = kafka;
    this.#topic = topic;
    this.#topicId = topicId;
    this.#now = now;
  }

  /**
   * The leaders by partition; a partition without one is left out.
   * @throws KPIPE_TOPIC_RECREATED; KPIPE_TOPIC_MISSING when it stays away; KPIPE_KAFKA_UNREACHABLE; KPIPE_KAFKA_FAILED
   * when the cluster refuses to say
   */
  async find(): Promise<ReadonlyMap<number, Leader>> {
    const { brokers, topics } = await this.#ask();
    const topic = topics.find(({ name }) => name === this.#topic);
    if (topic === undefined) {
      this.#missing();
      return new Map();
    }
    this.#missingSinceMs = null;
    this.#checkId(topic.topicId);
    const leaders = topic.partitions.flatMap(({ partitionIndex, leaderId, leaderEpoch }) => {
      const broker = brokers.find(({ nodeId }) => nodeId === leaderId);
      if (broker === undefined) {
        return [];
      }
      const { host, port } = broker;
      return [[partitionIndex, { host, port, leaderEpoch, topicId: topic.topicId }] as const];
    });
    return new Map(leaders);
  }

  async #ask() {
    try {
      return await metadata(this.#kafka, { names: [this.#topic] });
    } catch (error) {
      if (refusalsOf(error).some(({ id }) => id.endsWith('AUTHORIZATION_FAILED'))) {
        throw callFailure(`reading topic ${this.#topic}`, error, { topic: this.#topic });
      }
      throw error;
    }
  }

  #missing(): void {
    this.#missingSinceMs ??= this.#now();
    if (this.#now() - this.#missingSinceMs > missingGraceMs) {
      throw new KpipeError('KPIPE_TOPIC_MISSING', `the topic ${this.#topic} is gone`, {
        where: { topic: this.#topic },
        next: '`kpipe topics list` shows what exists, `kpipe topics plan` what kpipe.yaml declares',
      });
    }
  }

  #checkId(topicId: string): void {
    if (topicId === noId) {
      return;
    }
    if (this.#topicId !== null && this.#topicId !== topicId) {
      throw new KpipeError(
        'KPIPE_TOPIC_RECREATED',
        `the topic ${this.#topic} was deleted and created again while it was read`,
        {
          where: { topic: this.#topic, id: topicId, was: this.#topicId },
          next: 'start the role again: it says where it stood; `--accept-recreated` begins the new topic at its start',
        },
      );
    }
    this.#topicId = topicId;
  }
}

import { KpipeError } from '../../errors.ts';
import type { KafkaConnections } from '../connections.ts';
import { describeTopics } from '../topic-requests.ts';

const everyMs = 10_000;
/** A broker that has just started may not know the topic yet: it is asked again, sooner. */
const missingTimes = 4;
const againMs = 1000;

/**
 * Looks now and then whether the topic is still the one that was joined for: a group goes on without a word when its topic
 * is deleted, and with nothing to read, and a topic that was made again starts at offset 0.
 */
export class TopicWatch {
  readonly #kafka: KafkaConnections;
  readonly #topic: string;
  readonly #onGrown: () => void;
  readonly #onFailed: (error: KpipeError) => void;
  #timer: NodeJS.Timeout;
  readonly #id: string;
  #partitions: number;
  #missing = 0;
  #stopped = false;

  private constructor(kafka: KafkaConnections, topic: FoundTopic, on: WatchEvents) {
    this.#kafka = kafka;
    this.#topic = topic.name;
    this.#id = topic.id;
    this.#partitions = topic.partitions;
    this.#onGrown = on.grown;
    this.#onFailed = on.failed;
    this.#timer = setTimeout(() => void this.#look(), everyMs);
  }

  /** @throws KPIPE_TOPIC_MISSING, KPIPE_KAFKA_UNREACHABLE */
  static async start(kafka: KafkaConnections, name: string, on: WatchEvents): Promise<TopicWatch> {
    const found = await find(kafka, name);
    if (found === undefined) {
      throw missing(name);
    }
    return new TopicWatch(kafka, found, on);
  }

  get topicId(): string {
    return this.#id;
  }

  async #look(): Promise<void> {
    // A cluster that does not answer says nothing about the topic.
    const found = await find(this.#kafka, this.#topic).catch(() => null);
    if (this.#stopped) {
      return;
    }
    if (found !== null) {
      this.#judge(found);
    }
    this.#timer = setTimeout(() => void this.#look(), this.#missing > 0 ? againMs : everyMs);
  }

  #judge(found: FoundTopic | undefined): void {
    this.#missing = found === undefined ? this.#missing + 1 : 0;
    if (this.#missing === missingTimes) {
      this.#onFailed(missing(this.#topic));
    } else if (found !== undefined && found.id !== this.#id) {
      this.#onFailed(recreated(this.#topic));
    } else if (found !== undefined && found.partitions > this.#partitions) {
      this.#partitions = found.partitions;
      this.#onGrown();
    }
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}

export interface WatchEvents {
  readonly grown: () => void;
  readonly failed: (error: KpipeError) => void;
}

interface FoundTopic {
  readonly name: string;
  readonly id: string;
  readonly partitions: number;
}

async function find(kafka: KafkaConnections, name: string): Promise<FoundTopic | undefined> {
  const [topic] = await describeTopics(kafka, [name]);
  return topic === undefined ? undefined : { name, id: topic.id, partitions: topic.partitions.length };
}

function missing(topic: string): KpipeError {
  return new KpipeError('KPIPE_TOPIC_MISSING', `there is no topic ${topic}`, {
    where: { topic },
    next: '`kpipe topics list` shows what exists, `kpipe topics apply` makes what kpipe.yaml declares',
  });
}

function recreated(topic: string): KpipeError {
  return new KpipeError('KPIPE_TOPIC_RECREATED', `topic ${topic} was deleted and made again while it was read`, {
    where: { topic },
    next: 'its offsets began anew: `--accept-recreated` starts at its beginning',
  });
}

import type { KafkaConfig } from '../config/load.ts';
import { KpipeError, messageOf } from '../errors.ts';
import type { Source, SourceListener, TopicPartition } from '../ports.ts';
import { PartitionFetcher } from './fetch/partition-fetcher.ts';
import { GroupMember } from './group/group-member.ts';
import { callFailure, refusalsOf } from './failures.ts';
import type { SourceOptions } from './source-options.ts';

/** Of one answer of one broker; what is decompressed of it waits per partition until the listener has room. */
const maxBytes = 8 * 1024 * 1024;

/** Reads a topic as a member of a group, by kpipe's own loop: partitions that stay are not stopped for those that move. */
export async function openCooperativeSource(config: KafkaConfig, options: SourceOptions): Promise<Source> {
  const { topic, topicId, clientId, maxBytesPerPartition, maxWaitMs } = options;
  const outage = new Outage(options.notice);
  const member = await GroupMember.open(config, { ...options, onAway: (reason) => outage.tell('group', reason) });
  const fetcher = await PartitionFetcher.open(config, {
    topic,
    ...(topicId === undefined ? {} : { topicId }),
    clientId,
    maxBytesPerPartition,
    maxBytes,
    minBytes: 1,
    maxWaitMs,
    onTrouble: (reason) => outage.tell('fetch', reason?.message ?? null),
  });
  return new CooperativeSource(member, fetcher, options);
}

/** A broker that is away is missed by the group and by the fetches: one line says so. */
class Outage {
  readonly #notice: (text: string) => void;
  readonly #missing = new Set<'group' | 'fetch'>();

  constructor(notice: (text: string) => void) {
    this.#notice = notice;
  }

  tell(who: 'group' | 'fetch', reason: string | null): void {
    if (reason === null) {
      this.#missing.delete(who);
      return;
    }
    if (this.#missing.size === 0) {
      this.#notice(`${reason}; trying until it is back`);
    }
    this.#missing.add(who);
  }
}

/**
 * A group member says which partitions are ours, a fetcher reads them; this ties their lives together. The first of the
 * two that fails ends both.
 */
class CooperativeSource implements Source {
  readonly #member: GroupMember;
  readonly #fetcher: PartitionFetcher;
  readonly #options: SourceOptions;
  readonly #ended = Promise.withResolvers<void>();
  #stopping: Promise<void> | null = null;

  constructor(member: GroupMember, fetcher: PartitionFetcher, options: SourceOptions) {
    this.#member = member;
    this.#fetcher = fetcher;
    this.#options = options;
  }

  async run(listener: SourceListener): Promise<void> {
    const reading = this.#fetcher.run();
    const belonging = this.#member.run(listener, {
      start: (assignment, position) => {
        const { topic, partition } = assignment;
        this.#fetcher.add({ topic, partition }, position, async (batch) => {
          if (assignment.active) {
            await listener.fetched(batch);
          }
        });
      },
      stop: (partitions) => this.#fetcher.remove(partitions),
    });
    for (const life of [reading, belonging]) {
      life.catch((error: unknown) => this.#fail(error));
    }
    await this.#ended.promise;
  }

  seek(partition: TopicPartition, position: bigint): void {
    if (this.#member.assignment(partition.partition) !== undefined) {
      this.#fetcher.seek(partition, position);
    }
  }

  quiesce(): void {
    this.#member.quiesce();
    this.#fetcher.quiesce();
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#leave();
    return this.#stopping;
  }

  async #leave(): Promise<void> {
    await Promise.allSettled([this.#member.stop(), this.#fetcher.close()]);
    this.#ended.resolve();
  }

  #fail(error: unknown): void {
    if (this.#stopping !== null) {
      return;
    }
    const { topic, group } = this.#options;
    this.#ended.reject(
      error instanceof KpipeError || refusalsOf(error).length > 0
        ? callFailure(`reading ${topic}`, error, { topic, group })
        : new KpipeError('KPIPE_KAFKA_FAILED', `reading ${topic} failed: ${messageOf(error)}`, {
            where: { topic, group },
            next: '`kpipe doctor` looks at every store',
            cause: error,
          }),
    );
    void this.stop();
  }
}

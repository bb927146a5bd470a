import type { KafkaConfig } from '../../config/load.ts';
import { KpipeError } from '../../errors.ts';
import { partitionKey, type FetchedBatch, type TopicPartition } from '../../ports.ts';
import { AccessGrace, isAccessFailure } from '../access-failures.ts';
import { addressText, KafkaConnections } from '../connections.ts';
import type { FetchAnswer, FetchBounds, FetchedBytes } from '../fetch-request.ts';
import { BrokerLanes, type BrokerAddress, type LaneOwner } from './broker-lanes.ts';
import { Deliveries, type Checksum } from './deliveries.ts';
import { FetchPartition, type OpenQuestion } from './fetch-partition.ts';
import { hindrance, LeaderSearch } from './leader-search.ts';
import { Leaders } from './leaders.ts';
import { checkInsideLog, foreignFormat, refused, truncatedTo } from './fetch-failures.ts';

export interface FetchOptions {
  readonly topic: string;
  readonly clientId: string;
  /** What one fetch brings of one partition at most; a single batch that is larger still comes whole. */
  readonly maxBytesPerPartition: number;
  /** What one fetch brings from one broker at most, and what may wait, packed, for partitions without room. */
  readonly maxBytes: number;
  readonly minBytes: number;
  /** How long a broker may wait for `minBytes`: the price of an idle topic, paid in requests. */
  readonly maxWaitMs: number;
  /** The id that the topic must have; default: the one that it has when it is first read. */
  readonly topicId?: string;
  /** Told once when the cluster has been away for a while, and null when it answers again. */
  readonly onTrouble?: (reason: KpipeError | null) => void;
}

/** Beyond `maxWaitMs`: a broker that is silent for longer is taken for dead. */
const answerMs = 5000;
/** So many failures in a row of one partition are worth a word. */
const troubleAfter = 4;
/** So often must a broker say that the position is beyond its log's end. */
const sureAfter = 3;

/**
 * Reads partitions of one topic from their leaders, read committed, from positions that the caller gives. Leaders that
 * move, brokers that die and a cluster that is away are waited for, however long. What would leave a hole or read on in
 * another history ends `run()`.
 */
export class PartitionFetcher {
  readonly #options: FetchOptions;
  readonly #control: KafkaConnections;
  readonly #polls: { readonly long: KafkaConnections; readonly short: KafkaConnections };
  readonly #search: LeaderSearch;
  readonly #deliveries: Deliveries;
  /** Those that brought records last stand at the end, and are asked for last. */
  readonly #partitions = new Map<string, FetchPartition>();
  readonly #lanes = new Map<string, BrokerLanes>();
  readonly #laneOwner: LaneOwner = {
    questions: (lanes) => [...this.#askable(lanes)].map((partition) => partition.ask()),
    hasQuestions: (lanes) => this.#hasQuestions(lanes),
    answered: (asked, answer) => this.#answered(asked, answer),
    failed: (asked, error) => this.#failed(asked, error),
  };
  readonly #closed = new AbortController();
  readonly #ended = Promise.withResolvers<void>();
  /** By partition: its broker refuses our credentials. */
  readonly #refused = new Map<string, AccessGrace>();
  #isReading = false;
  #isInTrouble = false;

  private constructor(
    options: FetchOptions,
    checksum: Checksum,
    control: KafkaConnections,
    long: KafkaConnections,
    short: KafkaConnections,
  ) {
    this.#options = options;
    this.#control = control;
    this.#polls = { long, short };
    const leaders = new Leaders(control, options.topic, options.topicId ?? null, Date.now);
    const owner = {
      lost: () => [...this.#partitions.values()].filter(({ leader }) => leader === null),
      found: (partition: FetchPartition) => this.#lanesOf(partition)?.wake(),
      hindered: (partition: FetchPartition, reason: unknown) => this.#loseLeader(partition, reason),
      failed: (error: KpipeError) => this.#fail(error),
    };
    this.#search = new LeaderSearch(leaders, owner, this.#closed.signal);
    this.#deliveries = new Deliveries(checksum, {
      isReading: () => this.#isReading,
      gotRoom: () => this.#wakeAll(),
      failed: (error) => this.#fail(error),
    });
    this.#ended.promise.catch(() => undefined);
  }

  /** Loads the driver; connects with the first partition. @throws KPIPE_CONFIG_INVALID, KPIPE_SECRET_UNAVAILABLE */
  static async open(config: KafkaConfig, options: FetchOptions): Promise<PartitionFetcher> {
    const client = { ...config, clientId: options.clientId };
    const { crc32c } = await import('@node-rs/crc32');
    return new PartitionFetcher(
      options,
      crc32c,
      await KafkaConnections.prepare(client, answerMs),
      await KafkaConnections.prepare(client, options.maxWaitMs + answerMs),
      await KafkaConnections.prepare(client, answerMs),
    );
  }

  /**
   * Reads until `close()`.
   * @throws KPIPE_RECORDS_LOST naming the range; KPIPE_TOPIC_RECREATED; KPIPE_TOPIC_MISSING; KPIPE_KAFKA_FAILED when
   * Kafka refuses, or a checksum does not match; what a `deliver` throws
   */
  run(): Promise<void> {
    this.#isReading = true;
    this.#search.schedule();
    return this.#ended.promise;
  }

  /**
   * Reads a partition from `position` on. While `deliver`'s promise is pending nothing more of it is delivered; at most
   * one further fetch of it waits, packed.
   */
  add(partition: TopicPartition, position: bigint, deliver: (batch: FetchedBatch) => Promise<void>): void {
    this.remove([partition]);
    this.#partitions.set(partitionKey(partition), new FetchPartition(partition, position, deliver));
    this.#searchOn();
  }

  /** Nothing of them is delivered any more. */
  remove(partitions: readonly TopicPartition[]): void {
    for (const partition of partitions) {
      const key = partitionKey(partition);
      this.#partitions.get(key)?.remove();
      this.#partitions.delete(key);
    }
  }

  /** Reads on from there; what was fetched before is not delivered any more. */
  seek(partition: TopicPartition, position: bigint): void {
    const sought = this.#partitions.get(partitionKey(partition));
    if (sought !== undefined) {
      sought.seek(position);
      this.#lanesOf(sought)?.wake();
    }
  }

  /** No more fetches, and no more deliveries. */
  quiesce(): void {
    this.#isReading = false;
  }

  /** Ends `run()`; never waits longer than a second. Idempotent. */
  async close(): Promise<void> {
    this.#isReading = false;
    this.remove([...this.#partitions.values()]);
    this.#closed.abort();
    this.#ended.resolve();
    await Promise.all([this.#control.close(), this.#polls.long.close(), this.#polls.short.close()]);
  }

  #hasQuestions(lanes: BrokerLanes): boolean {
    return this.#isReading && this.#askable(lanes).next().done !== true;
  }

  *#askable(lanes: BrokerLanes): Generator<FetchPartition> {
    const waitingBytes = this.#waitingBytes();
    for (const partition of this.#partitions.values()) {
      const hasRoom = !partition.delivering || waitingBytes < this.#options.maxBytes;
      if (partition.mayBeAsked && hasRoom && this.#lanesOf(partition) === lanes) {
        yield partition;
      }
    }
  }

  #waitingBytes(): number {
    let bytes = 0;
    for (const { waiting } of this.#partitions.values()) {
      bytes += waiting?.bytes ?? 0;
    }
    return bytes;
  }

  #answered(asked: readonly OpenQuestion[], answer: FetchAnswer): void {
    if (answer.errorCode !== 0) {
      this.#failed(asked, new Error(`Kafka says ${this.#errorName(answer.errorCode)}`));
      return;
    }
    const answers = new Map(answer.partitions.map((each) => [partitionKey(each), each]));
    for (const question of asked) {
      const { partition } = question;
      this.#refused.delete(partitionKey(partition));
      const of = answers.get(partitionKey(partition));
      if (partition.settle(question) && of !== undefined) {
        this.#judge(partition, of);
      }
    }
  }

  #failed(asked: readonly OpenQuestion[], error: unknown): void {
    if (error instanceof KpipeError && error.code === 'KPIPE_KAFKA_FAILED') {
      // A broker that does not speak our versions never will.
      this.#fail(error);
      return;
    }
    if (isAccessFailure(error) && this.#isRefusedForLong(asked)) {
      this.#fail(error);
      return;
    }
    for (const question of asked) {
      if (question.partition.settle(question)) {
        this.#loseLeader(question.partition, error);
      }
    }
    this.#searchOn();
  }

  /** A broker that refuses our credentials while another takes them: its partitions must not stand still unnoticed. */
  #isRefusedForLong(asked: readonly OpenQuestion[]): boolean {
    const now = Date.now();
    return asked.some(({ partition }) => {
      const key = partitionKey(partition);
      const grace = this.#refused.get(key) ?? new AccessGrace({ wereGood: true });
      this.#refused.set(key, grace);
      return grace.isOver(now);
    });
  }

  #judge(partition: FetchPartition, answer: FetchedBytes): void {
    const name = this.#errorName(answer.errorCode);
    switch (name) {
      case 'NONE':
        this.#take(partition, answer);
        return;
      case 'OFFSET_OUT_OF_RANGE':
        void this.#lookForPosition(partition);
        return;
      case 'TOPIC_AUTHORIZATION_FAILED':
      case 'CORRUPT_MESSAGE':
        this.#fail(refused(partition, name));
        return;
      default: {
        const { leader } = answer;
        const topicId = partition.leader?.topicId ?? '';
        // The broker that refuses may know the new leader, and then nobody else must be asked.
        if (leader === null || leader.leaderEpoch <= (partition.leader?.leaderEpoch ?? -1)) {
          this.#loseLeader(partition, new Error(`Kafka says ${name} of partition ${partition.partition}`));
          this.#searchOn();
        } else if (partition.lead({ ...leader, topicId })) {
          this.#lanesOf(partition)?.wake();
        }
      }
    }
  }

  #take(partition: FetchPartition, answer: FetchedBytes): void {
    if (answer.divergesAt !== null) {
      this.#fail(truncatedTo(partition, answer.divergesAt));
      return;
    }
    const foreign = partition.take(answer);
    if (partition.waiting === null) {
      if (foreign !== null) {
        this.#fail(foreignFormat(partition, foreign));
      }
    } else {
      const key = partitionKey(partition);
      this.#partitions.delete(key);
      this.#partitions.set(key, partition);
      this.#deliveries.start(partition);
    }
    if (this.#isInTrouble && [...this.#partitions.values()].every(({ failures }) => failures === 0)) {
      this.#isInTrouble = false;
      this.#options.onTrouble?.(null);
    }
  }

  async #lookForPosition(partition: FetchPartition): Promise<void> {
    const { reading } = partition;
    partition.misplaced += 1;
    partition.forgetEpoch();
    partition.loseLeader(Number.POSITIVE_INFINITY, Math.random);
    let reason: unknown = new Error(`Kafka does not find offset ${partition.position}`);
    try {
      await checkInsideLog(this.#control, partition, partition.misplaced >= sureAfter);
    } catch (error) {
      if (error instanceof KpipeError && error.code === 'KPIPE_RECORDS_LOST' && partition.reading === reading) {
        this.#fail(error);
        return;
      }
      reason = error;
    }
    this.#loseLeader(partition, reason);
    this.#searchOn();
  }

  #loseLeader(partition: FetchPartition, reason: unknown): void {
    partition.loseLeader(Date.now(), Math.random);
    if (partition.failures >= troubleAfter && !this.#isInTrouble && !this.#closed.signal.aborted) {
      this.#isInTrouble = true;
      this.#options.onTrouble?.(hindrance(this.#options.topic, reason));
    }
  }

  #searchOn(): void {
    if (this.#isReading) {
      this.#search.schedule();
    }
  }

  #lanesOf({ leader }: FetchPartition): BrokerLanes | undefined {
    return leader === null ? undefined : (this.#lanes.get(addressText(leader)) ?? this.#open(leader));
  }

  #open({ host, port }: BrokerAddress): BrokerLanes {
    const { maxBytes, minBytes, maxWaitMs, maxBytesPerPartition: partitionMaxBytes } = this.#options;
    const bounds: FetchBounds = { maxBytes, partitionMaxBytes, minBytes, maxWaitMs };
    const lanes = new BrokerLanes({ host, port }, this.#polls, bounds, this.#laneOwner, this.#closed.signal);
    this.#lanes.set(addressText({ host, port }), lanes);
    return lanes;
  }

  #wakeAll(): void {
    for (const lanes of this.#lanes.values()) {
      if (this.#hasQuestions(lanes)) {
        lanes.wake();
      }
    }
  }

  #errorName(code: number): string {
    return this.#control.driver.protocolErrorsCodesById[code] ?? `error ${code}`;
  }

  #fail(error: unknown): void {
    this.#ended.reject(error);
    void this.close();
  }
}

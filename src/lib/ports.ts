/**
 * What the rest of kpipe sees of Kafka, PostgreSQL, Redis and BigQuery. The edges (kafka/, postgres/, redis/, bigquery/)
 * implement these and are the only importers of their drivers.
 *
 * Words: a *position* is the offset that is read next. Offsets are bigint. A timestamp is Kafka's, in ms since the epoch.
 */

/** Header names repeat and keep their order; values are bytes. */
export type RecordHeader = readonly [name: string, value: Buffer | null];

export interface SourceRecord {
  readonly offset: bigint;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** `events-3`: for maps and logs. */
export function partitionKey({ topic, partition }: TopicPartition): string {
  return `${topic}-${partition}`;
}

/** What one fetch brought of one partition. Positions, not records, bound it: compaction and control records leave gaps. */
export interface FetchedBatch extends TopicPartition {
  /** The position that the batch was read from. */
  readonly position: bigint;
  /** The position after it; may lie beyond the last record. */
  readonly nextPosition: bigint;
  readonly highWatermark: bigint;
  /** By rising offset. Iterate once: a source may decode them, anew each time, while they are iterated. */
  readonly records: Iterable<SourceRecord>;
  /** How many `records` are. */
  readonly recordCount: number;
  /** What the records take uncompressed. */
  readonly bytes: number;
  /** The range holds a record batch that cannot be decoded; then there are no records beside it. */
  readonly unreadable?: UnreadableRange;
}

/** Offsets, both inclusive, that a producer packed into bytes which no reader can, or may, unpack. */
export interface UnreadableRange {
  readonly firstOffset: bigint;
  readonly lastOffset: bigint;
  readonly timestampMs: number;
  /** `too_large`: it unpacks to more than the bound; `undecodable`: it is not what its format says. */
  readonly reason: 'too_large' | 'undecodable';
  readonly message: string;
}

/**
 * The right to read one partition, as one generation of the group gave it. Once revoked or lost it stays inactive and
 * can't commit, whatever the client would let through.
 */
export interface Assignment extends TopicPartition {
  readonly active: boolean;
  /** Commits to the group, fenced by its generation. @throws AssignmentLostError when the partition is not ours (any more) */
  commit(offset: bigint, metadata?: string): Promise<void>;
}

/** The group has moved on: this member may neither write nor commit what it held. */
export class AssignmentLostError extends Error {
  override readonly name = 'AssignmentLostError';
}

/** What a `Source` tells its owner. It waits for each promise. */
export interface SourceListener {
  /** A generation of the group began, and gave this member so many partitions; none is an answer too. */
  joined(partitions: number): void;
  /** A partition was assigned: answers the position to read from. A rejection ends `run()`. */
  assigned(assignment: Assignment): Promise<bigint>;
  /** Resolves when there is room for more of this partition: this is the back-pressure. */
  fetched(batch: FetchedBatch): Promise<void>;
  /** The partitions go to somebody else once this resolves: finish or abandon, release. */
  revoked(partitions: readonly TopicPartition[]): Promise<void>;
}

export interface GroupCommit extends TopicPartition {
  /** The position after the last record that is done. */
  readonly offset: bigint;
  readonly metadata?: string;
}

/** A member of a consumer group that reads whole batches of its partitions. */
export interface Source {
  /** Joins and reads until `stop()`. @throws KpipeError when it cannot go on */
  run(listener: SourceListener): Promise<void>;
  /** The next fetch of the partition reads from there; what was fetched before is not delivered any more. */
  seek(partition: TopicPartition, position: bigint): void;
  /** No more fetches; the membership stays until `stop()`. */
  quiesce(): void;
  /** Leaves the group. Idempotent. */
  stop(): Promise<void>;
}

export interface OutgoingRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: readonly RecordHeader[];
  readonly partition?: number;
  readonly timestampMs?: number;
}

/** A producer with acks=all. */
export interface RecordPublisher {
  /** Resolves when every record is acked by all in-sync replicas. @throws KPIPE_PRODUCE_FAILED: none or some were */
  publish(topic: string, records: readonly OutgoingRecord[]): Promise<void>;
  close(): Promise<void>;
}

export interface Broker {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
}

export interface ClusterDescription {
  readonly clusterId: string;
  readonly controllerId: number;
  readonly brokers: readonly Broker[];
}

export interface PartitionDescription {
  readonly partition: number;
  /** -1 when there is none. */
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

export interface TopicDescription {
  readonly name: string;
  readonly id: string;
  readonly internal: boolean;
  readonly partitions: readonly PartitionDescription[];
}

export interface TopicConfigEntry {
  readonly value: string | null;
  /** `topic`: an override of the topic's own; `broker`: dynamic or static broker configuration; `default`: Kafka's. */
  readonly source: 'topic' | 'broker' | 'default';
  /** For `broker`: this broker's dynamic value, the cluster-wide dynamic one, or the broker's file. */
  readonly brokerSource?: 'broker dynamic' | 'cluster dynamic' | 'broker file';
  readonly sensitive: boolean;
}

export interface NewTopic {
  readonly name: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly config: Readonly<Record<string, string>>;
}

export interface ConfigAlteration {
  readonly topic: string;
  /** null deletes the topic's override. */
  readonly set: Readonly<Record<string, string | null>>;
}

/**
 * `lastStable`: where read-committed reading ends now; open transactions hold back what lies behind it. `newest`: the record
 * with the latest timestamp.
 */
export type OffsetQuery = 'earliest' | 'latest' | 'lastStable' | 'newest' | { readonly timestampMs: number };

export interface OffsetAnswer extends TopicPartition {
  /** null: no record at or after the timestamp asked for. */
  readonly offset: bigint | null;
  readonly timestampMs: number | null;
}

export interface GroupMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly host: string;
  readonly assignment: readonly TopicPartition[];
}

export interface GroupDescription {
  readonly group: string;
  readonly protocol: 'classic' | 'consumer' | null;
  /** Stable, Empty, PreparingRebalance, CompletingRebalance, Assigning, Reconciling or Dead (also: never existed). */
  readonly state: string;
  readonly members: readonly GroupMember[];
}

export interface CommittedOffset extends TopicPartition {
  readonly offset: bigint;
  readonly metadata: string;
}

/** Looks at a cluster and changes its topics. Every call has a deadline and fails with a KPIPE_KAFKA_… code. */
export interface ClusterAdmin {
  describeCluster(): Promise<ClusterDescription>;
  /** The broker's version as its APIs show it (`4.3`), or null when they don't say. */
  kafkaVersion(): Promise<string | null>;
  listTopics(): Promise<readonly { readonly name: string; readonly internal: boolean }[]>;
  /** Topics that don't exist are absent from the answer. null: every topic, by name. */
  describeTopics(names: readonly string[] | null): Promise<readonly TopicDescription[]>;
  /** Topics that don't exist are absent from the answer. */
  topicConfigs(names: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, TopicConfigEntry>>>;
  createTopic(topic: NewTopic, options?: { readonly validateOnly?: boolean }): Promise<void>;
  /** Adds partitions up to `count`. */
  createPartitions(topic: string, count: number, options?: { readonly validateOnly?: boolean }): Promise<void>;
  alterConfigs(alteration: ConfigAlteration, options?: { readonly validateOnly?: boolean }): Promise<void>;
  deleteTopic(name: string): Promise<void>;
  listOffsets(partitions: readonly TopicPartition[], query: OffsetQuery): Promise<readonly OffsetAnswer[]>;
  listGroups(): Promise<readonly { readonly group: string; readonly protocol: string; readonly state: string }[]>;
  /** Classic and KIP-848 groups alike. */
  describeGroup(group: string): Promise<GroupDescription>;
  committedOffsets(group: string): Promise<readonly CommittedOffset[]>;
  /**
   * Asks each broker alone, side by side; one that does not answer is left out. What was just changed is known to one
   * broker after the other.
   */
  onEachBroker<Answer>(ask: (broker: ClusterAdmin) => Promise<Answer>): Promise<readonly Answer[]>;
  close(): Promise<void>;
}

/** Changes consumer groups from outside. The cluster refuses it for groups that have members: KPIPE_REFUSED. */
export interface GroupAdmin extends ClusterAdmin {
  /** All of them or, when the group has members, none. */
  commitOffsets(group: string, commits: readonly GroupCommit[]): Promise<void>;
  /** As if the group had never committed them. */
  forgetOffsets(group: string, partitions: readonly TopicPartition[]): Promise<void>;
  /** @throws KPIPE_USAGE when there is no such group */
  deleteGroup(group: string): Promise<void>;
  /** Bytes on disk by partition, of its largest replica; partitions that no broker tells of are absent. */
  partitionSizes(topic: string): Promise<ReadonlyMap<number, bigint>>;
}

/** A partition's replicas, the preferred leader first. */
export interface ReplicaAssignment extends TopicPartition {
  readonly replicas: readonly number[];
}

/** A move that the controller has accepted and not finished. `replicas` holds the old and the new ones. */
export interface Reassignment extends ReplicaAssignment {
  readonly adding: readonly number[];
  readonly removing: readonly number[];
}

/** A partition whose preferred replica did not become its leader, and why, in the broker's words. */
export interface ElectionAnswer extends TopicPartition {
  /** `not needed`: it leads already. */
  readonly outcome: 'elected' | 'not needed' | 'failed';
  readonly reason: string | null;
}

/** Moves replicas between brokers and leadership between replicas. */
export interface ReplicaAdmin extends GroupAdmin {
  /** The controller takes all of them or tells which it refuses; it then works on by itself. */
  reassign(assignments: readonly ReplicaAssignment[]): Promise<void>;
  reassignments(): Promise<readonly Reassignment[]>;
  electPreferred(partitions: readonly TopicPartition[]): Promise<readonly ElectionAnswer[]>;
  /** Bytes on disk by `partitionKey`, then by broker. */
  replicaSizes(topics: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<number, bigint>>>;
  /** The broker's own dynamic values of these keys; keys without one are absent. Asks that broker. */
  brokerConfig(broker: number, keys: readonly string[]): Promise<Readonly<Record<string, string>>>;
  /** null deletes the broker's own dynamic value. Asks that broker: a broker that is down cannot be changed. */
  alterBrokerConfig(broker: number, set: Readonly<Record<string, string | null>>): Promise<void>;
}

export interface PartitionPosition extends TopicPartition {
  readonly position: bigint;
}

/** What a read-committed consumer would get next, at or after a position. */
export type FirstUnread =
  /** `exact` is false where the time is interpolated between the first and last of the record's batch. */
  | { readonly kind: 'record'; readonly offset: bigint; readonly timestampMs: number; readonly exact: boolean }
  /** Up to the log's end only control records, aborted records and gaps: there is nothing to read. */
  | { readonly kind: 'nothing' }
  /** An open transaction holds back what lies behind it. */
  | { readonly kind: 'held'; readonly lastStableOffset: bigint }
  | { readonly kind: 'unknown'; readonly reason: string };

/** Reads the timestamps of single records, a bounded number of bytes each. Never throws for a partition. */
export interface RecordTimeReader {
  /** Answers in the order of the questions. */
  firstUnread(positions: readonly PartitionPosition[]): Promise<readonly FirstUnread[]>;
  close(): Promise<void>;
}

/** What was asked for, or why it is not known. */
export type Sight<Value> =
  | { readonly kind: 'known'; readonly value: Value }
  | { readonly kind: 'unknown'; readonly reason: string };

export interface GroupSight {
  readonly group: string;
  readonly description: Sight<GroupDescription>;
  readonly committed: Sight<readonly CommittedOffset[]>;
}

export interface LogEnds {
  readonly logStartOffset: bigint;
  readonly highWatermark: bigint;
}

export interface TopicSight {
  readonly name: string;
  /** By number; unknown: the topic does not exist, or may not be seen. */
  readonly partitions: Sight<ReadonlyMap<number, Sight<LogEnds>>>;
  /** `retention.ms`, `retention.bytes` and `cleanup.policy`. */
  readonly config: Sight<ReadonlyMap<string, string | null>>;
}

/**
 * One look at many groups and the topics that they read. However many they are, each broker gets one request of a kind.
 * What is refused of one, and what a broker that is away would have told, is not known, with the reason; only a cluster of
 * which no broker answers is a failure: KPIPE_KAFKA_UNREACHABLE.
 */
export interface LagLook {
  /** In the order of the names. */
  groups(names: readonly string[]): Promise<readonly GroupSight[]>;
  topics(names: readonly string[]): Promise<{ readonly clusterId: string; readonly topics: readonly TopicSight[] }>;
  /** In the order of the questions. */
  firstUnread(positions: readonly PartitionPosition[]): Promise<readonly FirstUnread[]>;
  /** Brokers that should have answered and did not, each with what was the matter. */
  readonly silent: readonly string[];
  /** Requests sent to brokers since the look began. */
  readonly requests: number;
}

/** Looks again and again over the same connections, one look after the other. */
export interface LagReader {
  look(): LagLook;
  /** Of the groups that the cluster has. */
  groupNames(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** A row of `kpipe.consumer_offset`. */
export interface StoredPosition extends PartitionPosition {
  readonly epoch: bigint;
  readonly updatedAtMs: number;
}

/** The true positions of roles whose sink is PostgreSQL. A store that is away is an answer, not a failure. */
export interface PositionReader {
  positions(
    role: string,
  ): Promise<
    | { readonly kind: 'known'; readonly positions: readonly StoredPosition[] }
    | { readonly kind: 'unknown'; readonly reason: string }
  >;
  close(): Promise<void>;
}

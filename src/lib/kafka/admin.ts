import type { KafkaConfig } from '../config/load.ts';
import { KpipeError, type ErrorContext } from '../errors.ts';
import type {
  Broker,
  ClusterAdmin,
  ClusterDescription,
  CommittedOffset,
  ConfigAlteration,
  ElectionAnswer,
  GroupCommit,
  GroupDescription,
  NewTopic,
  OffsetAnswer,
  OffsetQuery,
  PartitionPosition,
  Reassignment,
  ReplicaAdmin,
  ReplicaAssignment,
  TopicConfigEntry,
  TopicDescription,
  TopicPartition,
} from '../ports.ts';
import { alterBrokerConfig, brokerConfig } from './broker-configs.ts';
import { addressText, KafkaConnections } from './connections.ts';
import { deleteRecords } from './delete-records.ts';
import { electPreferred } from './elect-leaders.ts';
import { callFailure, unreachable } from './failures.ts';
import { commitOffsets, deleteGroup, forgetOffsets } from './group-changes.ts';
import { committedOffsets, describeGroup, listGroups } from './group-requests.ts';
import { listOffsets } from './offset-requests.ts';
import { partitionSizes, replicaSizes } from './partition-sizes.ts';
import { listReassignments, reassign } from './reassignments.ts';
import { repeatWhileMoving } from './repeat.ts';
import * as topics from './topic-requests.ts';
import { kafkaRelease } from './versions.ts';

export interface KafkaAdminOptions {
  /** For each call, connecting included; a cluster that is down is told within it. Default 8 s. */
  readonly deadlineMs?: number;
}

/** For each call to one broker alone: the others do not wait longer for one that is frozen. */
const oneBrokerMs = 5000;

/** What Kafka lets this user do with a topic; null: the broker does not say. */
export type TopicRights = topics.TopicRights;

/** `ReplicaAdmin`, and what only `kpipe doctor` and `kpipe dlq` ask. */
export interface KafkaAdmin extends ReplicaAdmin {
  topicRights(names: readonly string[]): Promise<ReadonlyMap<string, TopicRights>>;
  /** Resolves when this broker answers at the address that the cluster gives out for it. */
  reach(broker: Broker): Promise<void>;
  /** Deletes the records below the positions, for good; answers where the logs begin then. */
  deleteRecords(positions: readonly PartitionPosition[]): Promise<readonly PartitionPosition[]>;
}

/** Opens a cluster for looking and changing; connects with the first call. The caller closes it. */
export async function openKafkaAdmin(config: KafkaConfig, options: KafkaAdminOptions = {}): Promise<KafkaAdmin> {
  const deadlineMs = options.deadlineMs ?? 8000;
  return new PlatformaticAdmin(config, await KafkaConnections.prepare(config, deadlineMs), deadlineMs);
}

/** Runs `work` with an admin that is closed whatever happens. */
export async function withKafkaAdmin<Result>(
  config: KafkaConfig,
  work: (admin: KafkaAdmin) => Promise<Result>,
  options: KafkaAdminOptions = {},
): Promise<Result> {
  const admin = await openKafkaAdmin(config, options);
  try {
    return await work(admin);
  } finally {
    await admin.close();
  }
}

/**
 * ClusterAdmin by single requests on @platformatic/kafka's connections. Its Admin class is not used: non-strict
 * `createTopics({validateOnly})` creates the topic, and `describeGroups` says that a KIP-848 group is Dead.
 */
class PlatformaticAdmin implements KafkaAdmin {
  readonly #config: KafkaConfig;
  readonly #connections: KafkaConnections;
  readonly #deadlineMs: number;

  constructor(config: KafkaConfig, connections: KafkaConnections, deadlineMs: number) {
    this.#config = config;
    this.#connections = connections;
    this.#deadlineMs = deadlineMs;
  }

  describeCluster(): Promise<ClusterDescription> {
    return this.#run('describing the cluster', {}, (kafka) => topics.describeCluster(kafka));
  }

  kafkaVersion(): Promise<string | null> {
    return this.#run('asking for the version', {}, async (kafka) => kafkaRelease((await kafka.any()).versions));
  }

  listTopics(): Promise<readonly { readonly name: string; readonly internal: boolean }[]> {
    return this.#run('listing topics', {}, (kafka) => topics.listTopics(kafka));
  }

  describeTopics(names: readonly string[] | null): Promise<readonly TopicDescription[]> {
    return this.#run('describing topics', {}, (kafka) => topics.describeTopics(kafka, names));
  }

  topicConfigs(names: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<string, TopicConfigEntry>>> {
    return this.#run('reading topic configurations', {}, (kafka) => topics.topicConfigs(kafka, names));
  }

  topicRights(names: readonly string[]): Promise<ReadonlyMap<string, TopicRights>> {
    return this.#run('asking for rights', {}, (kafka) => topics.topicRights(kafka, names));
  }

  reach(broker: Broker): Promise<void> {
    const { host, port } = broker;
    return this.#run(`connecting to broker ${broker.id}`, { host: `${host}:${port}` }, async (kafka) => {
      await kafka.to({ host, port });
    });
  }

  deleteRecords(positions: readonly PartitionPosition[]): Promise<readonly PartitionPosition[]> {
    return this.#run('deleting records', {}, (kafka) => deleteRecords(kafka, positions, this.#deadlineMs));
  }

  createTopic(topic: NewTopic, options: { readonly validateOnly?: boolean } = {}): Promise<void> {
    const what = options.validateOnly === true ? 'checking the new topic' : 'creating the topic';
    return this.#run(what, { topic: topic.name }, (kafka) =>
      topics.createTopic(kafka, topic, options.validateOnly ?? false, this.#deadlineMs),
    );
  }

  createPartitions(topic: string, count: number, options: { readonly validateOnly?: boolean } = {}): Promise<void> {
    const what = options.validateOnly === true ? 'checking the new partitions' : 'adding partitions';
    return this.#run(what, { topic, partitions: count }, (kafka) =>
      topics.createPartitions(kafka, topic, count, options.validateOnly ?? false, this.#deadlineMs),
    );
  }

  alterConfigs(alteration: ConfigAlteration, options: { readonly validateOnly?: boolean } = {}): Promise<void> {
    const what = options.validateOnly === true ? 'checking the configuration' : 'changing the configuration';
    return this.#run(what, { topic: alteration.topic }, (kafka) =>
      topics.alterConfigs(kafka, alteration, options.validateOnly ?? false),
    );
  }

  deleteTopic(name: string): Promise<void> {
    return this.#run('deleting the topic', { topic: name }, (kafka) =>
      topics.deleteTopic(kafka, name, this.#deadlineMs),
    );
  }

  listOffsets(partitions: readonly TopicPartition[], query: OffsetQuery): Promise<readonly OffsetAnswer[]> {
    return this.#run('listing offsets', {}, (kafka) => listOffsets(kafka, partitions, query));
  }

  listGroups(): Promise<readonly { readonly group: string; readonly protocol: string; readonly state: string }[]> {
    return this.#run('listing groups', {}, (kafka) => listGroups(kafka));
  }

  describeGroup(group: string): Promise<GroupDescription> {
    return this.#run('describing the group', { group }, (kafka) => describeGroup(kafka, group));
  }

  committedOffsets(group: string): Promise<readonly CommittedOffset[]> {
    return this.#run('reading committed offsets', { group }, (kafka) => committedOffsets(kafka, group));
  }

  commitOffsets(group: string, commits: readonly GroupCommit[]): Promise<void> {
    return this.#run('committing offsets', { group }, (kafka) => commitOffsets(kafka, group, commits));
  }

  forgetOffsets(group: string, partitions: readonly TopicPartition[]): Promise<void> {
    return this.#run('deleting committed offsets', { group }, (kafka) => forgetOffsets(kafka, group, partitions));
  }

  deleteGroup(group: string): Promise<void> {
    return this.#run('deleting the group', { group }, (kafka) => deleteGroup(kafka, group));
  }

  partitionSizes(topic: string): Promise<ReadonlyMap<number, bigint>> {
    return this.#run('asking for sizes', { topic }, (kafka) => partitionSizes(kafka, topic));
  }

  reassign(assignments: readonly ReplicaAssignment[]): Promise<void> {
    return this.#run('moving replicas', {}, (kafka) => reassign(kafka, assignments, this.#deadlineMs));
  }

  reassignments(): Promise<readonly Reassignment[]> {
    return this.#run('listing moves of replicas', {}, (kafka) => listReassignments(kafka, this.#deadlineMs));
  }

  electPreferred(partitions: readonly TopicPartition[]): Promise<readonly ElectionAnswer[]> {
    return this.#run('electing leaders', {}, (kafka) => electPreferred(kafka, partitions, this.#deadlineMs));
  }

  replicaSizes(names: readonly string[]): Promise<ReadonlyMap<string, ReadonlyMap<number, bigint>>> {
    return this.#run('asking for sizes', {}, (kafka) => replicaSizes(kafka, names));
  }

  brokerConfig(broker: number, keys: readonly string[]): Promise<Readonly<Record<string, string>>> {
    return this.#run('reading the broker’s configuration', { broker }, (kafka) => brokerConfig(kafka, broker, keys));
  }

  alterBrokerConfig(broker: number, set: Readonly<Record<string, string | null>>): Promise<void> {
    return this.#run('changing the broker’s configuration', { broker }, (kafka) =>
      alterBrokerConfig(kafka, broker, set),
    );
  }

  async onEachBroker<Answer>(ask: (broker: ClusterAdmin) => Promise<Answer>): Promise<readonly Answer[]> {
    const { brokers } = await this.describeCluster();
    const deadlineMs = Math.min(this.#deadlineMs, oneBrokerMs);
    const answers = await Promise.all(
      brokers.map(async (broker) => {
        const only = { ...this.#config, brokers: [addressText(broker)] };
        return withKafkaAdmin(only, async (admin) => [await ask(admin)], { deadlineMs }).catch((error: unknown) => {
          if (error instanceof KpipeError && error.code === 'KPIPE_KAFKA_UNREACHABLE') {
            return [];
          }
          throw error;
        });
      }),
    );
    return answers.flat();
  }

  close(): Promise<void> {
    return this.#connections.close();
  }

  /** One call: repeats what has only moved, within the deadline, and gives every failure its code. */
  async #run<Result>(
    what: string,
    where: ErrorContext,
    attempt: (kafka: KafkaConnections) => Promise<Result>,
  ): Promise<Result> {
    const expiry = Promise.withResolvers<never>();
    const until = performance.now() + this.#deadlineMs;
    const timer = setTimeout(() => expiry.reject(this.#silent(what)), this.#deadlineMs);
    try {
      return await Promise.race([repeatWhileMoving(() => attempt(this.#connections), until), expiry.promise]);
    } catch (error) {
      throw callFailure(what, error, where);
    } finally {
      clearTimeout(timer);
    }
  }

  #silent(what: string): KpipeError {
    return unreachable(this.#config, [`no answer within ${this.#deadlineMs / 1000} s while ${what}`]);
  }
}

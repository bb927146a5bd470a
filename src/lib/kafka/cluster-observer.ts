import type { KafkaConfig } from '../config/load.ts';
import { withDeadline } from '../deadline.ts';
import { KpipeError, messageOf } from '../errors.ts';
import type {
  BrokerObservation,
  ClusterObservation,
  LogDirectory,
  QuorumObservation,
  QuorumReplica,
  TopicObservation,
} from '../health/cluster-observation.ts';
import { KafkaConnections, type KafkaDriver, type MetadataResponse } from './connections.ts';
import { callFailure, refusalsOf } from './failures.ts';
import { metadata } from './topic-requests.ts';
import { kafkaRelease } from './versions.ts';

type LogDirsResponse = Awaited<ReturnType<KafkaDriver['describeLogDirsV4']['api']['async']>>;
type QuorumResponse = Awaited<ReturnType<KafkaDriver['describeQuorumV2']['api']['async']>>;
type Quorum = QuorumResponse['topics'][number]['partitions'][number];

const metadataLog = '__cluster_metadata';
const storageError = 56;
/** DescribeConfigs in parts: an answer holds every key asked for of every topic. */
const topicsPerRequest = 500;
const boundKeys = ['min.insync.replicas', 'retention.ms', 'retention.bytes', 'segment.bytes', 'cleanup.policy'];

/** Looks at a cluster as a whole, again and again. Every broker has the same time to answer; one that does not is shown. */
export class ClusterObserver {
  readonly #connections: KafkaConnections;
  readonly #deadlineMs: number;
  readonly #now: () => number;

  private constructor(connections: KafkaConnections, deadlineMs: number, now: () => number) {
    this.#connections = connections;
    this.#deadlineMs = deadlineMs;
    this.#now = now;
  }

  static async open(config: KafkaConfig, deadlineMs: number, now: () => number): Promise<ClusterObserver> {
    return new ClusterObserver(await KafkaConnections.prepare(config, deadlineMs), deadlineMs, now);
  }

  /** @throws KPIPE_KAFKA_UNREACHABLE when no broker answers at all */
  async observe(): Promise<ClusterObservation> {
    const found = await this.#metadata();
    const names = found.topics.map(({ name }) => name ?? '');
    const [brokers, quorum, bounds] = await Promise.all([
      Promise.all(found.brokers.map((broker) => this.#broker(broker))),
      this.#quorum(),
      this.#bounds(names),
    ]);
    return {
      observedAtMs: this.#now(),
      clusterId: found.clusterId ?? '',
      brokers: [...brokers, ...missingBrokers(found)].toSorted((left, right) => left.id - right.id),
      quorum,
      topics: found.topics.map((topic) => topicObservation(topic, bounds.byTopic.get(topic.name ?? ''))),
      notes: bounds.problem === null ? [] : [`the topics’ configurations are not known: ${bounds.problem}`],
    };
  }

  close(): Promise<void> {
    return this.#connections.close();
  }

  async #metadata(): Promise<MetadataResponse> {
    try {
      return await this.#timed(metadata(this.#connections, { names: null }));
    } catch (error) {
      throw error instanceof KpipeError ? error : callFailure('describing the cluster', error, {});
    }
  }

  async #broker({ nodeId, host, port, rack }: MetadataResponse['brokers'][number]): Promise<BrokerObservation> {
    const seen = { id: nodeId, address: `${host}:${port}`, rack: rack ?? null };
    const ask = async (): Promise<BrokerObservation> => {
      const broker = await this.#connections.to({ host, port });
      const version = kafkaRelease(broker.versions);
      const { describeLogDirsV4, describeLogDirsV3 } = this.#connections.driver;
      try {
        const request = this.#connections.request(broker, [describeLogDirsV4.api, describeLogDirsV3.api], null);
        return { ...seen, version, problem: null, logDirectories: logDirectories(await request) };
      } catch (error) {
        // An offline directory makes the whole answer an error of the driver's; the answer is inside.
        const answer = partialAnswer(error) as LogDirsResponse | null;
        const logDirs = answer === null || answer.errorCode !== 0 ? null : logDirectories(answer);
        const refused = refusalsOf(error).length > 0;
        if (logDirs === null && !refused) {
          throw error;
        }
        return { ...seen, version, problem: null, logDirectories: logDirs };
      }
    };
    return this.#timed(ask()).catch((error: unknown) => ({
      ...seen,
      version: null,
      problem: messageOf(error),
      logDirectories: null,
    }));
  }

  async #quorum(): Promise<QuorumObservation> {
    const { describeQuorumV2, describeQuorumV1 } = this.#connections.driver;
    const ask = async (): Promise<QuorumObservation> => {
      const partitions = [{ topicName: metadataLog, partitions: [{ partitionIndex: 0 }] }];
      const versions = [describeQuorumV2.api, describeQuorumV1.api];
      const broker = await this.#connections.any();
      const response = await this.#connections.request<[typeof partitions], Pick<QuorumResponse, 'topics'>>(
        broker,
        versions,
        partitions,
      );
      const partition = response.topics[0]?.partitions[0];
      return partition === undefined ? { kind: 'unknown', reason: 'the brokers do not tell' } : quorumOf(partition);
    };
    return this.#timed(ask()).catch((error: unknown) => ({
      kind: 'unknown',
      reason: refusalsOf(error)[0]?.message ?? messageOf(error),
    }));
  }

  async #bounds(names: readonly string[]): Promise<Bounds> {
    const byTopic = new Map<string, ReadonlyMap<string, string>>();
    try {
      for (let first = 0; first < names.length; first += topicsPerRequest) {
        const part = names.slice(first, first + topicsPerRequest);
        for (const [topic, configs] of await this.#timed(this.#configs(part))) {
          byTopic.set(topic, configs);
        }
      }
      return { byTopic, problem: null };
    } catch (error) {
      return { byTopic, problem: refusalsOf(error)[0]?.message ?? messageOf(error) };
    }
  }

  async #configs(names: readonly string[]): Promise<readonly (readonly [string, ReadonlyMap<string, string>])[]> {
    const { driver } = this.#connections;
    const resources = names.map((resourceName) => ({
      resourceType: driver.ConfigResourceTypes.TOPIC,
      resourceName,
      configurationKeys: boundKeys,
    }));
    const versions = [driver.describeConfigsV4.api, driver.describeConfigsV3.api];
    const broker = await this.#connections.any();
    const results = await this.#connections.request(broker, versions, resources, false, false).then(
      (response) => response.results,
      (error: unknown) => {
        // A topic may be deleted between two requests; it is one error among the answers.
        const answer = partialAnswer(error) as { readonly results: readonly ConfigResult[] } | null;
        if (answer === null) {
          throw error;
        }
        return answer.results.filter(({ errorCode }) => errorCode === 0);
      },
    );
    return results.map(({ resourceName, configs }) => [
      resourceName,
      new Map(configs.map(({ name, value }) => [name, value ?? ''])),
    ]);
  }

  #timed<Value>(request: Promise<Value>): Promise<Value> {
    return withDeadline(request, this.#deadlineMs, 'no answer');
  }
}

type ConfigResult = Awaited<ReturnType<KafkaDriver['describeConfigsV4']['api']['async']>>['results'][number];

interface Bounds {
  readonly byTopic: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly problem: string | null;
}

/** The driver rejects an answer that holds any error, and keeps it. */
function partialAnswer(error: unknown): object | null {
  return typeof error === 'object' && error !== null && 'response' in error && typeof error.response === 'object'
    ? error.response
    : null;
}

function logDirectories({ results }: LogDirsResponse): readonly LogDirectory[] {
  return results.map(({ errorCode, logDir, topics, totalBytes, usableBytes }) => ({
    path: logDir,
    problem: errorCode === 0 ? null : errorCode === storageError ? 'it is offline' : `error ${errorCode}`,
    totalBytes: bytesOf(totalBytes),
    usableBytes: bytesOf(usableBytes),
    replicas: topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex, partitionSize }) => ({
        topic: name,
        partition: partitionIndex,
        bytes: Number(partitionSize),
      })),
    ),
  }));
}

/** -1: the broker does not say; undefined: the version has no such field. */
function bytesOf(bytes: bigint | undefined): number | null {
  return bytes === undefined || bytes < 0n ? null : Number(bytes);
}

function quorumOf({ leaderId, leaderEpoch, highWatermark, currentVoters, observers }: Quorum): QuorumObservation {
  const replica = ({
    replicaId,
    logEndOffset,
    lastCaughtUpTimestamp,
  }: Quorum['currentVoters'][number]): QuorumReplica => ({
    id: replicaId,
    logEndOffset,
    lastCaughtUpMs: lastCaughtUpTimestamp < 0n ? null : Number(lastCaughtUpTimestamp),
  });
  return {
    kind: 'known',
    leaderId,
    epoch: leaderEpoch,
    highWatermark,
    voters: currentVoters.map(replica),
    observers: observers.map(replica),
  };
}

/** Brokers that hold replicas and are not registered: they are down. */
function missingBrokers({ brokers, topics }: MetadataResponse): readonly BrokerObservation[] {
  const registered = new Set(brokers.map(({ nodeId }) => nodeId));
  const named = topics.flatMap(({ partitions }) => partitions.flatMap(({ replicaNodes }) => replicaNodes));
  return [...new Set(named)]
    .filter((id) => !registered.has(id))
    .map((id) => ({
      id,
      address: null,
      rack: null,
      version: null,
      problem: 'it is not registered with the controller',
      logDirectories: null,
    }));
}

function topicObservation(
  { name, isInternal, partitions }: MetadataResponse['topics'][number],
  configs: ReadonlyMap<string, string> | undefined,
): TopicObservation {
  const numberOf = (key: string): number | null => {
    const text = configs?.get(key) ?? '';
    return text === '' || Number(text) < 0 ? null : Number(text);
  };
  const expires = configs?.get('cleanup.policy')?.includes('delete') ?? false;
  return {
    name: name ?? '',
    internal: isInternal,
    minInsyncReplicas: numberOf('min.insync.replicas'),
    retention:
      configs === undefined
        ? null
        : {
            retentionMs: expires ? numberOf('retention.ms') : null,
            retentionBytes: expires ? numberOf('retention.bytes') : null,
            segmentBytes: numberOf('segment.bytes') ?? 0,
          },
    partitions: partitions
      .map(({ partitionIndex, leaderId, replicaNodes, isrNodes }) => ({
        partition: partitionIndex,
        leader: leaderId,
        replicas: replicaNodes,
        isr: isrNodes,
      }))
      .toSorted((left, right) => left.partition - right.partition),
  };
}

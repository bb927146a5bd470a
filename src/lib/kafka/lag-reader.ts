import type { KafkaConfig } from '../config/load.ts';
import { withDeadline } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import {
  partitionKey,
  type CommittedOffset,
  type FirstUnread,
  type GroupDescription,
  type GroupSight,
  type LagLook,
  type LagReader,
  type LogEnds,
  type PartitionPosition,
  type TopicPartition,
  type TopicSight,
} from '../ports.ts';
import { answered, partly, refusalOf } from './answers.ts';
import { BrokerCalls, type NamedBroker } from './broker-calls.ts';
import { addressText, KafkaConnections, type MetadataResponse } from './connections.ts';
import { callFailure, refusalText } from './failures.ts';
import { committedOffsetsAt, describeGroupsAt, findCoordinators } from './group-batches.ts';
import { listGroups } from './group-requests.ts';
import {
  bothEnds,
  isUnsettled,
  isVisible,
  leadersOf,
  partOf,
  sightOf,
  type Part,
  type TopicMetadata,
} from './lag-parts.ts';
import { logEndsAt } from './offset-requests.ts';
import { RecordTimes } from './record-time.ts';
import { askUntilSettled } from './repeat.ts';
import { requestMetadata, unknownTopic } from './topic-requests.ts';

/** For each broker and kind of request. */
const answerMs = 4000;
/** The driver gives a connection up a little later, so that the reason that is told is ours. */
const requestTimeoutMs = 4500;
/** How long a leader or a coordinator that is moving is waited for. */
const patienceMs = 2000;

/** Opens a reader; connects with the first look. The caller closes it. */
export async function openLagReader(config: KafkaConfig): Promise<LagReader> {
  const kafka = await KafkaConnections.prepare(config, requestTimeoutMs);
  const times = new RecordTimes(kafka, answerMs);
  return {
    look: () => new BatchedLook(kafka, new BrokerCalls(config, kafka, answerMs), times),
    groupNames: async () => {
      try {
        return (await withDeadline(listGroups(kafka), answerMs, 'no answer')).map(({ group }) => group);
      } catch (error) {
        throw callFailure('listing groups', error, {});
      }
    },
    close: () => kafka.close(),
  };
}

interface GroupParts {
  readonly description: Part<GroupDescription>;
  readonly committed: Part<readonly CommittedOffset[]>;
}

type Configs = ReadonlyMap<string, Part<ReadonlyMap<string, string | null>>>;

const retentionKeys = ['retention.ms', 'retention.bytes', 'cleanup.policy'];

class BatchedLook implements LagLook {
  readonly #kafka: KafkaConnections;
  readonly #calls: BrokerCalls;
  readonly #times: RecordTimes;
  readonly #requestsBefore: number;
  #found: MetadataResponse | undefined;

  constructor(kafka: KafkaConnections, calls: BrokerCalls, times: RecordTimes) {
    this.#kafka = kafka;
    this.#calls = calls;
    this.#times = times;
    this.#requestsBefore = kafka.requests;
  }

  get requests(): number {
    return this.#kafka.requests - this.#requestsBefore;
  }

  get silent(): readonly string[] {
    return this.#calls.silent;
  }

  async groups(names: readonly string[]): Promise<readonly GroupSight[]> {
    const found = await askUntilSettled(
      names,
      (open) => this.#askGroups(open),
      ({ description, committed }) => isUnsettled(description) || isUnsettled(committed),
      performance.now() + patienceMs,
    );
    return names.map((group) => {
      const parts = found.get(group);
      return {
        group,
        description: sightOf(parts?.description, `describe group ${group}`),
        committed: sightOf(parts?.committed, `read the offsets of group ${group}`),
      };
    });
  }

  async #askGroups(groups: readonly string[]): Promise<ReadonlyMap<string, GroupParts>> {
    const places = await this.#calls.any('finding the groups’ coordinators', (broker) =>
      findCoordinators(this.#kafka, broker, groups),
    );
    const parts = new Map<string, GroupParts>();
    const coordinated: { readonly group: string; readonly at: NamedBroker }[] = [];
    for (const [group, place] of places) {
      if (place.kind === 'known') {
        coordinated.push({ group, at: place.value });
      } else {
        parts.set(group, { description: place, committed: place });
      }
    }
    const byBroker = Map.groupBy(coordinated, ({ at }) => addressText(at));
    await Promise.all(
      [...byBroker.values()].map(async (asked) => {
        for (const [group, answer] of await this.#askCoordinator(asked)) {
          parts.set(group, answer);
        }
      }),
    );
    return parts;
  }

  async #askCoordinator(
    asked: readonly { readonly group: string; readonly at: NamedBroker }[],
  ): Promise<readonly (readonly [string, GroupParts])[]> {
    const [first] = asked;
    if (first === undefined) {
      return [];
    }
    const names = asked.map(({ group }) => group);
    const [descriptions, commits] = await Promise.all([
      this.#calls.at(first.at, (broker) => describeGroupsAt(this.#kafka, broker, names)),
      this.#calls.at(first.at, (broker) => committedOffsetsAt(this.#kafka, broker, names)),
    ]);
    return names.map((group) => [
      group,
      { description: partOf(descriptions, group), committed: partOf(commits, group) },
    ]);
  }

  async topics(
    names: readonly string[],
  ): Promise<{ readonly clusterId: string; readonly topics: readonly TopicSight[] }> {
    const { clusterId, topics } = await this.#locate(names);
    const visible = topics.filter(isVisible);
    const [configs, ends] = await Promise.all([this.#configs(visible), this.#ends(names, visible)]);
    const byName = new Map(topics.map((topic) => [topic.name ?? '', topic]));
    return {
      clusterId: clusterId ?? '',
      topics: names.map((name) => this.#topicSight(name, byName.get(name), ends, configs)),
    };
  }

  firstUnread(positions: readonly PartitionPosition[]): Promise<readonly FirstUnread[]> {
    return this.#times.firstUnread(positions, this.#found);
  }

  async #locate(names: readonly string[]): Promise<MetadataResponse> {
    const found = await this.#calls.any('describing topics', (broker) =>
      partly(requestMetadata(this.#kafka, broker, { names })),
    );
    this.#found = found;
    return found;
  }

  #topicSight(
    name: string,
    topic: TopicMetadata | undefined,
    ends: ReadonlyMap<string, Part<LogEnds>>,
    configs: Configs,
  ): TopicSight {
    if (topic === undefined || topic.errorCode === unknownTopic) {
      const absent = { kind: 'unknown', reason: `topic ${name} does not exist` } as const;
      return { name, partitions: absent, config: absent };
    }
    if (!isVisible(topic)) {
      const reason = refusalText(refusalOf(this.#kafka, topic.errorCode), `see topic ${name}`);
      const hidden = { kind: 'unknown', reason } as const;
      return { name, partitions: hidden, config: hidden };
    }
    const numbers = topic.partitions
      .map(({ partitionIndex }) => partitionIndex)
      .toSorted((left, right) => left - right);
    return {
      name,
      partitions: {
        kind: 'known',
        value: new Map(
          numbers.map((partition) => [
            partition,
            sightOf(ends.get(partitionKey({ topic: name, partition })), `see topic ${name}`),
          ]),
        ),
      },
      config: sightOf(configs.get(name), `see the configuration of topic ${name}`),
    };
  }

  async #configs(topics: readonly TopicMetadata[]): Promise<Configs> {
    if (topics.length === 0) {
      return new Map();
    }
    const resources = topics.map(({ name }) => ({
      resourceType: this.#kafka.driver.ConfigResourceTypes.TOPIC,
      resourceName: name ?? '',
      configurationKeys: retentionKeys,
    }));
    const { describeConfigsV4, describeConfigsV3 } = this.#kafka.driver;
    const versions = [describeConfigsV4.api, describeConfigsV3.api];
    try {
      const { results } = await this.#calls.any('reading topic configurations', (broker) =>
        partly(this.#kafka.request(broker, versions, resources, false, false)),
      );
      return new Map(
        results.map((found) => [
          found.resourceName,
          answered(this.#kafka, found, () => new Map(found.configs.map(({ name, value }) => [name, value ?? null]))),
        ]),
      );
    } catch (error) {
      const failed = { kind: 'unknown', reason: messageOf(error) } as const;
      return new Map(topics.map(({ name }) => [name ?? '', failed]));
    }
  }

  async #ends(names: readonly string[], topics: readonly TopicMetadata[]): Promise<ReadonlyMap<string, Part<LogEnds>>> {
    const partitions = new Map(
      topics.flatMap(({ name, partitions: ofTopic }) =>
        ofTopic.map(({ partitionIndex }) => {
          const at = { topic: name ?? '', partition: partitionIndex };
          return [partitionKey(at), at] as const;
        }),
      ),
    );
    let isFirst = true;
    return askUntilSettled(
      [...partitions.keys()],
      async (open) => {
        // Whoever led them does not any more.
        const { brokers, topics: located } =
          isFirst && this.#found !== undefined ? this.#found : await this.#locate(names);
        isFirst = false;
        return this.#askEnds(
          open.flatMap((key) => partitions.get(key) ?? []),
          leadersOf(brokers, located),
        );
      },
      isUnsettled,
      performance.now() + patienceMs,
    );
  }

  async #askEnds(
    partitions: readonly TopicPartition[],
    leaders: ReadonlyMap<string, NamedBroker>,
  ): Promise<ReadonlyMap<string, Part<LogEnds>>> {
    const byLeader = Map.groupBy(partitions, (partition) => leaders.get(partitionKey(partition)));
    const rounds = await Promise.all(
      [...byLeader].map(async ([leader, asked]): Promise<readonly (readonly [string, Part<LogEnds>])[]> => {
        const keys = asked.map(partitionKey);
        if (leader === undefined) {
          return keys.map((key) => [key, { kind: 'unknown', reason: 'the partition has no leader' }]);
        }
        const [starts, ends] = await Promise.all([
          this.#calls.at(leader, (broker) => logEndsAt(this.#kafka, broker, asked, 'earliest')),
          this.#calls.at(leader, (broker) => logEndsAt(this.#kafka, broker, asked, 'latest')),
        ]);
        return keys.map((key) => [key, bothEnds(partOf(starts, key), partOf(ends, key))]);
      }),
    );
    return new Map(rounds.flat());
  }
}

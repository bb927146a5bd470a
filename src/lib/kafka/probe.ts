import type { KafkaConfig } from '../config/load.ts';
import { messageOf } from '../errors.ts';
import type { Broker, ClusterDescription, TopicDescription } from '../ports.ts';
import { withKafkaAdmin, type TopicRights } from './admin.ts';

/** What there is to know of a cluster before anything is read from it or written to it. */
export interface KafkaFacts {
  readonly cluster: ClusterDescription;
  readonly version: string | null;
  /** Brokers that cannot be reached at the address that the cluster gives out for them. */
  readonly unreachable: readonly { readonly broker: Broker; readonly reason: string }[];
  /** Of the topics asked for, those that exist. */
  readonly topics: readonly TopicDescription[];
  /** Absent where the broker does not tell. */
  readonly rights: ReadonlyMap<string, TopicRights>;
}

/** @throws KPIPE_KAFKA_… within the deadline */
export async function probeKafka(
  config: KafkaConfig,
  topics: readonly string[],
  deadlineMs: number,
): Promise<KafkaFacts> {
  const work = withKafkaAdmin(
    config,
    async (admin) => {
      const cluster = await admin.describeCluster();
      const [version, described, rights, unreachable] = await Promise.all([
        admin.kafkaVersion(),
        admin.describeTopics(topics),
        admin.topicRights(topics),
        Promise.all(cluster.brokers.map((broker) => reach(broker, () => admin.reach(broker)))),
      ]);
      return { cluster, version, topics: described, rights, unreachable: unreachable.flat() };
    },
    // The first call finds out whether anybody is there; the others run at once.
    { deadlineMs: Math.floor(deadlineMs / 2) },
  );
  return work;
}

async function reach(broker: Broker, attempt: () => Promise<void>): Promise<KafkaFacts['unreachable']> {
  try {
    await attempt();
    return [];
  } catch (error) {
    return [{ broker, reason: messageOf(error) }];
  }
}

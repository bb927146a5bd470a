import type { KafkaConfig } from '../../src/lib/config/load.ts';
import { KafkaConnections } from '../../src/lib/kafka/connections.ts';
import { coordinator, describeGroup } from '../../src/lib/kafka/group-requests.ts';

/** The epoch by which a member of a KIP-848 group says that it goes. */
const leaving = -1;

/**
 * Takes members out of a group: a member that was killed holds its partitions until its session times out, and a test
 * need not wait for that each time. Of a member that lives, this makes a zombie. In a classic group it is what an
 * administrator does (LeaveGroup by member id, KIP-345); in a KIP-848 group the heartbeat by which that member would go.
 */
export class GroupMembers {
  readonly #kafka: KafkaConnections;
  readonly #group: string;

  private constructor(kafka: KafkaConnections, group: string) {
    this.#kafka = kafka;
    this.#group = group;
  }

  static async open(config: KafkaConfig, group: string): Promise<GroupMembers> {
    return new GroupMembers(await KafkaConnections.prepare(config, 10_000), group);
  }

  async ids(): Promise<readonly string[]> {
    const { members } = await describeGroup(this.#kafka, this.#group);
    return members.map(({ memberId }) => memberId);
  }

  async evictAll(): Promise<void> {
    const { protocol, members } = await describeGroup(this.#kafka, this.#group);
    const ids = members.map(({ memberId }) => memberId);
    if (ids.length === 0) {
      return;
    }
    const evicted = protocol === 'consumer' ? Promise.all(ids.map((id) => this.#goAs(id))) : this.#remove(ids);
    await evicted.catch(async (error: unknown) => {
      // It may have timed out meanwhile.
      if ((await this.ids()).some((id) => ids.includes(id))) {
        throw error;
      }
    });
  }

  async #remove(ids: readonly string[]): Promise<void> {
    const { driver } = this.#kafka;
    const members = ids.map((memberId) => ({ memberId, groupInstanceId: null, reason: 'evicted by a test' }));
    const broker = await coordinator(this.#kafka, this.#group);
    await this.#kafka.request(broker, [driver.leaveGroupV5.api], this.#group, members);
  }

  async #goAs(memberId: string): Promise<void> {
    const { api } = this.#kafka.driver.consumerGroupHeartbeatV1;
    const broker = await coordinator(this.#kafka, this.#group);
    await this.#kafka.request(broker, [api], this.#group, memberId, leaving, null, null, -1, null, null, null, null);
  }

  /**
   * How long a KIP-848 group waits for a member that is silent; in a classic group each member says it when it joins.
   * @throws when the brokers' bounds do not allow it
   */
  async setSession(sessionMs: number): Promise<void> {
    const { driver } = this.#kafka;
    const configs = [
      {
        name: 'consumer.session.timeout.ms',
        configOperation: driver.IncrementalAlterConfigOperationTypes.SET,
        value: String(sessionMs),
      },
    ];
    const group = { resourceType: driver.ConfigResourceTypes.GROUP, resourceName: this.#group, configs };
    await this.#kafka.request(await this.#kafka.any(), [driver.incrementalAlterConfigsV1.api], [group], false);
  }

  close(): Promise<void> {
    return this.#kafka.close();
  }
}

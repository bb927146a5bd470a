import { vi } from 'vitest';

import type { KafkaConfig } from '../../src/lib/config/load.ts';
import { KafkaConnections } from '../../src/lib/kafka/connections.ts';
import { refusalsOf } from '../../src/lib/kafka/failures.ts';
import { coordinator, describeGroup } from '../../src/lib/kafka/group-requests.ts';

/** `group.consumer.min.session.timeout.ms`, unless the brokers are told otherwise. */
const brokersSessionMs = 45_000;
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

  /** The broker that coordinates the group, as `host:port`. */
  async coordinator(): Promise<string> {
    const { connection } = await coordinator(this.#kafka, this.#group);
    return `${connection.host}:${connection.port}`;
  }

  async ids(): Promise<readonly string[]> {
    const { members } = await describeGroup(this.#kafka, this.#group);
    return members.map(({ memberId }) => memberId);
  }

  /** How many partitions each member has, of those that have any. */
  async shares(): Promise<readonly number[]> {
    const { members } = await describeGroup(this.#kafka, this.#group);
    return members.map(({ assignment }) => assignment.length).filter((count) => count > 0);
  }

  async evictAll(): Promise<void> {
    // Brokers that have just started have no coordinators yet.
    await vi.waitFor(() => this.#evictAll(), { timeout: 20_000, interval: 200 });
  }

  async #evictAll(): Promise<void> {
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
   * Answers what the brokers' bounds leave of the wish.
   */
  async setSession(sessionMs: number): Promise<number> {
    const { ConfigResourceTypes: types, IncrementalAlterConfigOperationTypes: operations } = this.#kafka.driver;
    const { api } = this.#kafka.driver.incrementalAlterConfigsV1;
    const session = { name: 'consumer.session.timeout.ms', configOperation: operations.SET, value: String(sessionMs) };
    const group = { resourceType: types.GROUP, resourceName: this.#group, configs: [session] };
    try {
      await this.#kafka.request(await this.#kafka.any(), [api], [group], false);
      return sessionMs;
    } catch (error) {
      if (refusalsOf(error).some(({ id }) => id === 'INVALID_CONFIG')) {
        return brokersSessionMs;
      }
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#kafka.close();
  }
}

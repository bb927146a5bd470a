import type { KafkaConfig } from '../../src/lib/config/load.ts';
import { KafkaConnections } from '../../src/lib/kafka/connections.ts';
import { coordinator, describeGroup } from '../../src/lib/kafka/group-requests.ts';

/**
 * Takes members out of a group, as an administrator does (LeaveGroup by member id, KIP-345): a member that was killed
 * holds its partitions until its session times out, and a test need not wait for that each time. Of a member that lives,
 * this makes a zombie.
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
    const members = (await this.ids()).map((memberId) => ({
      memberId,
      groupInstanceId: null,
      reason: 'evicted by a test',
    }));
    if (members.length > 0) {
      const broker = await coordinator(this.#kafka, this.#group);
      await this.#kafka
        .request(broker, [this.#kafka.driver.leaveGroupV5.api], this.#group, members)
        .catch(async (error: unknown) => {
          // It may have timed out meanwhile.
          if ((await this.ids()).some((id) => members.some(({ memberId }) => memberId === id))) {
            throw error;
          }
        });
    }
  }

  close(): Promise<void> {
    return this.#kafka.close();
  }
}

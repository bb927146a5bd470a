import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { topicArgument } from '../../cli/topic-argument.ts';
import { describedTopicView } from '../../cli/views/topics.ts';
import { withKafkaAdmin } from '../../lib/kafka/admin.ts';
import { describeTopic, type DescribedTopic } from '../../lib/topics/inspect.ts';

export type TopicsDescribeResult = DescribedTopic;

export default class TopicsDescribe extends KpipeCommand {
  static override summary = 'show a topic: partitions, leaders, replicas, offsets and configuration';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events',
    '<%= config.bin %> <%= command.id %> events --defaults',
    '<%= config.bin %> <%= command.id %> events --json',
  ];
  static override args = { topic: topicArgument({ required: true, description: 'name of the topic' }) };
  static override flags = { defaults: Flags.boolean({ description: "also the keys that have Kafka's default" }) };

  async run(): Promise<TopicsDescribeResult> {
    const { args, flags } = await this.parse(TopicsDescribe);
    const config = this.configuration(flags);
    const topic = await withKafkaAdmin(config.kafka, (admin) => describeTopic(admin, config, args.topic));
    return this.show(flags, topic, describedTopicView({ defaults: flags.defaults }));
  }
}

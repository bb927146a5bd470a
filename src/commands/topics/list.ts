import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { topicListView } from '../../cli/views/topics.ts';
import { withKafkaAdmin } from '../../lib/kafka/admin.ts';
import { listTopics, type TopicList } from '../../lib/topics/inspect.ts';

export type TopicsListResult = TopicList;

export default class TopicsList extends KpipeCommand {
  static override summary = 'list the topics of the cluster and those that kpipe.yaml asks for';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --internal --json',
  ];
  static override flags = { internal: Flags.boolean({ description: "with Kafka's internal topics" }) };

  async run(): Promise<TopicsListResult> {
    const { flags } = await this.parse(TopicsList);
    const config = this.configuration(flags);
    const list = await withKafkaAdmin(config.kafka, (admin) => listTopics(admin, config, { internal: flags.internal }));
    return this.show(flags, list, topicListView);
  }
}

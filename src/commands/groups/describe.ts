import { Args } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { groupView } from '../../cli/views/groups.ts';
import type { DescribedGroup } from '../../lib/groups/inspect.ts';

export type GroupsDescribeResult = DescribedGroup;

export default class GroupsDescribe extends KpipeCommand {
  static override summary = 'show the members of a consumer group, what each reads, and the lag of each partition';
  static override examples = [
    '<%= config.bin %> <%= command.id %> kpipe-events',
    '<%= config.bin %> <%= command.id %> kpipe-events --json',
  ];
  static override args = { group: Args.string({ required: true, description: 'a consumer group' }) };

  async run(): Promise<GroupsDescribeResult> {
    const { args, flags } = await this.parse(GroupsDescribe);
    const config = this.configuration(flags);
    const { withKafkaAdmin } = await import('../../lib/kafka/admin.ts');
    const { describeConsumerGroup } = await import('../../lib/groups/inspect.ts');
    const result = await withKafkaAdmin(config.kafka, (admin) => describeConsumerGroup(admin, config, args.group));
    return this.show(flags, result, groupView);
  }
}

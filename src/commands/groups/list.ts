import { KpipeCommand } from '../../cli/base-command.ts';
import { groupListView } from '../../cli/views/groups.ts';
import type { GroupList } from '../../lib/groups/inspect.ts';

export type GroupsListResult = GroupList;

export default class GroupsList extends KpipeCommand {
  static override summary = 'list the consumer groups of the cluster, classic and KIP-848';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<GroupsListResult> {
    const { flags } = await this.parse(GroupsList);
    const config = this.configuration(flags);
    const { withKafkaAdmin } = await import('../../lib/kafka/admin.ts');
    const { listConsumerGroups } = await import('../../lib/groups/inspect.ts');
    const result = await withKafkaAdmin(config.kafka, (admin) => listConsumerGroups(admin, config));
    return this.show(flags, result, groupListView);
  }
}

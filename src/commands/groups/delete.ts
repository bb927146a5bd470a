import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { deletedGroupView } from '../../cli/views/groups.ts';
import type { DeletedGroup } from '../../lib/groups/inspect.ts';

export type GroupsDeleteResult = DeletedGroup;

export default class GroupsDelete extends KpipeCommand {
  static override summary = 'delete a consumer group that has no members, with what it has committed';
  static override description =
    'refuses (4) while it has members. a role whose truth is in PostgreSQL reads on where it was; another one begins at its start';
  static override examples = [
    '<%= config.bin %> <%= command.id %> old-service',
    '<%= config.bin %> <%= command.id %> old-service --yes',
  ];
  static override args = { group: Args.string({ required: true, description: 'a consumer group' }) };
  static override flags = {
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
  };

  async run(): Promise<GroupsDeleteResult> {
    const { args, flags } = await this.parse(GroupsDelete);
    const config = this.configuration(flags);
    const { withKafkaAdmin } = await import('../../lib/kafka/admin.ts');
    const { deleteConsumerGroup } = await import('../../lib/groups/inspect.ts');
    const result = await withKafkaAdmin(config.kafka, (admin) =>
      deleteConsumerGroup(admin, args.group, ({ group }, committed) =>
        this.confirm({
          action: `delete group ${group} with its ${committed.length} committed offsets`,
          yes: flags.yes,
          confirm: flags.confirm,
          config,
        }),
      ),
    );
    return this.show(flags, result, deletedGroupView);
  }
}

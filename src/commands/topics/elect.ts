import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { electionView, skewText } from '../../cli/views/topic-moves.ts';
import { withKafkaAdmin } from '../../lib/kafka/admin.ts';
import { openAuditLog } from '../../lib/topics/audit.ts';
import { electLeaders, observeLeadership, type ElectionResult } from '../../lib/topics/elect.ts';

export type TopicsElectResult = ElectionResult;

export default class TopicsElect extends KpipeCommand {
  static override summary = 'give leadership back to the preferred replicas';
  static override description =
    'after brokers were down, others lead their partitions: this evens it out, and shows the skew before and after (the most that a broker leads, over the mean). exits 5 when a partition could not be elected';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> events logs --yes',
  ];
  static override args = { topic: Args.string({ description: 'topics (default: every topic of the cluster)' }) };
  static override flags = {
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
  };

  async run(): Promise<TopicsElectResult> {
    const { argv, flags } = await this.parse(TopicsElect);
    const config = this.configuration(flags);
    return withKafkaAdmin(config.kafka, async (admin) => {
      const plan = await observeLeadership(admin, argv.map(String));
      const { displaced } = plan.before;
      if (displaced > 0) {
        const action = `elect the preferred leaders of ${displaced} partitions (skew ${skewText(plan.before)})`;
        await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
      }
      const audit = openAuditLog(process.env, Date.now);
      const result = await electLeaders(admin, plan, (act) => audit.record(act));
      return this.show(flags, result, electionView, { exitCode: result.failed.length === 0 ? 0 : 5 });
    });
  }
}

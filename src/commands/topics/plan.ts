import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { planView } from '../../cli/views/topics.ts';
import type { TopicPlan } from '../../lib/topics/change.ts';
import { drawUpPlan } from '../../lib/topics/draw-up.ts';
import { savePlan } from '../../lib/topics/plan-file.ts';
import { withTopicSources } from '../../lib/topics/sources.ts';

export type TopicsPlanResult = TopicPlan;

export default class TopicsPlan extends KpipeCommand {
  static override summary = 'show what would change so that the topics are as kpipe.yaml declares them';
  static override description =
    'only looks: the cluster checks every change without making it. exits 0 in sync, 3 on drift, 2 on a bad key or value, 4 on what Kafka cannot do';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --out plan.json',
    '<%= config.bin %> <%= command.id %> --topic events --json',
    '<%= config.bin %> <%= command.id %> --prune old-orders --out plan.json',
  ];
  static override flags = {
    out: Flags.string({ helpValue: 'FILE', description: 'also write the plan to a file, for topics apply FILE' }),
    topic: Flags.string({ multiple: true, helpValue: 'TOPIC', description: 'only this topic; repeat it for more' }),
    prune: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TOPIC',
      description: 'delete this topic, which the file does not name; repeat it for more',
    }),
  };

  async run(): Promise<TopicsPlanResult> {
    const { flags } = await this.parse(TopicsPlan);
    const config = this.configuration(flags);
    const request = { declarations: config, only: flags.topic ?? [], prune: flags.prune ?? [], nowMs: Date.now() };
    const plan = await withTopicSources(config, (admin, sources) => drawUpPlan(admin, { ...request, sources }));
    if (flags.out !== undefined) {
      await savePlan(plan, flags.out);
    }
    return this.show(flags, plan, planView(config.context), { exitCode: plan.changes.length === 0 ? 0 : 3 });
  }
}

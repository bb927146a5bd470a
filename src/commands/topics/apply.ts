import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { applyView, planLines } from '../../cli/views/topics.ts';
import type { Config } from '../../lib/config/load.ts';
import { KpipeError } from '../../lib/errors.ts';
import { withKafkaAdmin } from '../../lib/kafka/admin.ts';
import type { ClusterAdmin } from '../../lib/ports.ts';
import { applyPlan, refuseMoves, type ApplyResult } from '../../lib/topics/apply.ts';
import type { TopicPlan } from '../../lib/topics/change.ts';
import { drawUpPlan } from '../../lib/topics/draw-up.ts';
import { readPlan } from '../../lib/topics/plan-file.ts';

export type TopicsApplyResult = ApplyResult;

interface Consent {
  readonly yes: boolean;
  readonly confirm?: string | undefined;
}

export default class TopicsApply extends KpipeCommand {
  static override summary = 'make the topics as kpipe.yaml declares them, or as a saved plan says';
  static override description =
    'creates topics, adds partitions and sets declared keys; deletes nothing. refuses (4) when the cluster is no longer as the plan saw it; exits 5 when only a part was done';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --yes',
    '<%= config.bin %> <%= command.id %> plan.json --yes',
    '<%= config.bin %> <%= command.id %> --context prod --confirm prod',
  ];
  static override args = { plan: Args.string({ description: 'a plan written by topics plan --out' }) };
  static override flags = {
    topic: Flags.string({ multiple: true, helpValue: 'TOPIC', description: 'only this topic; repeat it for more' }),
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
  };

  async run(): Promise<TopicsApplyResult> {
    const { args, flags } = await this.parse(TopicsApply);
    if (args.plan !== undefined && flags.topic !== undefined) {
      throw new KpipeError('KPIPE_USAGE', '--topic chooses what to plan: it does not go with a saved plan', {
        next: 'plan again with --topic',
      });
    }
    const saved = args.plan === undefined ? undefined : readPlan(args.plan);
    const config = this.configuration(flags);
    const request = { declarations: config, only: flags.topic ?? [], nowMs: Date.now() };
    const result = await withKafkaAdmin(config.kafka, async (admin) => {
      const plan = saved ?? (await drawUpPlan(admin, request));
      return this.#apply(admin, plan, config, flags);
    });
    const complete = result.failed.length + result.notDone.length === 0;
    return this.show(flags, result, applyView, { exitCode: complete ? 0 : 5 });
  }

  async #apply(admin: ClusterAdmin, plan: TopicPlan, config: Config, consent: Consent): Promise<ApplyResult> {
    if (plan.changes.length > 0) {
      for (const line of planLines(plan, config.context)) {
        this.say(line);
      }
      refuseMoves(plan.changes);
      await this.confirm({
        action: `apply ${plan.changes.length} changes to cluster ${plan.clusterId}`,
        ...consent,
        config,
      });
    }
    return applyPlan(admin, plan, { nowMs: Date.now(), signal: this.interruption() });
  }
}

import { Args } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { replayFlags, replayRequest } from '../../cli/replay-flags.ts';
import { replayPlanView } from '../../cli/views/replay.ts';
import type { ReplayPlan } from '../../lib/replay/replay-plan.ts';

export type ReplayPlanResult = ReplayPlan;

export default class ReplayPlanCommand extends KpipeCommand {
  static override summary =
    'show what reading a role again would mean: records, bytes, time, and what stands in the way';
  static override description = 'joins no group and changes nothing';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events --to -2h',
    "<%= config.bin %> <%= command.id %> logs --to '@2026-02-14T09:30:00Z' --partition 3",
    '<%= config.bin %> <%= command.id %> analytics --to earliest --json',
  ];
  static override args = { role: Args.string({ required: true, description: 'a role of kpipe.yaml' }) };
  static override flags = replayFlags;

  async run(): Promise<ReplayPlanResult> {
    const { args, flags } = await this.parse(ReplayPlanCommand);
    const config = this.configuration(flags);
    const { planRole } = await import('../../lib/replay/run.ts');
    const plan = await planRole(config, args.role, replayRequest(flags));
    return this.show(flags, plan, replayPlanView(config.context));
  }
}

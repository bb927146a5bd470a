import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { consentFlags, selectionFlags } from '../../cli/dead-letter-flags.ts';
import { purgePlanLines, purgeView } from '../../cli/views/dead-letters.ts';
import { planPurge, purge, type PurgeReport } from '../../lib/dlq/purge.ts';
import { selectionOf } from '../../lib/dlq/selection.ts';
import { KpipeError } from '../../lib/errors.ts';

export type DlqPurgeResult = PurgeReport;

export default class DlqPurge extends KpipeCommand {
  static override summary = 'delete dead letters for good, from the beginning of their topic';
  static override description =
    'shows what is lost and asks. Kafka deletes only from the beginning of a log: of each partition the longest beginning goes in which every letter matches, or was redriven. ' +
    'a letter that does not match is never deleted';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events --redriven',
    '<%= config.bin %> <%= command.id %> events --until 14d --dry-run',
    '<%= config.bin %> <%= command.id %> events --all --context prod --confirm prod',
  ];
  static override args = { role: Args.string({ required: true, description: 'a role of kpipe.yaml' }) };
  static override flags = {
    ...selectionFlags,
    redriven: Flags.boolean({ description: 'only what was redriven' }),
    all: Flags.boolean({ description: 'everything that is in the topic' }),
    ...consentFlags,
  };

  async run(): Promise<DlqPurgeResult> {
    const { args, flags } = await this.parse(DlqPurge);
    const selection = selectionOf(flags, Date.now());
    if ([selection.restricts, flags.redriven, flags.all].filter(Boolean).length !== 1) {
      throw new KpipeError('KPIPE_USAGE', 'say what is to be deleted', {
        next: 'one of --redriven, --all, or a choice by --until, --since, --reason, --where',
      });
    }
    const config = this.configuration(flags);
    const request = { role: args.role, selection, redrivenOnly: flags.redriven };
    const plan = await planPurge(config, request, this.interruption());
    for (const line of purgePlanLines(plan)) {
      this.say(line);
    }
    if (flags['dry-run'] || plan.cuts.length === 0) {
      return this.show(flags, { ...plan, dryRun: flags['dry-run'], purged: false }, purgeView);
    }
    const lost = plan.loss.dead + plan.loss.quarantined;
    const action = `delete dead letters of role ${args.role} for good (${lost})`;
    await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
    return this.show(flags, await purge(config, plan), purgeView);
  }
}

import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { consentFlags, consentOf } from '../../cli/replay-consent.ts';
import { positionOption, replayFlags, replayRequest } from '../../cli/replay-flags.ts';
import { replayResultView } from '../../cli/views/replay.ts';
import { KpipeError } from '../../lib/errors.ts';
import type { ReplayResult } from '../../lib/replay/carry-out.ts';

export type ReplayApplyResult = ReplayResult;

export default class ReplayApply extends KpipeCommand {
  static override summary = 'set where a role reads on, after showing what that means';
  static override description =
    'refuses (4) while the group has members, or where the log does not hold what is asked for. the old positions are journalled first: replay undo takes it back, --resume finishes one that was interrupted';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events --to -2h',
    '<%= config.bin %> <%= command.id %> events --to -2h --pause-role --yes',
    '<%= config.bin %> <%= command.id %> --resume 20260214-093000-9f2c',
    '<%= config.bin %> <%= command.id %> logs --to earliest --context prod --confirm prod',
  ];
  static override args = { role: Args.string({ description: 'a role of kpipe.yaml' }) };
  static override flags = {
    ...replayFlags,
    to: Flags.string(positionOption),
    resume: Flags.string({ helpValue: 'ID', exclusive: ['to'], description: 'finish a replay that was interrupted' }),
    ...consentFlags,
  };

  async run(): Promise<ReplayApplyResult> {
    const { args, flags } = await this.parse(ReplayApply);
    const config = this.configuration(flags);
    const { applyRole, resumeById } = await import('../../lib/replay/run.ts');
    const confirm = (action: string): Promise<void> =>
      this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
    if (flags.resume !== undefined) {
      await confirm(`finish replay ${flags.resume}`);
      return this.show(flags, await resumeById(config, flags.resume), replayResultView);
    }
    if (args.role === undefined || flags.to === undefined) {
      throw new KpipeError('KPIPE_USAGE', 'replay apply needs a role and --to (or --resume ID)', {
        next: 'see --help',
      });
    }
    const asking = { say: this.say.bind(this), confirm, signal: this.interruption() };
    const request = replayRequest({ ...flags, to: flags.to });
    const result = await applyRole(config, args.role, request, consentOf(config, flags, asking));
    return this.show(flags, result, replayResultView);
  }
}

import { Args } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { consentFlags, consentOf } from '../../cli/replay-consent.ts';
import { replayFlags } from '../../cli/replay-flags.ts';
import { replayResultView } from '../../cli/views/replay.ts';
import type { ReplayResult } from '../../lib/replay/carry-out.ts';

export type ReplayUndoResult = ReplayResult;

export default class ReplayUndo extends KpipeCommand {
  static override summary = 'give a role the positions back that it had before a replay';
  static override description =
    'without an id, the newest replay that was done or was interrupted. a partition that has passed its old position again is left as it is';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> 20260214-093000-9f2c --yes',
  ];
  static override args = { id: Args.string({ description: 'the replay, as replay history names it' }) };
  static override flags = { clamp: replayFlags.clamp, ...consentFlags };

  async run(): Promise<ReplayUndoResult> {
    const { args, flags } = await this.parse(ReplayUndo);
    const config = this.configuration(flags);
    const { undoById } = await import('../../lib/replay/run.ts');
    const confirm = (action: string): Promise<void> =>
      this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
    const asking = { say: this.say.bind(this), confirm, signal: this.interruption() };
    const result = await undoById(config, args.id, flags.clamp, consentOf(config, flags, asking));
    return this.show(flags, result, replayResultView);
  }
}

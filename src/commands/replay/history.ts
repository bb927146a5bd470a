import { Args } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { replayHistoryView } from '../../cli/views/replay.ts';
import type { ReplayHistory } from '../../lib/replay/history.ts';

export type ReplayHistoryResult = ReplayHistory;

export default class ReplayHistoryCommand extends KpipeCommand {
  static override summary = 'show what was done to positions, by whom, and what was left half done';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> events --json',
  ];
  static override args = { role: Args.string({ description: 'only this role' }) };

  async run(): Promise<ReplayHistoryResult> {
    const { args, flags } = await this.parse(ReplayHistoryCommand);
    const { readHistory } = await import('../../lib/replay/run.ts');
    const history = await readHistory(this.configuration(flags), args.role);
    return this.show(flags, history, replayHistoryView);
  }
}

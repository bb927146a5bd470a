import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { selectionFlags } from '../../cli/dead-letter-flags.ts';
import { dlqCountLines, dlqListView } from '../../cli/views/dead-letters.ts';
import { listDeadLetters, type DlqListReport } from '../../lib/dlq/list.ts';
import { selectionOf } from '../../lib/dlq/selection.ts';

export type DlqListResult = DlqListReport;

export default class DlqList extends KpipeCommand {
  static override summary = 'show the records that could not be stored, newest first, and why';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> events --reason projection_type --since 2h',
    `<%= config.bin %> <%= command.id %> events --where 'partition == 3 && key.startsWith("o-")' --json`,
  ];
  static override args = { role: Args.string({ description: 'a role of kpipe.yaml (default: all of them)' }) };
  static override flags = {
    ...selectionFlags,
    max: Flags.integer({ char: 'n', min: 1, max: 100_000, default: 100, description: 'show at most this many' }),
    all: Flags.boolean({ description: 'also those that were redriven' }),
  };

  async run(): Promise<DlqListResult> {
    const { args, flags } = await this.parse(DlqList);
    const selection = selectionOf(flags, Date.now());
    const config = this.configuration(flags);
    const request = { role: args.role, selection, all: flags.all, max: flags.max };
    const result = await listDeadLetters(config, request, this.interruption());
    const shown = this.show(flags, result, dlqListView);
    for (const line of dlqCountLines(result)) {
      this.say(line);
    }
    return shown;
  }
}

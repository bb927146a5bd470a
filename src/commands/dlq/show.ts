import { Args } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { dlqShowView } from '../../cli/views/dead-letters.ts';
import { parsePlace } from '../../lib/dlq/dead-letter.ts';
import { showDeadLetter, type DlqShowReport } from '../../lib/dlq/show.ts';
import { KpipeError } from '../../lib/errors.ts';

export type DlqShowResult = DlqShowReport;

export default class DlqShow extends KpipeCommand {
  static override summary = 'show one dead letter whole: bytes, headers, what its reason means and what to do next';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events events/3@1042',
    '<%= config.bin %> <%= command.id %> analytics analytics/0@17 --json',
  ];
  static override args = {
    role: Args.string({ required: true, description: 'a role of kpipe.yaml' }),
    origin: Args.string({ required: true, description: 'where the record failed: TOPIC/PARTITION@OFFSET' }),
  };

  async run(): Promise<DlqShowResult> {
    const { args, flags } = await this.parse(DlqShow);
    const place = parsePlace(args.origin);
    if (place === null) {
      throw new KpipeError('KPIPE_USAGE', `${args.origin} is no place of a record`, {
        next: 'write TOPIC/PARTITION@OFFSET, such as events/3@1042, as `kpipe dlq list` shows it',
      });
    }
    const config = this.configuration(flags);
    const result = await showDeadLetter(config, args.role, place, this.interruption());
    return this.show(flags, result, dlqShowView);
  }
}

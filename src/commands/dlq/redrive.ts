import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { consentFlags, selectionFlags } from '../../cli/dead-letter-flags.ts';
import { redrivePlanLines, redriveView } from '../../cli/views/dead-letters.ts';
import { parseRecordRate } from '../../lib/config/units.ts';
import { planRedrive } from '../../lib/dlq/redrive-plan.ts';
import { dryRunReport, redrive, type RedriveReport } from '../../lib/dlq/redrive.ts';
import { selectionOf } from '../../lib/dlq/selection.ts';
import { KpipeError, type ExitCode } from '../../lib/errors.ts';

export type DlqRedriveResult = RedriveReport;

export default class DlqRedrive extends KpipeCommand {
  static override summary = 'write dead letters again to where they failed, each once, in the order of their keys';
  static override description =
    'shows what it would do and asks. key, value and headers go out byte for byte; kpipe.redrives counts, and after 3 a letter is quarantined. ' +
    'each is written together with a marker that it was, in one transaction: a redrive that is killed leaves no letter half done, and the next one goes on. ' +
    'exits 4 when all that match are quarantined, 5 when some could not be redriven, 130 after Ctrl-C';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events --reason sink_rejected --dry-run',
    `<%= config.bin %> <%= command.id %> events --where 'sqlstate == "23514"' --yes`,
    '<%= config.bin %> <%= command.id %> analytics --since 1d --rate 200/s --max 1000 --yes',
  ];
  static override args = { role: Args.string({ required: true, description: 'a role of kpipe.yaml' }) };
  static override flags = {
    ...selectionFlags,
    to: Flags.string({ helpValue: 'TOPIC', description: 'into this topic (default: each where it failed)' }),
    max: Flags.integer({ char: 'n', min: 1, description: 'at most this many, the first ones' }),
    rate: Flags.string({ helpValue: 'N/s', description: 'at most so many records a second' }),
    force: Flags.boolean({ description: 'also those that are quarantined' }),
    again: Flags.boolean({ description: 'also those that were redriven before' }),
    ...consentFlags,
  };

  async run(): Promise<DlqRedriveResult> {
    const { args, flags } = await this.parse(DlqRedrive);
    const selection = selectionOf(flags, Date.now());
    const ratePerSec = flags.rate === undefined ? undefined : parseRecordRate(flags.rate);
    if (flags.rate !== undefined && ratePerSec === undefined) {
      throw new KpipeError('KPIPE_USAGE', `--rate ${flags.rate} is not a rate`, {
        next: 'write it as 50, 50/s or 2k/s',
      });
    }
    const config = this.configuration(flags);
    const { to, max, force, again } = flags;
    const plan = await planRedrive(config, { role: args.role, selection, to, max, force, again }, this.interruption());
    for (const line of redrivePlanLines(plan)) {
      this.say(line);
    }
    if (flags['dry-run']) {
      return this.show(flags, dryRunReport(plan), redriveView);
    }
    if (plan.letters.length > 0) {
      const action = `redrive the dead letters of role ${args.role} (${plan.letters.length})`;
      await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
    }
    const progress = this.progress('redrive', plan.letters.length);
    let note = '';
    const report = await redrive(config, plan, {
      signal: this.interruption(),
      ratePerSec,
      onProgress: (redriven) => progress.update(redriven, note),
      onTrouble: (reason) => {
        note = reason;
      },
    }).finally(() => progress.end());
    return this.show(flags, report, redriveView, { exitCode: exitCodeOf(report) });
  }
}

function exitCodeOf({ interrupted, left, unsure, redriven, notRedriven }: RedriveReport): ExitCode {
  if (interrupted) {
    return 130;
  }
  if (left + unsure > 0 || notRedriven.some(({ why }) => why !== 'quarantined')) {
    return 5;
  }
  return redriven.length === 0 && notRedriven.length > 0 ? 4 : 0;
}

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { topicArgument } from '../../cli/topic-argument.ts';
import { copyPlanLines, copyView } from '../../cli/views/copy.ts';
import { parseRecordRate } from '../../lib/config/units.ts';
import type { CopyPlan, CopyResult } from '../../lib/copy/copy-run.ts';
import { KpipeError } from '../../lib/errors.ts';

export type ReplayCopyResult = CopyResult;

export default class ReplayCopy extends KpipeCommand {
  static override summary = 'copy records of a topic to another one, each once, also through a kill';
  static override description =
    'keys, values, headers, timestamps and, where both topics have as many, partitions are kept. it is interrupted without harm: --resume goes on without a gap and without a repeat for read-committed readers';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events events.test --from -1h --where \'type == "order.paid"\'',
    '<%= config.bin %> <%= command.id %> logs logs.copy --from @2026-02-14 --to @2026-02-15 --rate 5k/s --yes',
    '<%= config.bin %> <%= command.id %> --resume 20260214-093000-9f2c',
  ];
  static override args = {
    source: topicArgument({ description: 'the topic to read' }),
    destination: topicArgument({ description: 'the topic to write' }),
  };
  static override flags = {
    from: Flags.string({ default: 'start', helpValue: 'PLACE', description: 'start, an offset, -1h, @TIME, +N, -N' }),
    to: Flags.string({
      default: 'end',
      helpValue: 'PLACE',
      description: 'up to but without it; default: the end as it is now',
    }),
    where: Flags.string({ helpValue: 'EXPR', description: 'only records for which this holds' }),
    rate: Flags.string({ helpValue: 'N/s', description: 'at most so many records a second' }),
    resume: Flags.string({ helpValue: 'ID', description: 'go on with a copy that was interrupted' }),
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
  };

  async run(): Promise<ReplayCopyResult> {
    const { args, flags } = await this.parse(ReplayCopy);
    const ratePerSec = rateOf(flags.rate);
    const config = this.configuration(flags);
    const { copyTopic, resumeCopy } = await import('../../lib/copy/copy.ts');
    const progress = this.progress('copy');
    const options = {
      ratePerSec,
      signal: this.interruption(),
      confirm: async (plan: CopyPlan): Promise<void> => {
        copyPlanLines(plan).forEach((line) => this.say(line));
        const action = `copy ${plan.offsets} offsets of ${plan.source} to ${plan.destination}`;
        await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
      },
      onProgress: (offsets: number, copied: number) => progress.update(offsets, `${copied} copied`),
    };
    const result = await (
      flags.resume === undefined
        ? copyTopic(config, { ...topicsOf(args), from: flags.from, to: flags.to, where: flags.where ?? null }, options)
        : resumeCopy(config, flags.resume, options)
    ).finally(() => progress.end());
    return this.show(flags, result, copyView);
  }
}

function topicsOf(args: { readonly source?: string | undefined; readonly destination?: string | undefined }) {
  const { source, destination } = args;
  if (source === undefined || destination === undefined) {
    throw new KpipeError('KPIPE_USAGE', 'replay copy needs two topics (or --resume ID)', { next: 'see --help' });
  }
  return { source, destination };
}

function rateOf(text: string | undefined): number | null {
  const rate = text === undefined ? null : (parseRecordRate(text) ?? undefined);
  if (rate === undefined) {
    throw new KpipeError('KPIPE_USAGE', `--rate ${text ?? ''} is not a rate`, { next: 'write 500/s or 5k/s' });
  }
  return rate;
}

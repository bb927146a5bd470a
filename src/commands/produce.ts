import { Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { topicArgument } from '../cli/topic-argument.ts';
import { produceView } from '../cli/views/produce.ts';
import { parseRecordRate } from '../lib/config/units.ts';
import { KpipeError, type ExitCode } from '../lib/errors.ts';
import { produceInput } from '../lib/produce/input.ts';
import { produce, type ProduceReport } from '../lib/produce/run.ts';
import { producerKinds } from '../lib/shop/types.ts';

export type ProduceResult = ProduceReport;

export default class Produce extends KpipeCommand {
  static override summary = 'send records to a topic, from a file, from standard input, or generated';
  static override description =
    'one record a line, its bytes as they are; empty lines are left out. acks=all: a record counts when every in-sync replica has it. ' +
    '--generate makes the records of a believable shop: app writes events, api events and logs, worker logs and analytics; a TOPIC then means only that one of them. ' +
    'generated times are now, or the last 10 minutes with --count and without --rate. exits 0 all acked, 5 partly, 1 none';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events --file orders.ndjson --key data.orderId',
    'zcat access.log.gz | <%= config.bin %> <%= command.id %> logs --rate 2k/s',
    '<%= config.bin %> <%= command.id %> --generate api --count 100000 --seed 7',
    '<%= config.bin %> <%= command.id %> events --generate app --rate 500/s',
  ];
  static override args = {
    topic: topicArgument({ description: 'the topic; with --generate: only this one of the topics that it writes' }),
  };
  static override flags = {
    file: Flags.string({
      char: 'f',
      helpValue: 'FILE|-',
      description: 'records, one a line (default: standard input)',
    }),
    key: Flags.string({
      helpValue: 'FIELD',
      description: 'take the key from this JSON field, such as data.orderId (default: no key)',
    }),
    generate: Flags.option({ options: producerKinds, description: 'generate what this kind of producer writes' })(),
    rate: Flags.string({
      helpValue: 'N/s',
      description: 'at most so many records a second (default: as fast as they are acked)',
    }),
    count: Flags.integer({ min: 1, description: 'stop after so many records' }),
    seed: Flags.integer({
      description: 'with --generate: the same seed gives the same records (default: a random one, reported)',
    }),
    run: Flags.string({
      helpValue: 'ID',
      description: 'with --generate: goes into every id, so that runs of one seed differ',
    }),
    broken: Flags.string({
      helpValue: 'SHARE',
      description: 'with --generate: the share of broken records (default: 0.5%)',
    }),
    journal: Flags.string({
      helpValue: 'FILE',
      description: 'append each send and each ack with its offset to a file, as ndjson',
    }),
  };

  async run(): Promise<ProduceResult> {
    const { args, flags } = await this.parse(Produce);
    const config = this.configuration(flags);
    const input = produceInput(args.topic, flags, process.stdin);
    const ratePerSec = flags.rate === undefined ? undefined : parseRecordRate(flags.rate);
    if (flags.rate !== undefined && ratePerSec === undefined) {
      throw new KpipeError('KPIPE_USAGE', `--rate ${flags.rate} is not a rate`, {
        next: 'write it as 500, 500/s or 2k/s',
      });
    }
    const signal = this.interruption();
    const progress = this.progress('produce', flags.count);
    let note = '';
    const report = await produce(config, {
      input,
      signal,
      onProgress: (settled) => progress.update(settled, note),
      onTrouble: ({ topic, partition, attempt, reason }) => {
        note = `${topic}-${partition}, attempt ${attempt}: ${reason}`;
      },
      ...(ratePerSec === undefined ? {} : { ratePerSec }),
      ...(flags.count === undefined ? {} : { count: flags.count }),
      ...(flags.journal === undefined ? {} : { journalPath: flags.journal }),
    }).finally(() => progress.end());
    // Stopping what has no end of its own is how it ends; stopping anything else is an interruption.
    const endless = input.kind === 'generate' && flags.count === undefined;
    return this.show(flags, report, produceView, { exitCode: exitCodeOf(report, endless) });
  }
}

function exitCodeOf({ acked, failed, interrupted }: ProduceReport, endless: boolean): ExitCode {
  if (interrupted && !endless) {
    return 130;
  }
  return failed === 0 ? 0 : acked === 0 ? 1 : 5;
}

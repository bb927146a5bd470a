import { Args, Flags } from '@oclif/core';

import { formatOf, KpipeCommand } from '../cli/base-command.ts';
import { openRecordOutput } from '../cli/record-output.ts';
import { topicArgument } from '../cli/topic-argument.ts';
import { tailCountLines } from '../cli/views/tail.ts';
import { KpipeError } from '../lib/errors.ts';
import { parseOffsetRange } from '../lib/offsets/offset-spec.ts';
import type { TailReport } from '../lib/tail/document.ts';
import { parseRecordFormat } from '../lib/tail/record-format.ts';
import { tailTopic } from '../lib/tail/tail.ts';
import { compileWhere } from '../lib/where/where.ts';

/** undefined where records were printed as they came. */
export type TailResult = TailReport | undefined;

/** What one document may hold when nothing else bounds it. */
const defaultDocumentMax = 1000;

export default class Tail extends KpipeCommand {
  static override summary = 'show the records of a topic, from when to when, without joining a group';
  static override description =
    'nothing is committed. @FROM:TO is a range of times or offsets, TO left out; without TO it follows until Ctrl-C, without a range from the end on. ' +
    'FROM and TO: start, end, now, 1234 (an offset), +3 (after the start), -3 (before the end), -15m (ago), 2026-01-31, 2026-01-31T12:00+01:00; a TO of 1h or +3 counts from FROM. ' +
    '--format: %t topic, %p partition, %o offset, %k key, %v value, %d or %D timestamp, %h headers, %h{NAME}, \\n, \\t';
  static override examples = [
    '<%= config.bin %> <%= command.id %> events',
    `<%= config.bin %> <%= command.id %> events @-15m:end --where 'type == "order.paid" && data.amountCents > 10000'`,
    '<%= config.bin %> <%= command.id %> logs @2026-01-31T12:00Z:1h --max 20',
    '<%= config.bin %> <%= command.id %> events @-48h:-24h --output ndjson',
    `<%= config.bin %> <%= command.id %> events @-3:end --partition 2 --format '%p@%o %k\\n'`,
  ];
  static override args = {
    topic: topicArgument({ required: true, description: 'any topic of the cluster' }),
    range: Args.string({ description: '@FROM:TO (default: @end, which follows)' }),
  };
  static override flags = {
    where: Flags.string({ helpValue: 'EXPR', description: 'only records for which this holds (see docs/where.md)' }),
    max: Flags.integer({ char: 'n', min: 1, description: 'stop after so many records' }),
    partition: Flags.integer({
      char: 'p',
      min: 0,
      multiple: true,
      multipleNonGreedy: true,
      description: 'only this partition; repeat it for more (default: all of them)',
    }),
    format: Flags.string({ helpValue: 'TEMPLATE', description: 'print each record by a template, byte for byte' }),
  };

  async run(): Promise<TailResult> {
    const { args, flags } = await this.parse(Tail);
    const range = parseOffsetRange(args.range ?? '@end', Date.now());
    const where = flags.where === undefined ? undefined : compileWhere(flags.where);
    const template = flags.format === undefined ? undefined : parseRecordFormat(flags.format);
    const form = formatOf(flags);
    const isDocument = form === 'json' || form === 'yaml';
    if (isDocument && range.to === null && flags.max === undefined) {
      throw new KpipeError('KPIPE_USAGE', 'one document needs an end, and this range has none', {
        next: 'add :end to the range or --max N, or use --output ndjson',
      });
    }
    const config = this.configuration(flags);
    const interruption = this.interruption();
    const output = openRecordOutput(process.stdout, isDocument ? 'document' : (template ?? form));
    const max = flags.max ?? (isDocument ? defaultDocumentMax : undefined);
    const counts = await tailTopic(
      config,
      { topic: args.topic, range, partitions: flags.partition, where, max },
      {
        signal: AbortSignal.any([interruption, output.closed]),
        onRecord: (at, record) => output.write(at, record),
        onNote: (note) => this.say(note),
      },
    );
    for (const line of tailCountLines(counts)) {
      this.say(line);
    }
    const exitCode = interruption.aborted && range.to !== null ? 130 : 0;
    if (isDocument) {
      return this.show(flags, { ...counts, records: output.records, interrupted: interruption.aborted }, () => '', {
        exitCode,
      });
    }
    process.exitCode = exitCode;
    return;
  }
}

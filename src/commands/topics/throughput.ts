import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { throughputView } from '../../cli/views/throughput.ts';
import type { ThroughputReport } from '../../lib/offsets/throughput.ts';
import { measureThroughput } from '../../lib/offsets/watch-throughput.ts';

export type TopicsThroughputResult = ThroughputReport;

const defaultForMs = 5000;

export default class TopicsThroughput extends KpipeCommand {
  static override summary =
    'measure records and bytes a second of topics, partitions and the roles’ groups; name hot partitions';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> events logs --partitions --for 30s',
    '<%= config.bin %> <%= command.id %> events --json',
  ];
  static override args = { topic: Args.string({ description: 'topics (default: all but internal ones)' }) };
  static override flags = {
    for: durationFlag('for', 500)({ description: 'how long to measure (default: 5s)' }),
    partitions: Flags.boolean({ description: 'a line for each partition, not only for hot ones' }),
  };

  async run(): Promise<TopicsThroughputResult> {
    const { argv, flags } = await this.parse(TopicsThroughput);
    const options = { topics: argv.map(String), forMs: flags.for ?? defaultForMs, now: Date.now };
    const report = await measureThroughput(this.configuration(flags), options, this.interruption());
    return this.show(flags, report, throughputView({ partitions: flags.partitions }));
  }
}

import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { paletteFor } from '../../cli/output/text.ts';
import { openTuneFeed } from '../../cli/tune-feed.ts';
import { tuningView } from '../../cli/views/topic-tuning.ts';
import { headroomOf, perPartitionOf, tuneTopics, type TopicTuning } from '../../lib/topics/tune/tune.ts';

export type TopicsTuneResult = TopicTuning;

const defaultForMs = 60_000;

export default class TopicsTune extends KpipeCommand {
  static override summary =
    'watch the topics and advise on partitions, producers, retention, replicas and the sink, with the evidence';
  static override description =
    'only looks, at what comes in while it watches and at the last day in the log. Ctrl-C ends the watch early and advises from what was seen. --write puts the advice into kpipe.yaml, which keeps its comments; topics plan and apply do the rest';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> events --for 5m --headroom 2',
    '<%= config.bin %> <%= command.id %> logs --per-partition 12MB/s --write',
    '<%= config.bin %> <%= command.id %> --evidence',
    '<%= config.bin %> <%= command.id %> --for 30s --json',
  ];
  static override args = { topic: Args.string({ description: 'topics (default: all that kpipe.yaml declares)' }) };
  static override flags = {
    for: durationFlag('for', 1000)({ description: 'how long to watch (default: 60s)' }),
    headroom: Flags.string({
      default: '1.5',
      helpValue: 'FACTOR',
      description: 'what consumers should be able to read, over the peak',
    }),
    'per-partition': Flags.string({
      helpValue: 'RATE',
      description: 'what a benchmark showed that a partition carries, such as 12MB/s',
    }),
    evidence: Flags.boolean({ description: 'with the numbers behind each advice, and how they were measured' }),
    write: Flags.boolean({ description: 'edit kpipe.yaml as advised, and show the difference' }),
  };

  async run(): Promise<TopicsTuneResult> {
    const { argv, flags } = await this.parse(TopicsTune);
    const request = {
      topics: argv.map(String),
      forMs: flags.for ?? defaultForMs,
      headroom: headroomOf(flags.headroom),
      perPartitionBytesPerSec: perPartitionOf(flags['per-partition']),
      write: flags.write,
      env: process.env,
    };
    const config = this.configuration(flags);
    const feed = openTuneFeed(process.stderr, paletteFor('stderr', process.env));
    const result = await tuneTopics(config, request, (progress) => feed.show(progress), this.interruption()).finally(
      () => feed.clear(),
    );
    return this.show(flags, result, tuningView({ evidence: flags.evidence }));
  }
}

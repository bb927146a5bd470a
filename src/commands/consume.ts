import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { durationFlag } from '../cli/duration-flag.ts';
import { renderDocument } from '../cli/output/document.ts';
import { consumeView } from '../cli/views/consume.ts';
import { roleNames } from '../lib/config/schema.ts';
import type { RunResult } from '../lib/runtime/run-role.ts';

export type ConsumeResult = RunResult;

export default class Consume extends KpipeCommand {
  static override summary = 'run a role in the foreground: read its topic, write to its store, exactly once';
  static override description = `Start it as often as there are partitions to share; all of a role's processes are one consumer group.
The first SIGINT or SIGTERM writes what was read and leaves, the second ends at once. Killed at any instant, nothing is lost or doubled.`;
  static override args = {
    role: Args.string({ required: true, options: [...roleNames], description: 'events, logs or analytics' }),
  };
  static override flags = {
    'until-drained': Flags.boolean({ description: 'end when everything in the topic has been written' }),
    for: durationFlag('for', 1)({ description: 'end after this long', helpValue: '30s' }),
    concurrency: Flags.integer({ default: 3, min: 1, max: 64, description: 'batches written at once' }),
    'skip-lost': Flags.boolean({ description: 'go on where the log begins when retention took unread records' }),
    'accept-recreated': Flags.boolean({
      description: 'begin at the start of a topic that was deleted and created again',
    }),
    'report-every': durationFlag(
      'report-every',
      100,
    )({
      description: 'how often a line of ndjson tells the state (default: 10s)',
    }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> events',
    '<%= config.bin %> <%= command.id %> analytics --until-drained --json',
  ];

  async run(): Promise<ConsumeResult> {
    const { args, flags } = await this.parse(Consume);
    const role = roleNames.find((name) => name === args.role) ?? 'events';
    const config = this.configuration(flags);
    const { consumeRole } = await import('../lib/roles/consume.ts');
    const result = await consumeRole(config, role, {
      untilDrained: flags['until-drained'],
      forMs: flags.for ?? null,
      concurrency: flags.concurrency,
      skipLost: flags['skip-lost'],
      acceptRecreated: flags['accept-recreated'],
      reportEveryMs: flags['report-every'] ?? 10_000,
      onReport: (report) => process.stderr.write(`${renderDocument(report, 'ndjson')}\n`),
      notice: (text) => this.say(`${role}: ${text}`),
      signal: this.interruption(),
    });
    return this.show(flags, result, consumeView);
  }
}

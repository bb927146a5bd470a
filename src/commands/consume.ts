import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { durationFlag } from '../cli/duration-flag.ts';
import { renderDocument } from '../cli/output/document.ts';
import { LiveLine } from '../cli/output/live-line.ts';
import { paletteFor } from '../cli/output/text.ts';
import { consumeLine, consumeView } from '../cli/views/consume.ts';
import { roleNames } from '../lib/config/schema.ts';
import type { RunResult } from '../lib/runtime/run-options.ts';

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
    'from-start': Flags.boolean({
      description: 'begin at the start of partitions that the role has never read (again: kpipe replay)',
    }),
    concurrency: Flags.integer({ default: 3, min: 1, max: 64, description: 'batches written at once' }),
    'skip-lost': Flags.boolean({ description: 'go on where the log begins when retention took unread records' }),
    'accept-recreated': Flags.boolean({
      description: 'begin at the start of a topic that was deleted and created again',
    }),
    'instance-id': Flags.string({
      env: 'KPIPE_INSTANCE_ID',
      helpValue: 'ID',
      description: 'static membership: after a restart within the session the same partitions are still ours',
    }),
    'report-every': durationFlag(
      'report-every',
      100,
    )({
      description: 'how often the state is told: a line of ndjson (default: 10s), on a terminal one line anew (1s)',
    }),
    'metrics-port': Flags.integer({
      min: 0,
      max: 65_535,
      helpValue: 'PORT',
      description: 'serve /livez, /readyz and /metrics (Prometheus) there; 0 takes a free port',
    }),
    'metrics-host': Flags.string({
      helpValue: 'ADDRESS',
      dependsOn: ['metrics-port'],
      description: 'address that they are served on (default: 127.0.0.1)',
    }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> events',
    '<%= config.bin %> <%= command.id %> analytics --until-drained --json',
    '<%= config.bin %> <%= command.id %> logs --metrics-port 9464 --metrics-host 0.0.0.0',
  ];

  async run(): Promise<ConsumeResult> {
    const { args, flags } = await this.parse(Consume);
    const role = roleNames.find((name) => name === args.role) ?? 'events';
    const config = this.configuration(flags);
    const port = flags['metrics-port'];
    const live = process.stderr.isTTY ? new LiveLine(process.stderr, paletteFor('stderr', process.env)) : null;
    const { consumeRole } = await import('../lib/roles/consume.ts');
    const result = await consumeRole(config, role, {
      untilDrained: flags['until-drained'],
      forMs: flags.for ?? null,
      fromStart: flags['from-start'],
      concurrency: flags.concurrency,
      skipLost: flags['skip-lost'],
      acceptRecreated: flags['accept-recreated'],
      instanceId: flags['instance-id'],
      metrics: port === undefined ? null : { port, host: flags['metrics-host'] ?? '127.0.0.1' },
      reportEveryMs: flags['report-every'] ?? (live === null ? 10_000 : 1000),
      onReport: (report) =>
        live === null
          ? void process.stderr.write(`${renderDocument(report, 'ndjson')}\n`)
          : live.show(consumeLine(report)),
      notice: (text) => {
        live?.clear();
        this.say(`${role}: ${text}`);
      },
      signal: this.interruption(),
    }).finally(() => live?.clear());
    return this.show(flags, result, consumeView);
  }
}

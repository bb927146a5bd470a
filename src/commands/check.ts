import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { durationFlag } from '../cli/duration-flag.ts';
import { gateView } from '../cli/views/gate.ts';
import { nearestName } from '../lib/config/nearest.ts';
import { KpipeError } from '../lib/errors.ts';
import { gatePartNames, nagiosFailure, nagiosLine, type GatePartName, type GateReport } from '../lib/health/gate.ts';
import { lookAtGate } from '../lib/health/look-at-gate.ts';

export type CheckResult = GateReport;

export default class Check extends KpipeCommand {
  static override summary = 'one gate over lag, brokers, replicas, backups, Redis and BigQuery, by kpipe.yaml’s alerts';
  static override description =
    'exits 0 when no part has a finding, 3 when one does; with --nagios 0 ok, 1 warning, 2 critical, 3 unknown. what is not configured is skipped and said';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> lag brokers --for 30s',
    '<%= config.bin %> <%= command.id %> backup --nagios',
    '<%= config.bin %> <%= command.id %> --json',
  ];
  static override args = { part: Args.string({ description: `${gatePartNames.join(', ')} (default: all of them)` }) };
  static override flags = {
    nagios: Flags.boolean({
      exclusive: ['json', 'output'],
      description: 'answer as a Nagios plugin: one line with performance data, and its exit codes',
    }),
    for: durationFlag('for')({
      description:
        'how long to watch lag and disks; statuses and disk growth need time (default: 1s, growth not measured)',
    }),
  };

  async run(): Promise<CheckResult> {
    const { argv, flags } = await this.parse(Check);
    const parts = argv.length === 0 ? gatePartNames : [...new Set(argv.map((name) => partNamed(String(name))))];
    const options = { forMs: flags.for ?? 0, now: Date.now };
    const report = await lookAtGate(this.configuration(flags), parts, options, this.interruption());
    if (!flags.nagios) {
      return this.show(flags, report, gateView, { exitCode: report.ok ? 0 : 3 });
    }
    const { code, line } = nagiosLine(report);
    return this.show(flags, report, (_, view) => view.line(line), { exitCode: code });
  }

  /** A plugin that could not begin is unknown: 2 would be critical to Nagios. */
  protected override catch(thrown: Error): Promise<void> {
    if (!this.argv.includes('--nagios') || ('code' in thrown && thrown.code === 'EEXIT')) {
      return super.catch(thrown);
    }
    const { code, line } = nagiosFailure(
      thrown instanceof KpipeError ? `${thrown.code} ${thrown.message}` : thrown.message,
    );
    process.stdout.write(`${line}\n`);
    process.exitCode = code;
    return Promise.resolve();
  }
}

function partNamed(name: string): GatePartName {
  const part = gatePartNames.find((each) => each === name);
  if (part === undefined) {
    const nearest = nearestName(name, gatePartNames);
    throw new KpipeError('KPIPE_USAGE', `there is no part ${name} to check`, {
      next: nearest === undefined ? `there are: ${gatePartNames.join(', ')}` : `did you mean ${nearest}?`,
    });
  }
  return part;
}

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { latencyView } from '../cli/views/latency.ts';
import { parseRecordRate } from '../lib/config/units.ts';
import { KpipeError } from '../lib/errors.ts';
import { measureLatency } from '../lib/latency/measure.ts';
import {
  evaluateLatencyFailOn,
  parseLatencyFailOn,
  type LatencyFailed,
  type LatencyReport,
} from '../lib/latency/report.ts';

/** `failed`: conditions of `--fail-on` that hold. */
export interface LatencyResult extends LatencyReport {
  readonly failed: readonly LatencyFailed[];
}

const defaultCount = 100;
const mostProbes = 10_000;

export default class Latency extends KpipeCommand {
  static override summary = 'send probes and time them: to the ack, to a consumer, and to the role’s commit';
  static override description =
    'without --role on a topic of its own, which is deleted afterwards; with --role events through the real topic, where each probe is an event of type kpipe.probe. a probe that is not through after 20s is lost';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --count 1000 --rate 100/s',
    '<%= config.bin %> <%= command.id %> --role events --json',
    "<%= config.bin %> <%= command.id %> --role events --fail-on 'ack>50ms,stored>2s,lost>0'",
  ];
  static override flags = {
    count: Flags.integer({
      min: 1,
      max: mostProbes,
      helpValue: 'N',
      default: defaultCount,
      description: 'how many probes',
    }),
    rate: Flags.string({ helpValue: 'N/s', default: '20/s', description: 'probes a second' }),
    role: Flags.option({
      options: ['events'] as const,
      description: 'go through this role’s topic and time until it has stored the probe; it must run',
    })(),
    'fail-on': Flags.string({
      helpValue: 'CONDITIONS',
      description: 'exit 3 when any of these holds, such as ack>50ms,consume>100ms,stored>2s,lost>0 (times are p99)',
    }),
    check: Flags.boolean({ description: 'exit 3 when a probe was lost, or there is any problem' }),
  };

  async run(): Promise<LatencyResult> {
    const { flags } = await this.parse(Latency);
    const conditions = flags['fail-on'] === undefined ? [] : parseLatencyFailOn(flags['fail-on']);
    const ratePerSec = parseRecordRate(flags.rate);
    if (ratePerSec === undefined) {
      throw new KpipeError('KPIPE_USAGE', `--rate: ${flags.rate} is not a rate`, { next: 'write 20/s' });
    }
    const config = this.configuration(flags);
    const progress = this.progress('probes', flags.count);
    const options = {
      role: flags.role ?? null,
      count: flags.count,
      ratePerSec,
      onProgress: (sent: number) => progress.update(sent),
    };
    const report = await measureLatency(config, options, this.interruption()).finally(() => progress.end());
    const result = { ...report, failed: evaluateLatencyFailOn(conditions, report) };
    const lost = report.stages.some((stage) => stage.lost > 0);
    const unhealthy = result.failed.length > 0 || (flags.check && (lost || report.problems.length > 0));
    return this.show(flags, result, latencyView, { exitCode: unhealthy ? 3 : 0 });
  }
}

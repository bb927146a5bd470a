import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { durationFlag } from '../cli/duration-flag.ts';
import { processAddress, runLagScreen } from '../cli/lag-watch.ts';
import { lagView, lookLine, lossAlarmOf } from '../cli/views/lag.ts';
import type { Config } from '../lib/config/load.ts';
import { KpipeError } from '../lib/errors.ts';
import { parseFailOn } from '../lib/offsets/fail-on.ts';
import { Pace, type Look } from '../lib/offsets/follow.ts';
import { lookAtLag, watchLag, type CheckedLagReport } from '../lib/offsets/look.ts';
import type { LagTarget } from '../lib/offsets/targets.ts';
import { lagTargets } from '../lib/offsets/targets.ts';

/** undefined after `--watch`, which prints as it goes. */
export type LagResult = CheckedLagReport | undefined;

interface WatchFlags {
  readonly interval?: number | undefined;
  readonly for?: number | undefined;
  readonly processes: readonly string[];
  readonly json: boolean;
  readonly output?: string | undefined;
}

export default class Lag extends KpipeCommand {
  static override summary =
    'show how far the roles, or any consumer group, are behind: in records, in time, and until loss';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> events --watch',
    '<%= config.bin %> <%= command.id %> --watch --metrics http://10.0.0.1:9464 --metrics http://10.0.0.2:9464',
    "<%= config.bin %> <%= command.id %> --for 30s --fail-on 'time>5m,loss<6h,status>=warn'",
    '<%= config.bin %> <%= command.id %> --check --for 30s',
    '<%= config.bin %> <%= command.id %> --group my-service --json',
  ];
  static override args = { role: Args.string({ description: 'roles of kpipe.yaml (default: all of them)' }) };
  static override flags = {
    group: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'GROUP',
      description: 'a consumer group that need not be a role',
    }),
    watch: Flags.boolean({
      char: 'w',
      description: 'keep looking: a dashboard on a terminal, else one ndjson line an interval',
    }),
    metrics: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      dependsOn: ['watch'],
      helpValue: 'URL',
      description: 'where a role’s process serves --metrics-port: its latency and health are in the dashboard',
    }),
    interval: durationFlag('interval', 200)({ description: 'time between two looks (default: 2s)' }),
    for: durationFlag('for')({ description: 'how long to watch (default: 1s; 30s when --fail-on asks for a status)' }),
    'fail-on': Flags.string({
      helpValue: 'CONDITIONS',
      exclusive: ['watch'],
      description: 'exit 3 when any of these holds for any group, such as time>5m,loss<6h,lag>1000,status>=warn',
    }),
    check: Flags.boolean({
      exclusive: ['watch'],
      description:
        'exit 3 when a group has lost records, stands still, meets alerts.lag of kpipe.yaml, or cannot be seen',
    }),
  };

  async run(): Promise<LagResult> {
    const { argv, flags } = await this.parse(Lag);
    const conditions = flags['fail-on'] === undefined ? [] : parseFailOn(flags['fail-on']);
    const config = this.configuration(flags);
    const targets = lagTargets(config, argv.map(String), flags.group ?? []);
    const processes = (flags.metrics ?? []).map(processAddress);
    if (flags.watch) {
      return this.#watch(config, targets, { ...flags, processes });
    }
    const forMs = flags.for ?? (conditions.some(({ metric }) => metric === 'status') ? 30_000 : 1000);
    const options = { forMs, intervalMs: flags.interval ?? 2000, conditions, check: flags.check };
    const result = await lookAtLag(config, targets, options, this.interruption());
    for (const { role, group, condition, actual } of result.unjudged) {
      this.say(`cannot judge ${condition} for ${role ?? group}: ${actual}`);
    }
    const unhealthy = result.problems.length > 0 || (flags.check && result.notes.length > 0);
    return this.show(flags, result, lagView(lossAlarmOf(config)), { exitCode: unhealthy ? 3 : 0 });
  }

  async #watch(config: Config, targets: readonly LagTarget[], flags: WatchFlags): Promise<undefined> {
    if (flags.json || flags.output === 'json' || flags.output === 'yaml') {
      throw new KpipeError('KPIPE_USAGE', '--watch prints many documents, --json is one', {
        next: 'use --output ndjson',
      });
    }
    const interruption = this.interruption();
    const intervalMs = flags.interval ?? 2000;
    if (!process.stdout.isTTY || flags.output === 'ndjson') {
      const print = (look: Look): void => void process.stdout.write(`${lookLine(look)}\n`);
      await watchLag(config, targets, { pace: new Pace(intervalMs), forMs: flags.for }, print, this.whileRead());
      process.exitCode = interruption.aborted ? 130 : 0;
      return;
    }
    const { showLagScreen } = await import('../ui/show-lag-screen.tsx');
    const options = { targets, intervalMs, forMs: flags.for, processes: flags.processes };
    const ended = await runLagScreen(config, options, showLagScreen, interruption);
    process.exitCode = ended === 'interrupted' || interruption.aborted ? 130 : 0;
  }
}

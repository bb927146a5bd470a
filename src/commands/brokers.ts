import { Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { durationFlag } from '../cli/duration-flag.ts';
import { brokerLookLine, brokersView } from '../cli/views/brokers.ts';
import { KpipeError } from '../lib/errors.ts';
import { parseBrokerFailOn } from '../lib/health/broker-fail-on.ts';
import { lookAtCluster, watchCluster, type CheckedBrokerReport } from '../lib/health/watch-cluster.ts';
import { Pace } from '../lib/offsets/follow.ts';

/** undefined after `--watch`, which prints as it goes. */
export type BrokersResult = CheckedBrokerReport | undefined;

export default class Brokers extends KpipeCommand {
  static override summary =
    'look at brokers, controllers, partitions and disks; each problem with what it means and what to do';
  static override description =
    'exits 0 when the cluster could be looked at; 3 with --check when there is a problem (notices are none), or when a condition of --fail-on holds';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --forecast --for 1m',
    "<%= config.bin %> <%= command.id %> --fail-on 'offline>0,undermin>0,used>85,full<3d' --json",
    '<%= config.bin %> <%= command.id %> --check',
    '<%= config.bin %> <%= command.id %> --watch --interval 5s',
  ];
  static override flags = {
    watch: Flags.boolean({ char: 'w', description: 'keep looking: one ndjson line an interval' }),
    interval: durationFlag(
      'interval',
      200,
    )({ dependsOn: ['watch'], description: 'time between two looks (default: 2s)' }),
    forecast: Flags.boolean({
      exclusive: ['watch'],
      description: 'measure how the log directories grow, and tell when they are full',
    }),
    for: durationFlag('for')({
      description: 'how long to look (default: once; 10s for --forecast and conditions on growth)',
    }),
    check: Flags.boolean({
      exclusive: ['watch'],
      description: 'exit 3 when there is a problem (alerts.disk of kpipe.yaml among them)',
    }),
    'fail-on': Flags.string({
      helpValue: 'CONDITIONS',
      exclusive: ['watch'],
      description: 'exit 3 when any of these holds, such as offline>0,undermin>0,used>85,free<20GB,full<3d,BROKER_DOWN',
    }),
  };

  async run(): Promise<BrokersResult> {
    const { flags } = await this.parse(Brokers);
    const conditions = flags['fail-on'] === undefined ? [] : parseBrokerFailOn(flags['fail-on']);
    const config = this.configuration(flags);
    if (flags.watch) {
      if (flags.json || flags.output === 'json' || flags.output === 'yaml') {
        throw new KpipeError('KPIPE_USAGE', '--watch prints many documents, --json is one', {
          next: 'use --output ndjson',
        });
      }
      const options = { pace: new Pace(flags.interval ?? 2000), forMs: flags.for };
      const signal = this.interruption();
      await watchCluster(
        config,
        options,
        (look) => void process.stdout.write(`${brokerLookLine(look)}\n`),
        this.whileRead(),
      );
      process.exitCode = signal.aborted ? 130 : 0;
      return;
    }
    const wantsGrowth = flags.forecast || conditions.some(needsGrowth);
    const forMs = flags.for ?? (wantsGrowth ? 10_000 : 0);
    const result = await lookAtCluster(config, { forMs, conditions }, this.interruption());
    for (const { where, condition, actual } of result.unjudged) {
      this.say(`cannot judge ${condition} for ${where ?? 'the cluster'}: ${actual}`);
    }
    const unhealthy = result.failed.length > 0 || (flags.check && !result.ok);
    return this.show(flags, result, brokersView({ forecast: forMs > 0 }), { exitCode: unhealthy ? 3 : 0 });
  }
}

function needsGrowth(condition: ReturnType<typeof parseBrokerFailOn>[number]): boolean {
  switch (condition.kind) {
    case 'disk':
      return condition.metric === 'full';
    case 'count':
      return condition.metric === 'shrinks';
    case 'problem':
      return condition.code === 'DISK_FULL_SOON' || condition.code === 'ISR_SHRINK';
  }
}

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { ReplicaScreenFeed } from '../../cli/replica-screen-feed.ts';
import { replicaLookLine, replicaView } from '../../cli/views/replica.ts';
import type { Config, PostgresConfig } from '../../lib/config/load.ts';
import { KpipeError } from '../../lib/errors.ts';
import { Pace } from '../../lib/offsets/follow.ts';
import { parseReplicaFailOn } from '../../lib/replication/fail-on.ts';
import { lookAtReplicas, watchReplicas, type CheckedReplicaReport } from '../../lib/replication/look.ts';

/** undefined after `--watch`, which prints as it goes. */
export type ReplicaStatusResult = CheckedReplicaReport | undefined;

interface WatchFlags {
  readonly interval?: number | undefined;
  readonly for?: number | undefined;
  readonly probe: boolean;
  readonly json: boolean;
  readonly output?: string | undefined;
}

export default class ReplicaStatus extends KpipeCommand {
  static override summary = 'ask the primary and every standby, and name the cause when one is behind';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --probe --check',
    '<%= config.bin %> <%= command.id %> --watch',
    "<%= config.bin %> <%= command.id %> --fail-on 'lag>30s,bytes>64MB,SLOT_LOST' --json",
  ];
  static override flags = {
    watch: Flags.boolean({
      char: 'w',
      description: 'keep looking: a full screen on a terminal, else one ndjson line an interval',
    }),
    interval: durationFlag(
      'interval',
      200,
    )({ dependsOn: ['watch'], description: 'time between two looks (default: 2s)' }),
    for: durationFlag('for')({ dependsOn: ['watch'], description: 'how long to watch (default: until it is stopped)' }),
    probe: Flags.boolean({
      description:
        'write a probe and the heartbeat to the primary, and time how long each standby takes to replay them',
    }),
    check: Flags.boolean({ exclusive: ['watch'], description: 'exit 3 when there is any problem' }),
    'fail-on': Flags.string({
      helpValue: 'CONDITIONS',
      exclusive: ['watch'],
      description: 'exit 3 when any of these holds, such as lag>30s,bytes>64MB,safe<1GB,probe>1s,SLOT_LOST',
    }),
  };

  async run(): Promise<ReplicaStatusResult> {
    const { flags } = await this.parse(ReplicaStatus);
    const conditions = flags['fail-on'] === undefined ? [] : parseReplicaFailOn(flags['fail-on']);
    const config = this.configuration(flags);
    const { postgres } = config;
    if (postgres === undefined) {
      throw new KpipeError('KPIPE_CONFIG_INVALID', `${config.file} has no postgres section`, {
        next: 'add postgres.primary and postgres.replicas',
      });
    }
    if (flags.watch) {
      return this.#watch(config, postgres, flags);
    }
    const result = await lookAtReplicas(config, postgres, { probe: flags.probe, conditions });
    for (const { standby, condition, actual } of result.unjudged) {
      this.say(`cannot judge ${condition} for ${standby ?? 'the primary'}: ${actual}`);
    }
    const unhealthy = result.failed.length > 0 || (flags.check && !result.ok);
    return this.show(flags, result, replicaView, { exitCode: unhealthy ? 3 : 0 });
  }

  async #watch(config: Config, postgres: PostgresConfig, flags: WatchFlags): Promise<undefined> {
    if (flags.json || flags.output === 'json' || flags.output === 'yaml') {
      throw new KpipeError('KPIPE_USAGE', '--watch prints many documents, --json is one', {
        next: 'use --output ndjson',
      });
    }
    const pace = new Pace(flags.interval ?? 2000);
    const options = { pace, forMs: flags.for, probe: flags.probe };
    const interruption = this.interruption();
    if (!process.stdout.isTTY || flags.output === 'ndjson') {
      const print = (line: string): void => void process.stdout.write(`${line}\n`);
      await watchReplicas(config, postgres, options, (look) => print(replicaLookLine(look)), this.whileRead());
      process.exitCode = interruption.aborted ? 130 : 0;
      return;
    }
    const feed = new ReplicaScreenFeed({ title: config.context ?? config.pipeline, pace });
    const { showReplicaScreen } = await import('../../ui/replica-screen.tsx');
    const leave = new AbortController();
    const signal = AbortSignal.any([interruption, leave.signal]);
    const watching = watchReplicas(config, postgres, options, (look) => feed.show(look), signal).finally(() =>
      leave.abort(),
    );
    const ended = await showReplicaScreen(feed, signal).finally(() => leave.abort());
    await watching;
    process.exitCode = ended === 'interrupted' || interruption.aborted ? 130 : 0;
  }
}

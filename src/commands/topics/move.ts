import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { openMoveFeed } from '../../cli/move-feed.ts';
import { moveFlags, throttleOf } from '../../cli/move-flags.ts';
import { paletteFor } from '../../cli/output/text.ts';
import { movePlanLines, moveView } from '../../cli/views/topic-moves.ts';
import { withKafkaAdmin } from '../../lib/kafka/admin.ts';
import { openAuditLog } from '../../lib/topics/audit.ts';
import { moveReplicas, type MoveResult } from '../../lib/topics/move/carry-out.ts';
import { brokerIds, wantedReplicas } from '../../lib/topics/move/wanted.ts';
import { observeMoves, planMoves, type MovePlan } from '../../lib/topics/move/move-plan.ts';

export type TopicsMoveResult = MoveResult | MovePlan;

export default class TopicsMove extends KpipeCommand {
  static override summary = 'move replicas: another replication factor, other racks, or off brokers';
  static override description =
    'in batches, slowed by a throttle that is taken away at the end. interrupted or killed, the same command goes on where the brokers are. never touches partitions below min.insync.replicas (4); exits 5 when some are not moved';
  static override strict = false;
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> events --replication-factor 3 --throttle 20MB/s --yes',
    '<%= config.bin %> <%= command.id %> events logs --brokers 1,2,4 --dry-run',
  ];
  static override args = {
    topic: Args.string({
      description: 'topics to move (default: those whose replicas are not as kpipe.yaml declares)',
    }),
  };
  static override flags = {
    'replication-factor': Flags.integer({
      min: 1,
      helpValue: 'N',
      description: 'replicas (default: as declared, else as now)',
    }),
    brokers: Flags.string({
      helpValue: 'IDS',
      description: 'only these brokers hold replicas, such as 1,2,4 (default: all)',
    }),
    racks: Flags.boolean({ description: 'spread replicas over the racks (default: as declared)' }),
    ...moveFlags,
    'dry-run': Flags.boolean({ description: 'only show what would be moved' }),
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
  };

  async run(): Promise<TopicsMoveResult> {
    const { argv, flags } = await this.parse(TopicsMove);
    const config = this.configuration(flags);
    const throttle = throttleOf(flags.throttle);
    const asked = {
      topics: argv.map(String),
      replicationFactor: flags['replication-factor'],
      spreadRacks: flags.racks ? true : undefined,
      brokers: brokerIds(flags.brokers),
    };
    return withKafkaAdmin(config.kafka, async (admin) => {
      const wanted = await wantedReplicas(admin, config, asked);
      const request = { wanted, brokers: asked.brokers };
      const plan = planMoves(
        request,
        await observeMoves(
          admin,
          wanted.map(({ topic }) => topic),
        ),
      );
      if (flags['dry-run']) {
        const view = (): string =>
          movePlanLines(plan, throttle).map(paletteFor('stdout', process.env).paint).join('\n');
        return this.show(flags, plan, view, { exitCode: plan.moves.length === 0 ? 0 : 3 });
      }
      if (plan.moves.length > 0) {
        for (const line of movePlanLines(plan, throttle)) {
          this.say(line);
        }
        const action = `move ${plan.moves.length} partitions of cluster ${plan.clusterId}`;
        await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
      }
      const audit = openAuditLog(process.env, Date.now);
      const feed = openMoveFeed(process.stderr, paletteFor('stderr', process.env));
      const result = await moveReplicas(admin, request, {
        throttleBytesPerSec: throttle,
        batchSize: flags.batch,
        signal: this.interruption(),
        audit: (act) => audit.record(act),
        onProgress: (progress) => feed.show(progress),
      }).finally(() => feed.clear());
      const isWhole = result.notMoved.length + result.throttlesLeft.length === 0;
      return this.show(flags, result, moveView, { exitCode: isWhole ? 0 : 5 });
    });
  }
}

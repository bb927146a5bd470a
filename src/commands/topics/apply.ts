import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { ApplyFeed } from '../../cli/apply-feed.ts';
import { confirmDeletions } from '../../cli/deletion-consent.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { moveFlags, throttleOf } from '../../cli/move-flags.ts';
import { paletteFor } from '../../cli/output/text.ts';
import { applyView, planLines } from '../../cli/views/topics.ts';
import type { Config } from '../../lib/config/load.ts';
import { KpipeError } from '../../lib/errors.ts';
import type { ReplicaAdmin } from '../../lib/ports.ts';
import { applyPlan, type ApplyResult } from '../../lib/topics/apply.ts';
import { moverFor } from '../../lib/topics/apply-moves.ts';
import { openAuditLog, type AuditAct } from '../../lib/topics/audit.ts';
import type { TopicPlan } from '../../lib/topics/change.ts';
import { drawUpPlan } from '../../lib/topics/draw-up.ts';
import type { MoveProgress } from '../../lib/topics/move/carry-out.ts';
import { readPlan } from '../../lib/topics/plan-file.ts';
import { withTopicSources } from '../../lib/topics/sources.ts';

export type TopicsApplyResult = ApplyResult;

interface ApplyFlags {
  readonly yes: boolean;
  readonly confirm?: string | undefined;
  readonly prune?: readonly string[] | undefined;
  readonly throttle: string;
  readonly batch: number;
  readonly 'retention-steps'?: number | undefined;
  readonly 'retention-pause'?: number | undefined;
}

export default class TopicsApply extends KpipeCommand {
  static override summary = 'make the topics as kpipe.yaml declares them, or as a saved plan says';
  static override description =
    'creates topics, moves replicas, sets declared keys, adds partitions; deletes only what --prune names. refuses (4) when the cluster is no longer as the plan saw it; exits 5 when only a part was done: run it again for the rest';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --yes',
    '<%= config.bin %> <%= command.id %> plan.json --yes',
    '<%= config.bin %> <%= command.id %> --context prod --confirm prod',
    '<%= config.bin %> <%= command.id %> --retention-steps 4 --retention-pause 15m',
  ];
  static override args = { plan: Args.string({ description: 'a plan written by topics plan --out' }) };
  static override flags = {
    topic: Flags.string({ multiple: true, helpValue: 'TOPIC', description: 'only this topic; repeat it for more' }),
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
    prune: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TOPIC',
      description: 'delete this topic, which the file does not name; repeat it for more',
    }),
    ...moveFlags,
    'retention-steps': Flags.integer({
      min: 2,
      max: 100,
      helpValue: 'N',
      description: 'lower retentions in so many steps',
    }),
    'retention-pause': durationFlag('retention-pause')({
      dependsOn: ['retention-steps'],
      description: 'time between two of these steps (default: 10m)',
    }),
  };

  async run(): Promise<TopicsApplyResult> {
    const { args, flags } = await this.parse(TopicsApply);
    if (args.plan !== undefined && flags.topic !== undefined) {
      throw new KpipeError('KPIPE_USAGE', '--topic chooses what to plan: it does not go with a saved plan', {
        next: 'plan again with --topic',
      });
    }
    const saved = args.plan === undefined ? undefined : readPlan(args.plan);
    const config = this.configuration(flags);
    const request = { declarations: config, only: flags.topic ?? [], prune: flags.prune ?? [], nowMs: Date.now() };
    const result = await withTopicSources(config, async (admin, sources) => {
      const plan = saved ?? (await drawUpPlan(admin, { ...request, sources }));
      return this.#apply(admin, plan, config, flags);
    });
    const complete = result.failed.length + result.notDone.length === 0;
    return this.show(flags, result, applyView, { exitCode: complete ? 0 : 5 });
  }

  async #apply(admin: ReplicaAdmin, plan: TopicPlan, config: Config, flags: ApplyFlags): Promise<ApplyResult> {
    const throttleBytesPerSec = throttleOf(flags.throttle);
    const { length } = plan.changes;
    for (const line of length === 0 ? [] : planLines(plan, config.context)) {
      this.say(line);
    }
    const deletions = plan.changes.filter(({ kind }) => kind === 'delete').map(({ topic }) => topic);
    await confirmDeletions(deletions, flags.prune ?? []);
    if (length > 0) {
      const action = `apply ${length} ${length === 1 ? 'change' : 'changes'} to cluster ${plan.clusterId}`;
      await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
    }
    const log = openAuditLog(process.env, Date.now);
    const audit = (act: AuditAct): void => log.record(act);
    const signal = this.interruption();
    const feed = new ApplyFeed(process.stderr, paletteFor('stderr', process.env));
    const batchSize = flags.batch;
    const onProgress = (progress: MoveProgress): void => feed.progress(progress);
    return applyPlan(admin, plan, {
      nowMs: Date.now(),
      signal,
      audit,
      onEvent: (event) => feed.event(event),
      move: moverFor(admin, { throttleBytesPerSec, batchSize, signal, audit, onProgress }),
      retentionSteps:
        flags['retention-steps'] === undefined
          ? undefined
          : { steps: flags['retention-steps'], pauseMs: flags['retention-pause'] ?? 600_000 },
    });
  }
}

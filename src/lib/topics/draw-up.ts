import { nearestName } from '../config/nearest.ts';
import { KpipeError } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { Change, TopicPlan } from './change.ts';
import { nearestConfigKey } from './config-keys.ts';
import { observeExpiries, observeTopics } from './observe.ts';
import { loweredRetentionMs, planTopics } from './plan.ts';
import { topicSpecs, type TopicDeclarations, type TopicSpec } from './spec.ts';
import { stepsOf } from './steps.ts';

export interface PlanRequest {
  readonly declarations: TopicDeclarations;
  /** Only these topics; empty: all that kpipe.yaml knows. */
  readonly only: readonly string[];
  readonly nowMs: number;
}

/**
 * Looks at the cluster, plans, and has the cluster check every step without taking it.
 * @throws KPIPE_CONFIG_INVALID (unknown key, bad value), KPIPE_REFUSED (what Kafka cannot do), KPIPE_KAFKA_…
 */
export async function drawUpPlan(admin: ClusterAdmin, request: PlanRequest): Promise<TopicPlan> {
  const all = topicSpecs(request.declarations);
  const specs = select(all, request.only);
  const names = specs.map(({ name }) => name);
  const state = await observeTopics(admin, names, request.nowMs);
  const lowered = specs.flatMap((spec) => {
    const topic = state.topics.get(spec.name);
    const retentionMs = topic === undefined ? undefined : loweredRetentionMs(spec, topic);
    return retentionMs === undefined ? [] : [{ spec, retentionMs }];
  });
  const complete =
    lowered.length === 0 ? state : await observeExpiries(admin, lowered, state, request.declarations.roles);
  const plan = planTopics(specs, complete, new Set(all.map(({ name }) => name)));
  await check(admin, plan.changes);
  return plan;
}

function select(specs: readonly TopicSpec[], only: readonly string[]): readonly TopicSpec[] {
  const names = specs.map(({ name }) => name);
  const unknown = only.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const nearest = nearestName(unknown, names);
    throw new KpipeError(
      'KPIPE_USAGE',
      `kpipe.yaml declares no topic ${unknown}${nearest === undefined ? '' : `: did you mean ${nearest}?`}`,
      {
        next: names.length === 0 ? 'it declares none: add topics: to it' : `it knows: ${names.join(', ')}`,
      },
    );
  }
  return only.length === 0 ? specs : specs.filter(({ name }) => only.includes(name));
}

/** Every step, as a dry run on the cluster itself: it alone knows all keys, values and policies. */
async function check(admin: ClusterAdmin, changes: readonly Change[]): Promise<void> {
  const failures: KpipeError[] = [];
  for (const step of stepsOf(changes)) {
    try {
      await step.run(admin, { validateOnly: true });
    } catch (error) {
      if (!(error instanceof KpipeError) || (error.code !== 'KPIPE_CONFIG_INVALID' && error.code !== 'KPIPE_REFUSED')) {
        throw error;
      }
      failures.push(error);
    }
  }
  // A bad value is the reader's to mend, so it comes first.
  const worst = failures.find(({ code }) => code === 'KPIPE_CONFIG_INVALID') ?? failures[0];
  if (worst !== undefined) {
    throw new KpipeError(worst.code, failures.map(describeFailure).join('\n'), {
      next:
        worst.code === 'KPIPE_CONFIG_INVALID'
          ? 'correct topics: in kpipe.yaml'
          : (worst.next ?? 'correct topics: in kpipe.yaml'),
      cause: worst,
    });
  }
}

function describeFailure(failure: KpipeError): string {
  const said = failure.message.replace(/^.*?: [A-Z_]+: /, '');
  const unknownKey = /^Unknown topic config name: (\S+)/.exec(said)?.[1];
  const nearest = unknownKey === undefined ? undefined : nearestConfigKey(unknownKey);
  const hint = nearest === undefined ? '' : `: did you mean ${nearest}?`;
  return `topics.${String(failure.where['topic'] ?? '?')}: ${said}${hint}`;
}

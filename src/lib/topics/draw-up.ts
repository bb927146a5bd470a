import type { Config } from '../config/load.ts';
import { nearestName } from '../config/nearest.ts';
import { KpipeError } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { Change, TopicPlan } from './change.ts';
import { nearestConfigKey } from './config-keys.ts';
import { gatherEvidence, type EvidenceQuestion, type EvidenceSources, type TopicEvidence } from './evidence.ts';
import { observeTopics, type ObservedTopic, type TopicsState } from './observe.ts';
import { planTopics } from './plan.ts';
import { managedTopics, pruneTargets } from './prune.ts';
import { loweredBytes, loweredRetentionMs } from './risks.ts';
import { topicSpecs, type TopicDeclarations, type TopicSpec } from './spec.ts';
import { stepsOf } from './steps.ts';

export interface PlanRequest {
  readonly declarations: TopicDeclarations & Partial<Pick<Config, 'kafka'>>;
  /** Only these topics; empty: all that kpipe.yaml knows. */
  readonly only: readonly string[];
  /** Topics outside the file to delete. */
  readonly prune?: readonly string[];
  readonly nowMs: number;
  /** Without them a plan tells less of what its changes mean. */
  readonly sources?: EvidenceSources;
}

/**
 * Looks at the cluster, plans, and has the cluster check every step without taking it.
 * @throws KPIPE_CONFIG_INVALID (unknown key, bad value), KPIPE_REFUSED (what Kafka cannot do), KPIPE_KAFKA_…
 */
export async function drawUpPlan(admin: ClusterAdmin, request: PlanRequest): Promise<TopicPlan> {
  const { declarations, nowMs, sources } = request;
  const all = topicSpecs(declarations);
  const specs = selectSpecs(all, request.only);
  const managed = managedTopics(all, declarations);
  const named = request.prune ?? [];
  const prune = named.length === 0 ? [] : pruneTargets(named, { topics: await admin.listTopics(), managed });
  const state = await observeTopics(admin, [...specs.map(({ name }) => name), ...prune], nowMs);
  // What cannot be is told before anything is looked at closely.
  planTopics(specs, state, { managed, prune });
  const context = { admin, sources, roles: declarations.roles, nowMs };
  const evidence = await Promise.all(
    questionsOf(specs, prune, state).map(async (question) => {
      const found = await gatherEvidence(question, context);
      return [question.spec.name, found] as const;
    }),
  );
  const plan = planTopics(specs, { ...state, evidence: new Map<string, TopicEvidence>(evidence) }, { managed, prune });
  await check(admin, plan.changes);
  return plan;
}

/** What has to be looked at for the changes to come. */
function questionsOf(
  specs: readonly TopicSpec[],
  prune: readonly string[],
  state: TopicsState,
): readonly EvidenceQuestion[] {
  const changed = specs.flatMap((spec) => {
    const topic = state.topics.get(spec.name);
    const question = topic === undefined ? undefined : questionOf(spec, topic);
    return question === undefined ? [] : [question];
  });
  const deleted = prune.map((name) => ({
    spec: { name, origin: 'declared', roles: [] } as const,
    partitions: state.topics.get(name)?.partitions ?? 0,
    wantsKeys: false,
    wantsBytes: true,
    wantsRecords: true,
  }));
  return [...changed, ...deleted];
}

function questionOf(spec: TopicSpec, topic: ObservedTopic): EvidenceQuestion | undefined {
  const retentionMs = loweredRetentionMs(spec, topic);
  const wantsKeys = spec.partitions.count > topic.partitions;
  const wantsBytes = spec.replicationFactor > topic.replicationFactor || loweredBytes(spec, topic) !== undefined;
  return retentionMs === undefined && !wantsKeys && !wantsBytes
    ? undefined
    : {
        spec,
        partitions: topic.partitions,
        ...(retentionMs === undefined ? {} : { retentionMs }),
        wantsKeys,
        wantsBytes,
        wantsRecords: false,
      };
}

/** The named ones; all when none is named. @throws KPIPE_USAGE with the nearest name */
export function selectSpecs(specs: readonly TopicSpec[], only: readonly string[]): readonly TopicSpec[] {
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
      await step.run({ admin, validateOnly: true });
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

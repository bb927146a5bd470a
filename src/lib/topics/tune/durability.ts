import type { TopicSpec } from '../spec.ts';
import { counted, nothingToDo, planCommands, type Advice, type Evidence, type YamlEdit } from './advice.ts';
import type { TopicConfig } from '../../config/schema.ts';
import type { TopicMeasure } from './measure.ts';

export interface DurabilityQuestion {
  readonly spec: TopicSpec;
  readonly declared: Pick<TopicConfig, 'replicationFactor' | 'config'>;
  readonly measure: TopicMeasure;
  /** That are up. */
  readonly brokers: number;
}

const enoughReplicas = 3;
const enoughInSync = 2;

/** Three replicas, two of them in sync: one broker may go with neither a write refused nor an acked record lost. */
export function durabilityAdvice(question: DurabilityQuestion): Advice {
  const { spec, brokers } = question;
  const inSync = inSyncOf(question);
  const replicas = spec.replicationFactor;
  const common = {
    rule: 'durability',
    ...nothingToDo,
    evidence: evidenceOf(question),
    confidence: 'certain',
    confidenceReason: null,
  } as const;
  const better = { replicas: Math.max(replicas, Math.min(enoughReplicas, brokers)), inSync };
  const betterInSync =
    better.replicas >= enoughReplicas ? clamp(inSync ?? 1, enoughInSync, better.replicas - 1) : inSync;
  const problems = [
    ...(better.replicas > replicas ? [`${counted(replicas, 'replica')}: ${lostBy(replicas)}`] : []),
    ...(betterInSync === inSync ? [] : [inSyncProblem(inSync ?? 1, better.replicas)]),
  ];
  if (problems.length === 0) {
    const few = replicas < enoughReplicas;
    return {
      ...common,
      verdict: few ? 'notice' : 'keep',
      summary: few
        ? `${counted(replicas, 'replica')}: ${lostBy(replicas)}; no more are possible with ${counted(brokers, 'broker')} up`
        : `${counted(replicas, 'replica')}, ${inSync ?? 1} of them in sync for a write`,
    };
  }
  return {
    ...common,
    verdict: 'change',
    summary: problems.join('; '),
    costs: costsOf(question, better.replicas, betterInSync),
    edits: editsOf(question, better.replicas, betterInSync),
    commands: planCommands(spec.name),
  };
}

/** Declared, else in effect; null: not known. */
function inSyncOf({ spec, measure }: DurabilityQuestion): number | null {
  const declared = spec.config['min.insync.replicas'];
  return declared === undefined ? measure.minInsyncReplicas : Number(declared);
}

function lostBy(replicas: number): string {
  return replicas === 1 ? 'a broker that goes takes its partitions with it' : 'one broker down leaves a single copy';
}

function inSyncProblem(inSync: number, replicas: number): string {
  return inSync >= replicas
    ? `min.insync.replicas ${inSync} of ${replicas}: a single broker that restarts stops every write`
    : `min.insync.replicas ${inSync}: an acked record may be on one broker only`;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

function costsOf({ spec, measure }: DurabilityQuestion, replicas: number, inSync: number | null): readonly string[] {
  const added = replicas - spec.replicationFactor;
  const raised = inSync !== null && inSync > (measure.minInsyncReplicas ?? 1);
  return [
    ...(added > 0 ? [`${counted(added, 'more replica')} of each partition on disk, copied by a throttled move`] : []),
    ...(raised ? [`writes are refused while fewer than ${inSync} replicas are in sync`] : []),
  ];
}

function editsOf({ spec, declared }: DurabilityQuestion, replicas: number, inSync: number | null): readonly YamlEdit[] {
  const path = ['topics', spec.name];
  const key = 'min.insync.replicas';
  const declaredInSync = declared.config[key];
  return [
    ...(replicas === spec.replicationFactor
      ? []
      : [{ path: [...path, 'replicationFactor'], from: spec.replicationFactor, to: replicas }]),
    ...(inSync === null || String(inSync) === declaredInSync
      ? []
      : [
          {
            path: [...path, 'config', key],
            from: declaredInSync === undefined ? null : Number(declaredInSync),
            to: inSync,
          },
        ]),
  ];
}

function evidenceOf({ spec, measure, brokers, declared }: DurabilityQuestion): readonly Evidence[] {
  return [
    {
      what: 'declared',
      value: spec.replicationFactor,
      unit: 'replicas',
      how: 'replicationFactor of kpipe.yaml, or its default',
    },
    { what: 'there are', value: measure.replicationFactor, unit: 'replicas', how: 'the partition that has the fewest' },
    {
      what: 'in sync for a write',
      value: inSyncOf({ spec, measure, brokers, declared }),
      unit: 'replicas',
      how:
        spec.config['min.insync.replicas'] === undefined
          ? 'min.insync.replicas in effect, not declared'
          : 'min.insync.replicas as declared',
    },
    { what: 'up', value: brokers, unit: 'brokers', how: 'the cluster' },
  ];
}

import { KpipeError } from '../errors.ts';
import type { Change, InSyncTopic, TopicPlan } from './change.ts';
import { sameConfigValue } from './config-keys.ts';
import type { TopicEvidence } from './evidence.ts';
import { hashState, type ObservedTopic, type TopicsState } from './observe.ts';
import { replicaChanges } from './replica-changes.ts';
import { configRisk, formatGibi, partitionRisk } from './risks.ts';
import type { TopicSpec } from './spec.ts';

export interface PlanScope {
  /** Every topic that kpipe.yaml knows, also those that are not planned for now, and kpipe's own. */
  readonly managed: ReadonlySet<string>;
  /** Topics to delete: they exist, and nothing of kpipe.yaml or of Kafka needs them (see prune.ts). */
  readonly prune: readonly string[];
}

/**
 * What to change so that the topics are as declared. Pure. Only declared keys are compared, and only with the topic's own
 * values: what somebody else set stays, and what a broker's default happens to be makes no difference that comes back.
 *
 * @param specs the topics to plan for
 * @throws KPIPE_REFUSED for what Kafka cannot do: fewer partitions, more replicas than brokers
 */
export function planTopics(specs: readonly TopicSpec[], state: TopicsState, scope: PlanScope): TopicPlan {
  refuseImpossible(specs, state);
  const planned = specs.map((spec) => ({ spec, changes: topicChanges(spec, state) }));
  return {
    clusterId: state.clusterId,
    observedAt: new Date(state.observedAtMs).toISOString(),
    stateHash: hashState(state, [...specs.map(({ name }) => name), ...scope.prune]),
    changes: [...planned.flatMap(({ changes }) => changes), ...scope.prune.flatMap((name) => deletion(name, state))],
    inSync: planned
      .filter(({ changes }) => changes.length === 0)
      .map(({ spec }) => inSyncTopic(spec, state.topics.get(spec.name))),
    unmanaged: state.names.filter((name) => !scope.managed.has(name) && !scope.prune.includes(name)),
  };
}

function refuseImpossible(specs: readonly TopicSpec[], state: TopicsState): void {
  const up = state.brokers.length;
  const refusals = specs.flatMap((spec) => {
    const topic = state.topics.get(spec.name);
    const needsReplicas = topic === undefined || topic.replicationFactor !== spec.replicationFactor;
    return [
      ...(needsReplicas && spec.replicationFactor > up
        ? [`${spec.name}: ${spec.replicationFactor} replicas need as many brokers; ${up} ${up === 1 ? 'is' : 'are'} up`]
        : []),
      ...(topic !== undefined && fewerThanInSync(spec, topic)
        ? [
            `${spec.name}: ${spec.replicationFactor} replicas are fewer than min.insync.replicas ${inSyncReplicas(spec, topic)}: every write with acks=all would fail`,
          ]
        : []),
      ...(spec.placement === 'racks' && state.brokers.some(({ rack }) => rack === null)
        ? [`${spec.name}: placement: racks needs broker.rack on every broker`]
        : []),
      ...(topic !== undefined && spec.partitions.count < topic.partitions && !spec.partitions.atLeast
        ? [`${spec.name}: ${topic.partitions} → ${spec.partitions.count} partitions: Kafka cannot take partitions away`]
        : []),
    ];
  });
  if (refusals.length > 0) {
    throw new KpipeError('KPIPE_REFUSED', refusals.join('\n'), {
      next: 'correct topics: in kpipe.yaml (replicationFactor, partitions), or start the brokers that are missing',
    });
  }
}

function inSyncReplicas(spec: TopicSpec, topic: ObservedTopic): number {
  const key = 'min.insync.replicas';
  return Number(spec.config[key] ?? topic.overrides[key] ?? topic.inherited[key] ?? 1);
}

function fewerThanInSync(spec: TopicSpec, topic: ObservedTopic): boolean {
  const lowered = spec.replicationFactor < topic.replicationFactor;
  return lowered && spec.replicationFactor < inSyncReplicas(spec, topic);
}

function topicChanges(spec: TopicSpec, state: TopicsState): readonly Change[] {
  const topic = state.topics.get(spec.name);
  if (topic === undefined) {
    return [creation(spec)];
  }
  const evidence = state.evidence.get(spec.name);
  return [
    ...configChanges(spec, topic, evidence),
    ...partitionChanges(spec, topic, evidence),
    ...replicaChanges(spec, topic, state),
  ];
}

function creation(spec: TopicSpec): Change {
  const { name, partitions, replicationFactor, config } = spec;
  const to = { partitions: partitions.count, replicationFactor, config: { ...config } };
  return {
    topic: name,
    kind: 'create',
    key: null,
    from: null,
    to,
    reason: basisText(spec),
    risk: 'none',
    warnings: [],
  };
}

function basisText({ partitions }: TopicSpec): string {
  return partitions.basis === 'count' ? 'declared' : partitions.basis;
}

function configChanges(spec: TopicSpec, topic: ObservedTopic, evidence?: TopicEvidence): readonly Change[] {
  return Object.entries(spec.config).flatMap(([key, to]) => {
    const from = topic.overrides[key] ?? null;
    if (from !== null && sameConfigValue(from, to)) {
      return [];
    }
    const inherited = topic.inherited[key];
    const reason =
      from !== null || inherited === undefined ? 'declared' : `declared; the brokers' ${inherited} is in effect now`;
    const risk = configRisk({ key, to, spec, topic, evidence });
    return [{ topic: spec.name, kind: 'config' as const, key, from, to, reason, ...risk }];
  });
}

function partitionChanges(spec: TopicSpec, topic: ObservedTopic, evidence?: TopicEvidence): readonly Change[] {
  const { count } = spec.partitions;
  if (count <= topic.partitions) {
    return [];
  }
  const change = { kind: 'partitions', key: 'partitions', from: topic.partitions, to: count } as const;
  const risk = partitionRisk(spec, { from: topic.partitions, to: count }, evidence);
  return [{ topic: spec.name, ...change, reason: basisText(spec), ...risk }];
}

function deletion(name: string, state: TopicsState): readonly Change[] {
  const topic = state.topics.get(name);
  if (topic === undefined) {
    return [];
  }
  const { records = null, bytes } = state.evidence.get(name) ?? {};
  const size = bytes === undefined ? '' : `, ${formatGibi([...bytes.values()].reduce((sum, each) => sum + each, 0n))}`;
  const held = records === null ? 'its records' : `${records} ${records === 1n ? 'record' : 'records'}${size}`;
  return [
    {
      topic: name,
      kind: 'delete',
      key: null,
      from: { id: topic.id, partitions: topic.partitions, replicationFactor: topic.replicationFactor },
      to: null,
      reason: 'named by --prune',
      risk: 'high',
      warnings: [`deletes ${held}, for good`],
    },
  ];
}

function inSyncTopic(spec: TopicSpec, topic: ObservedTopic | undefined): InSyncTopic {
  const keptKeys = Object.keys(topic?.overrides ?? {}).filter((key) => !Object.hasOwn(spec.config, key));
  return { topic: spec.name, keptKeys: keptKeys.toSorted() };
}

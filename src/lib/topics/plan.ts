import { formatDuration } from '../config/units.ts';
import { KpipeError } from '../errors.ts';
import type { Change, InSyncTopic, TopicPlan } from './change.ts';
import { sameConfigValue } from './config-keys.ts';
import { hashState, type Expiry, type ObservedTopic, type TopicsState } from './observe.ts';
import type { TopicSpec } from './spec.ts';

/**
 * What to change so that the topics are as declared. Pure. Only declared keys are compared, and only with the topic's own
 * values: what somebody else set stays, and what a broker's default happens to be makes no difference that comes back.
 *
 * @param specs the topics to plan for
 * @param managed every topic that kpipe.yaml knows, also those that are not planned for now
 * @throws KPIPE_REFUSED for what Kafka cannot do: fewer partitions, more replicas than brokers
 */
export function planTopics(specs: readonly TopicSpec[], state: TopicsState, managed: ReadonlySet<string>): TopicPlan {
  refuseImpossible(specs, state);
  const planned = specs.map((spec) => ({ spec, changes: topicChanges(spec, state) }));
  return {
    clusterId: state.clusterId,
    observedAt: new Date(state.observedAtMs).toISOString(),
    stateHash: hashState(
      state,
      specs.map(({ name }) => name),
    ),
    changes: planned.flatMap(({ changes }) => changes),
    inSync: planned
      .filter(({ changes }) => changes.length === 0)
      .map(({ spec }) => inSyncTopic(spec, state.topics.get(spec.name))),
    unmanaged: state.names.filter((name) => !managed.has(name)),
  };
}

function refuseImpossible(specs: readonly TopicSpec[], state: TopicsState): void {
  const refusals = specs.flatMap((spec) => {
    const topic = state.topics.get(spec.name);
    const needsReplicas = topic === undefined || topic.replicationFactor !== spec.replicationFactor;
    return [
      ...(needsReplicas && spec.replicationFactor > state.brokers
        ? [
            `${spec.name}: ${spec.replicationFactor} replicas need as many brokers; ${state.brokers} ${state.brokers === 1 ? 'is' : 'are'} up`,
          ]
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

function topicChanges(spec: TopicSpec, state: TopicsState): readonly Change[] {
  const topic = state.topics.get(spec.name);
  if (topic === undefined) {
    return [creation(spec)];
  }
  return [
    ...configChanges(spec, topic, state.expiries.get(spec.name)),
    ...partitionChanges(spec, topic),
    ...replicationChanges(spec, topic),
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

function configChanges(spec: TopicSpec, topic: ObservedTopic, expiry: Expiry | undefined): readonly Change[] {
  return Object.entries(spec.config).flatMap(([key, to]) => {
    const from = topic.overrides[key] ?? null;
    if (from !== null && sameConfigValue(from, to)) {
      return [];
    }
    const inherited = topic.inherited[key];
    const reason =
      from !== null || inherited === undefined ? 'declared' : `declared; the brokers' ${inherited} is in effect now`;
    return [
      { topic: spec.name, kind: 'config' as const, key, from, to, reason, ...configRisk(key, to, spec, topic, expiry) },
    ];
  });
}

type Risk = Pick<Change, 'risk' | 'warnings'>;
const harmless: Risk = { risk: 'none', warnings: [] };

function configRisk(key: string, to: string, spec: TopicSpec, topic: ObservedTopic, expiry: Expiry | undefined): Risk {
  const current = topic.overrides[key] ?? topic.inherited[key];
  switch (key) {
    case 'retention.ms':
      return loweredRetentionMs(spec, topic) === undefined ? harmless : expiryRisk(expiry, Number(to));
    case 'retention.bytes':
      return current === undefined || limitOf(to) >= limitOf(current)
        ? harmless
        : { risk: 'high', warnings: ['partitions larger than that lose their oldest records'] };
    case 'cleanup.policy':
      return to.includes('compact') && current?.includes('compact') !== true
        ? {
            risk: 'high',
            warnings: ['compaction keeps only the newest record of each key, and refuses records without one'],
          }
        : harmless;
    case 'min.insync.replicas':
      return inSyncRisk(Number(to), Number(current ?? 1), topic.replicationFactor);
    default:
      return harmless;
  }
}

function inSyncRisk(to: number, from: number, replicas: number): Risk {
  if (to > replicas) {
    const warning = `the topic has ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}: every write with acks=all would fail`;
    return { risk: 'high', warnings: [warning] };
  }
  return to < from
    ? { risk: 'low', warnings: [`acked records may be on ${to} ${to === 1 ? 'broker' : 'brokers'} only`] }
    : harmless;
}

/** The declared retention, where it is shorter than what is in effect; undefined otherwise. */
export function loweredRetentionMs(spec: TopicSpec, topic: ObservedTopic): number | undefined {
  const declared = spec.config['retention.ms'];
  const current = topic.overrides['retention.ms'] ?? topic.inherited['retention.ms'];
  if (declared === undefined || current === undefined || limitOf(declared) >= limitOf(current)) {
    return undefined;
  }
  return Number(declared);
}

/** -1 means no limit. */
function limitOf(value: string): number {
  const number = Number(value);
  return number < 0 ? Number.POSITIVE_INFINITY : number;
}

function expiryRisk(expiry: Expiry | undefined, retentionMs: number): Risk {
  if (expiry === undefined) {
    return { risk: 'high', warnings: [`records older than ${formatDuration(retentionMs)} expire`] };
  }
  if (expiry.records === 0n) {
    return { risk: 'low', warnings: [`no record is older than ${formatDuration(retentionMs)} now`] };
  }
  const warning = `expires about ${expiry.records} ${expiry.records === 1n ? 'record' : 'records'} older than ${formatDuration(retentionMs)}`;
  const unread = expiry.unread.map(({ role, records }) => `role ${role} has not read ${records} of them`);
  return unread.length === 0
    ? { risk: 'low', warnings: [`${warning}; every role has read them`] }
    : { risk: 'high', warnings: [`${warning}; ${unread.join(', ')}`] };
}

function partitionChanges(spec: TopicSpec, topic: ObservedTopic): readonly Change[] {
  const { count } = spec.partitions;
  if (count <= topic.partitions) {
    return [];
  }
  const risk: Risk = spec.keyed
    ? { risk: 'high', warnings: ['keyed topic: key → partition mapping changes for new records'] }
    : { risk: 'low', warnings: ['if its records have keys: key → partition mapping changes for new records'] };
  const change = { kind: 'partitions', key: 'partitions', from: topic.partitions, to: count } as const;
  return [{ topic: spec.name, ...change, reason: basisText(spec), ...risk }];
}

function replicationChanges(spec: TopicSpec, topic: ObservedTopic): readonly Change[] {
  if (spec.replicationFactor === topic.replicationFactor) {
    return [];
  }
  const change = {
    kind: 'replication',
    key: 'replicationFactor',
    from: topic.replicationFactor,
    to: spec.replicationFactor,
  } as const;
  const warnings = ['replicas would have to be moved between brokers: apply does not do that'];
  return [{ topic: spec.name, ...change, reason: 'declared', risk: 'high', warnings }];
}

function inSyncTopic(spec: TopicSpec, topic: ObservedTopic | undefined): InSyncTopic {
  const keptKeys = Object.keys(topic?.overrides ?? {}).filter((key) => !Object.hasOwn(spec.config, key));
  return { topic: spec.name, keptKeys: keptKeys.toSorted() };
}

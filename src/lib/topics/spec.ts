import type { Config } from '../config/load.ts';
import type { RoleName, TopicConfig } from '../config/schema.ts';
import { formatSize } from '../config/units.ts';
import { KpipeError } from '../errors.ts';

/** A topic as kpipe.yaml wants it, with every number worked out. */
export interface TopicSpec {
  readonly name: string;
  /** `topics:` names it, or it is where a role's dead letters go. */
  readonly origin: 'declared' | 'deadLetters';
  readonly partitions: PartitionSpec;
  readonly replicationFactor: number;
  /** Default: any. */
  readonly placement?: 'racks';
  /** Kafka's keys and values; retention included. */
  readonly config: Readonly<Record<string, string>>;
  /** The roles that read it, or that write their dead letters to it. */
  readonly roles: readonly RoleName[];
  /** Effects follow per key, so the key → partition mapping matters. */
  readonly keyed: boolean;
}

export interface PartitionSpec {
  readonly count: number;
  /** What the count follows from, for the plan's reason. */
  readonly basis: string;
  /** More partitions than `count` are in sync too. */
  readonly atLeast: boolean;
}

/** What the part of Config says that topics follow from. */
export type TopicDeclarations = Pick<Config, 'topics' | 'roles'>;

const deadLetterRetentionMs = 30 * 86_400_000;
const usualReplicationFactor = 3;

/**
 * The topics that kpipe.yaml asks for: the declared ones, then the dead-letter topics that follow from the roles.
 * @throws KPIPE_CONFIG_INVALID for declarations that contradict themselves
 */
export function topicSpecs(config: TopicDeclarations): readonly TopicSpec[] {
  const readers = rolesBy(config, 'topic');
  const declared = Object.entries(config.topics).map(([name, topic]) => ({
    name,
    origin: 'declared' as const,
    partitions: partitionSpec(topic.partitions),
    replicationFactor: topic.replicationFactor,
    ...(topic.placement === 'racks' ? { placement: 'racks' as const } : {}),
    config: topicConfig(name, topic),
    roles: readers.get(name) ?? [],
    // Log lines have no order to keep; events and analytics are applied in offset order per key.
    keyed: (readers.get(name) ?? []).some((role) => role !== 'logs'),
  }));
  const names = new Set(declared.map(({ name }) => name));
  const deadLetters = [...rolesBy(config, 'deadLetters')]
    .filter(([name]) => !names.has(name))
    .map(([name, roles]) => deadLetterSpec(name, roles, config));
  return [...declared, ...deadLetters];
}

function rolesBy(config: TopicDeclarations, by: 'topic' | 'deadLetters'): ReadonlyMap<string, readonly RoleName[]> {
  const roles = (['events', 'logs', 'analytics'] as const).filter((role) => config.roles[role] !== undefined);
  return Map.groupBy(roles, (role) => config.roles[role]?.[by] ?? '');
}

/**
 * One partition: dead letters are few (a role stops at a flood of them), each names its origin, and one partition keeps them
 * in the order in which they came up. A topic that has more already is left as it is. Replicated, and acked, as the source.
 */
function deadLetterSpec(name: string, roles: readonly RoleName[], config: TopicDeclarations): TopicSpec {
  const sources = roles.flatMap((role) => config.topics[config.roles[role]?.topic ?? ''] ?? []);
  const inSyncReplicas = sources[0]?.config['min.insync.replicas'];
  return {
    name,
    origin: 'deadLetters',
    partitions: { count: 1, basis: `dead letters of ${roles.join(', ')}`, atLeast: true },
    replicationFactor:
      sources.length === 0 ? usualReplicationFactor : Math.max(...sources.map((source) => source.replicationFactor)),
    ...(sources.some(({ placement }) => placement === 'racks') ? { placement: 'racks' as const } : {}),
    config: {
      'retention.ms': String(deadLetterRetentionMs),
      ...(inSyncReplicas === undefined ? {} : { 'min.insync.replicas': inSyncReplicas }),
    },
    roles,
    keyed: false,
  };
}

function partitionSpec(partitions: TopicConfig['partitions']): PartitionSpec {
  if (!('basis' in partitions)) {
    return { count: partitions.count, basis: 'count', atLeast: false };
  }
  switch (partitions.basis) {
    case 'consumers':
      return { count: partitions.consumers, basis: `${partitions.consumers} consumers`, atLeast: false };
    case 'throughput': {
      const { target, perPartition } = partitions;
      const basis = `${formatSize(target)}/s at ${formatSize(perPartition)}/s a partition`;
      return { count: Math.max(1, Math.ceil(target / perPartition)), basis, atLeast: false };
    }
    case 'sink':
      return { count: partitions.count, basis: 'what suits the sink', atLeast: false };
  }
}

/** The topic's keys, with `retention` among them. */
function topicConfig(name: string, topic: TopicConfig): Readonly<Record<string, string>> {
  if (topic.retention !== undefined && topic.config['retention.ms'] !== undefined) {
    throw new KpipeError(
      'KPIPE_CONFIG_INVALID',
      `topics.${name}: retention and config.retention.ms say the same thing twice`,
      {
        next: 'keep one of them',
      },
    );
  }
  const inSync = Number(topic.config['min.insync.replicas'] ?? 1);
  if (inSync > topic.replicationFactor) {
    throw new KpipeError(
      'KPIPE_CONFIG_INVALID',
      `topics.${name}: min.insync.replicas ${inSync} is more than replicationFactor ${topic.replicationFactor}: no write with acks=all could succeed`,
      { next: 'lower min.insync.replicas or raise replicationFactor' },
    );
  }
  return topic.retention === undefined
    ? topic.config
    : { 'retention.ms': retentionText(topic.retention), ...topic.config };
}

function retentionText(retention: 'unlimited' | number): string {
  return retention === 'unlimited' ? '-1' : String(retention);
}

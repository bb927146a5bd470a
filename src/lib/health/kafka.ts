import type { KafkaFacts } from '../kafka/probe.ts';
import type { TopicSpec } from '../topics/spec.ts';
import { failing, fine, warning, type Finding } from './check.ts';

/** The oldest release whose requests kpipe speaks. */
const oldest = [3, 0] as const;

/**
 * @param specs the topics that kpipe.yaml asks for
 * @param deadLetters those of them that roles write to, also where kpipe.yaml declares them as topics
 */
export function kafkaFindings(
  facts: KafkaFacts,
  specs: readonly TopicSpec[],
  deadLetters: readonly string[] = [],
): readonly Finding[] {
  return [
    fine('cluster', `${facts.cluster.clusterId}, ${count(facts.cluster.brokers.length, 'broker')}`),
    versionFinding(facts.version),
    brokersFinding(facts),
    replicasFinding(facts, specs),
    topicsFinding(facts, specs),
    partitionsFinding(facts),
    rightsFinding(facts, specs, deadLetters),
  ];
}

function versionFinding(version: string | null): Finding {
  if (version === null) {
    return warning('version', 'the broker does not tell its version', `kpipe needs Kafka ${oldest.join('.')} or newer`);
  }
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1])
    ? fine('version', `Kafka ${version}`)
    : failing('version', `Kafka ${version}`, `kpipe needs Kafka ${oldest.join('.')} or newer`);
}

/** A cluster can be found by its bootstrap address and yet give out addresses that lead nowhere from here. */
function brokersFinding({ cluster, unreachable }: KafkaFacts): Finding {
  if (unreachable.length === 0) {
    return fine('brokers', `each answers at ${cluster.brokers.map(({ host, port }) => `${host}:${port}`).join(', ')}`);
  }
  const list = unreachable
    .map(({ broker, reason }) => `${broker.id} at ${broker.host}:${broker.port} (${reason})`)
    .join('; ');
  return failing(
    'brokers',
    `not reached: ${list}`,
    'advertised.listeners of these brokers must be addresses that work from here',
  );
}

function replicasFinding({ cluster }: KafkaFacts, specs: readonly TopicSpec[]): Finding {
  const most = Math.max(1, ...specs.map(({ replicationFactor }) => replicationFactor));
  const up = cluster.brokers.length;
  if (most <= up) {
    return fine('replicas', `topics want ${most}, ${count(up, 'broker')} up`);
  }
  return failing(
    'replicas',
    `topics want ${most}, ${count(up, 'broker')} up`,
    'start the missing brokers, or lower replicationFactor in kpipe.yaml',
  );
}

function topicsFinding({ topics }: KafkaFacts, specs: readonly TopicSpec[]): Finding {
  const missing = specs.map(({ name }) => name).filter((name) => !topics.some((topic) => topic.name === name));
  return missing.length === 0
    ? fine('topics', `all ${specs.length} of kpipe.yaml exist`)
    : failing('topics', `missing: ${missing.join(', ')}`, 'kpipe topics apply');
}

function partitionsFinding({ topics }: KafkaFacts): Finding {
  const partitions = topics.flatMap((topic) =>
    topic.partitions.map((partition) => ({ topic: topic.name, ...partition })),
  );
  const offline = partitions.filter(({ leader }) => leader < 0);
  const behind = partitions.filter(({ isr, replicas }) => isr.length < replicas.length);
  const names = (list: typeof partitions): string => {
    const shown = list.slice(0, 5).map(({ topic, partition }) => `${topic}-${partition}`);
    return `${shown.join(', ')}${list.length > shown.length ? ` and ${list.length - shown.length} more` : ''}`;
  };
  if (offline.length > 0) {
    return failing('partitions', `without a leader: ${names(offline)}`, 'start the brokers that hold them');
  }
  return behind.length > 0
    ? warning(
        'partitions',
        `under-replicated: ${names(behind)}`,
        'start the missing brokers, or wait until they have caught up',
      )
    : fine('partitions', `${count(partitions.length, 'partition')} led and fully replicated`);
}

function rightsFinding({ rights }: KafkaFacts, specs: readonly TopicSpec[], deadLetters: readonly string[]): Finding {
  const wanted = specs.flatMap(({ name, origin, roles }) => {
    const right = rights.get(name);
    const isWritten = origin === 'deadLetters' || deadLetters.includes(name);
    const isRead = origin === 'declared' && roles.length > 0;
    return right === undefined
      ? []
      : [
          ...(isRead ? [{ topic: name, operation: 'read', granted: right.read }] : []),
          ...(isWritten ? [{ topic: name, operation: 'write', granted: right.write }] : []),
        ];
  });
  const refused = wanted.filter(({ granted }) => !granted).map(({ operation, topic }) => `${operation} ${topic}`);
  if (refused.length > 0) {
    return failing('rights', `refused: ${refused.join(', ')}`, 'grant them to the user of kafka.sasl (kafka-acls)');
  }
  return wanted.length === 0
    ? fine('rights', 'the brokers told of none')
    : fine('rights', 'the roles may read their topics and write dead letters');
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

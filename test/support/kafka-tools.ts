import { inject } from 'vitest';

import { findJava, findKafka } from '../../src/lib/sandbox/tools.ts';
import { runProgram, type Running } from './run-kpipe.ts';

/** Kafka's own command line tools, as oracles. */
export function tool(mainClass: string, args: readonly string[], brokers = inject('servers').brokers): Running {
  const java = findJava(process.env);
  const kafka = findKafka(process.env);
  if ('missing' in java || 'missing' in kafka) {
    throw new Error("Kafka's tools are missing: npm run setup");
  }
  const jvm = ['-Xmx200m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Dlog4j2.level=ERROR'];
  const running = runProgram(java.java, [
    ...jvm,
    '-cp',
    kafka.classPath,
    mainClass,
    '--bootstrap-server',
    brokers.join(','),
    ...args,
  ]);
  running.child.stdin.end();
  return running;
}

/** A line of `kafka-consumer-groups --describe`. What it does not know, it writes as `-`. */
export interface DescribedPartition {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly offset: string;
  readonly logEnd: string;
  readonly lag: string;
  /** `clientId@host` of whoever reads it. */
  readonly member: string;
}

/** What `kafka-consumer-groups --describe` says of the groups' partitions. */
export async function describedPartitions(
  groups: readonly string[],
  brokers = inject('servers').brokers,
): Promise<readonly DescribedPartition[]> {
  const named = groups.flatMap((group) => ['--group', group]);
  const args = ['--describe', '--offsets', ...named];
  const command = 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand';
  const { stdout, stderr, code } = await tool(command, args, brokers).ended;
  const partitions = stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([group]) => group !== undefined && groups.includes(group))
    .map(([group = '', topic = '', partition, offset = '', logEnd = '', lag = '', , host = '', clientId = '']) => ({
      group,
      topic,
      partition: Number(partition),
      offset,
      logEnd,
      lag,
      member: `${clientId}@${host.replace(/^\//, '')}`,
    }));
  if (code !== 0 || partitions.length === 0) {
    throw new Error(`kafka-consumer-groups said nothing of ${groups.join(', ')} (exit ${code}): ${stdout}${stderr}`);
  }
  return partitions;
}

/** Of that the current offset, by `GROUP TOPIC PARTITION`. */
export async function describedOffsets(...groups: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const partitions = await describedPartitions(groups);
  return new Map(partitions.map(({ group, topic, partition, offset }) => [`${group} ${topic} ${partition}`, offset]));
}

/** A console consumer, which is a member of its group until it has read so many records or is ended. */
export function consoleConsumer(
  topic: string,
  group: string,
  options: { readonly protocol: 'classic' | 'consumer'; readonly records?: number },
): Running {
  return tool('org.apache.kafka.tools.consumer.ConsoleConsumer', [
    '--topic',
    topic,
    '--group',
    group,
    '--from-beginning',
    '--command-property',
    `group.protocol=${options.protocol}`,
    ...(options.records === undefined ? [] : ['--max-messages', String(options.records)]),
  ]);
}

/** What `kafka-topics --describe` says of a partition. */
export interface OraclePartition {
  readonly partition: number;
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

/** A topic by `kafka-topics --describe`: its partitions and the values of its own; null: it says that there is none. */
export async function oracleTopic(topic: string): Promise<{
  readonly partitions: readonly OraclePartition[];
  readonly overrides: Readonly<Record<string, string>>;
} | null> {
  const { stdout, stderr, code } = await tool('org.apache.kafka.tools.TopicCommand', ['--describe', '--topic', topic])
    .ended;
  const lines = stdout.split('\n').filter((line) => line.includes(`Topic: ${topic}\t`));
  if (lines.length === 0) {
    if (!/does not exist/.test(stdout + stderr)) {
      throw new Error(`kafka-topics said nothing of ${topic} (exit ${code}): ${stdout}${stderr}`);
    }
    return null;
  }
  const numbers = (text: string | undefined): readonly number[] => (text ?? '').split(',').map(Number);
  const partitions = lines.flatMap((line) => {
    const found = /Partition: (\d+)\s+Leader: (\S+)\s+Replicas: (\S+)\s+Isr: (\S+)/.exec(line);
    return found === null
      ? []
      : [
          {
            partition: Number(found[1]),
            leader: Number(found[2]),
            replicas: numbers(found[3]),
            isr: numbers(found[4]).toSorted((left, right) => left - right),
          },
        ];
  });
  const head = lines.find((line) => line.includes('PartitionCount:'));
  const configs = /Configs: (\S*)/.exec(head ?? '')?.[1] ?? '';
  return { partitions, overrides: pairs(configs) };
}

/** A topic's or broker's own dynamic values by `kafka-configs --describe`. */
export async function oracleConfig(
  entity: 'topics' | 'brokers',
  name: string,
): Promise<Readonly<Record<string, string>>> {
  const args = ['--describe', '--entity-type', entity, '--entity-name', name];
  const { stdout, stderr, code } = await tool('kafka.admin.ConfigCommand', args).ended;
  if (code !== 0 || !stdout.includes('configs for')) {
    throw new Error(`kafka-configs said nothing of ${entity} ${name} (exit ${code}): ${stdout}${stderr}`);
  }
  const own = entity === 'topics' ? 'DYNAMIC_TOPIC_CONFIG' : 'DYNAMIC_BROKER_CONFIG';
  return Object.fromEntries(
    stdout.split('\n').flatMap((line) => {
      const found = new RegExp(`^\\s+(\\S+?)=(\\S*) sensitive=\\w+ synonyms=\\{${own}:`).exec(line);
      return found?.[1] === undefined ? [] : [[found[1], found[2] ?? ''] as const];
    }),
  );
}

/** `a=1,b=x,y` as Kafka prints it: a comma begins a new pair only before a key. */
function pairs(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text
      .split(/,(?=[a-z.]+=)/)
      .filter((pair) => pair.includes('='))
      .map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]),
  );
}

import { inject } from 'vitest';

import { findJava, findKafka } from '../../src/lib/sandbox/tools.ts';
import { runProgram, type Running } from './run-kpipe.ts';

/** Kafka's own command line tools, as oracles. */
function tool(mainClass: string, args: readonly string[]): Running {
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
    inject('servers').brokers.join(','),
    ...args,
  ]);
  running.child.stdin.end();
  return running;
}

/** What `kafka-consumer-groups --describe` says: the current offset by `GROUP TOPIC PARTITION`. */
export async function describedOffsets(...groups: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const { stdout, stderr, code } = await tool('org.apache.kafka.tools.consumer.group.ConsumerGroupCommand', [
    '--describe',
    '--offsets',
    ...groups.flatMap((group) => ['--group', group]),
  ]).ended;
  const offsets = stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([group]) => group !== undefined && groups.includes(group))
    .map(([group, topic, partition, offset]) => [`${group} ${topic} ${partition}`, offset ?? ''] as const);
  if (code !== 0 || offsets.length === 0) {
    throw new Error(`kafka-consumer-groups said nothing of ${groups.join(', ')} (exit ${code}): ${stdout}${stderr}`);
  }
  return new Map(offsets);
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

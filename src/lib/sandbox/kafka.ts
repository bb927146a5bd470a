import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { SandboxPaths } from './directory.ts';
import { type ProcessSpec, runToEnd } from './processes.ts';
import { writeAtomically } from './state.ts';
import type { SandboxTools } from './tools.ts';
import type { SandboxState, ServerName } from './types.ts';

/** What a broker needs to run. */
export type BrokerTools = Pick<SandboxTools, 'java' | 'kafka'>;

/** Small heaps and the collector with the least overhead: three brokers share a laptop with everything else. */
const jvmFlags = [
  '-Xms256m',
  '-Xmx400m',
  '-XX:+UseSerialGC',
  '-XX:-UsePerfData',
  '-XX:+ExitOnOutOfMemoryError',
  '-Xshare:auto',
  '-Djava.net.preferIPv4Stack=true',
  '-Djava.awt.headless=true',
];

export function brokerName(nodeId: number): ServerName {
  return nodeId === 1 ? 'kafka-1' : nodeId === 2 ? 'kafka-2' : 'kafka-3';
}

export function nodeIds(state: Pick<SandboxState, 'brokers'>): readonly number[] {
  return Array.from({ length: state.brokers }, (_, index) => index + 1);
}

/** server.properties of one node, broker and controller in one process. */
export function brokerProperties(state: SandboxState, nodeId: number, logDirectory: string): string {
  const replication = Math.min(3, state.brokers);
  const minimumInSync = replication === 3 ? 2 : 1;
  const voters = nodeIds(state).map((id) => `${id}@127.0.0.1:${state.ports.controllers[id - 1]}`);
  const listener = `PLAINTEXT://127.0.0.1:${state.ports.brokers[nodeId - 1]}`;
  const properties: Record<string, string | number | boolean> = {
    'process.roles': 'broker,controller',
    'node.id': nodeId,
    'controller.quorum.voters': voters.join(','),
    'controller.listener.names': 'CONTROLLER',
    listeners: `${listener},CONTROLLER://127.0.0.1:${state.ports.controllers[nodeId - 1]}`,
    'advertised.listeners': listener,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': logDirectory,
    'auto.create.topics.enable': false,
    'delete.topic.enable': true,
    'default.replication.factor': replication,
    'offsets.topic.replication.factor': replication,
    'offsets.topic.num.partitions': 10,
    'transaction.state.log.replication.factor': replication,
    'transaction.state.log.min.isr': minimumInSync,
    'transaction.state.log.num.partitions': 10,
    'share.coordinator.state.topic.replication.factor': replication,
    'share.coordinator.state.topic.min.isr': minimumInSync,
    'share.coordinator.state.topic.num.partitions': 3,
    'group.initial.rebalance.delay.ms': 0,
    // Bounds as of the classic protocol, and its usual length: a silent member of a KIP-848 group is missed as soon.
    'group.consumer.min.session.timeout.ms': 6000,
    'group.consumer.session.timeout.ms': 10_000,
    // The rest only bounds what an idle broker costs: threads, and the cleaner's 128 MB buffer out of a 400 MB heap.
    'num.network.threads': 2,
    'num.io.threads': 4,
    'num.replica.fetchers': 1,
    'background.threads': 4,
    'log.cleaner.dedupe.buffer.size': 16_777_216,
  };
  return Object.entries(properties)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('');
}

/** Warnings, and the few lines that tell a broker's life. */
const log4j2 = `status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m (%c{1})%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server
logger.server.level=info
logger.config.name=org.apache.kafka.common.config.AbstractConfig
logger.config.level=error
logger.lifecycle.name=kafka.server.BrokerLifecycleManager
logger.lifecycle.level=info
`;

interface BrokerFiles {
  readonly properties: string;
  readonly logging: string;
  readonly logDirectory: string;
  readonly workingDirectory: string;
}

function brokerFiles(paths: SandboxPaths, nodeId: number): BrokerFiles {
  const name = brokerName(nodeId);
  return {
    properties: join(paths.conf, `${name}.properties`),
    logging: join(paths.conf, 'log4j2.properties'),
    logDirectory: join(paths.data, name, 'log'),
    workingDirectory: join(paths.data, name),
  };
}

/** Writes a node's files, and formats its storage where that has not been done. */
export async function prepareBroker(
  paths: SandboxPaths,
  state: SandboxState,
  tools: BrokerTools,
  nodeId: number,
  signal: AbortSignal,
): Promise<void> {
  const files = brokerFiles(paths, nodeId);
  mkdirSync(files.workingDirectory, { recursive: true, mode: 0o700 });
  writeAtomically(files.logging, log4j2, 0o600);
  writeAtomically(files.properties, brokerProperties(state, nodeId, files.logDirectory), 0o600);
  if (existsSync(join(files.logDirectory, 'meta.properties'))) {
    return;
  }
  rmSync(files.logDirectory, { recursive: true, force: true });
  await runToEnd(
    paths,
    javaSpec(paths, tools, nodeId, `${brokerName(nodeId)}-format`, [
      '-XX:TieredStopAtLevel=1',
      'kafka.tools.StorageTool',
      'format',
      '--cluster-id',
      state.kafkaClusterId,
      '--config',
      files.properties,
    ]),
    signal,
  );
}

/** `flags` are the JVM's; by default those that map the class archive where there is one. A stale one is ignored. */
export function brokerSpec(
  paths: SandboxPaths,
  tools: BrokerTools,
  nodeId: number,
  flags: readonly string[] = tools.kafka.classArchive === undefined
    ? []
    : [`-XX:SharedArchiveFile=${tools.kafka.classArchive}`, '-Xlog:cds=off', '-Xlog:cds+dynamic=off'],
): ProcessSpec {
  const { properties } = brokerFiles(paths, nodeId);
  return javaSpec(paths, tools, nodeId, brokerName(nodeId), [...flags, 'kafka.Kafka', properties]);
}

function javaSpec(
  paths: SandboxPaths,
  tools: BrokerTools,
  nodeId: number,
  name: string,
  args: readonly string[],
): ProcessSpec {
  const files = brokerFiles(paths, nodeId);
  return {
    name,
    file: tools.java.java,
    args: [...jvmFlags, `-Dlog4j2.configurationFile=${files.logging}`, '-cp', tools.kafka.classPath, ...args],
    workingDirectory: files.workingDirectory,
    environment: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', TZ: 'UTC', HOME: files.workingDirectory },
    user: undefined,
  };
}

import { Client } from 'pg';
import { afterAll, afterEach, expect, inject } from 'vitest';

import { loadConfig, type Config } from '../../src/lib/config/load.ts';
import { openKafkaAdmin, type KafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import { pipelineDirectory } from './pipeline-file.ts';
import { kpipe, root, runProgram, type Ended, type Running } from './run-kpipe.ts';
import { createDatabase, uniqueTopic } from './servers.ts';

/** A role with a topic of three partitions, the last one empty, records an hour old, and a journal of its own. */
export interface ReplayPipeline {
  readonly role: 'events' | 'analytics';
  readonly topic: string;
  readonly group: string;
  readonly journal: string;
  readonly file: string;
  readonly config: Config;
  readonly admin: KafkaAdmin;
  /** Of the first record; each next one of a partition is a second later. */
  readonly firstMs: number;
  /** How many records each partition has. */
  readonly records: readonly number[];
  readonly database: Client;
  readonly databaseUrl: string;
  /** Runs kpipe to its end. */
  readonly run: (...args: readonly string[]) => Promise<Ended>;
  /** Starts kpipe; what is left of it ends with the test. */
  readonly start: (...args: readonly string[]) => Running;
  /** Another file beside the configuration. */
  readonly write: (text: string, name: string) => string;
}

const counts = [60, 30, 0] as const;

const projections = `
    projections:
      - match: {type: 'order.*'}
        table: public.paid
        key: {id: {from: id, type: text}}
        columns: {position: {from: data.index, type: bigint}}`;

export interface OwnDatabase {
  /** What kpipe.yaml names, such as a pooler's address. */
  readonly primary: string;
  /** The server itself, for the test's own look. */
  readonly direct: string;
}

/** Call it at the top level of a test file. Without a database of its own it gets one on the test run's server. */
export async function replayPipeline(role: ReplayPipeline['role'], own?: OwnDatabase): Promise<ReplayPipeline> {
  const servers = inject('servers');
  const { host, port, passwordFile } = servers.postgres;
  const shared = own === undefined ? await createDatabase() : undefined;
  const url = own?.direct ?? shared!.url;
  const primary = own?.primary ?? `postgres://kpipe:\${file:${passwordFile}}@${host}:${port}/${shared!.name}`;
  const directory = pipelineDirectory();
  const topic = uniqueTopic(`replay-${role}`);
  const group = `${topic}-group`;
  const journal = `${topic}-journal`;
  const { project, endpoint, grpcEndpoint } = servers.bigquery ?? {
    project: 'none',
    endpoint: 'http://127.0.0.1:1',
    grpcEndpoint: '127.0.0.1:1',
  };
  const file = directory.write(`pipeline: replay
kafka: {brokers: [${servers.brokers.join(', ')}], journal: ${journal}, sessionTimeout: 6s}
topics:
  ${topic}: {partitions: 3, replicationFactor: ${Math.min(3, servers.brokers.length)}, retention: 7d}
roles:
  ${role}:
    topic: ${topic}
    group: ${group}
    deadLetters: ${topic}.dlq
    batch: {maxRows: 10, maxBytes: 1MB, maxWait: 50ms}${role === 'events' ? projections : ''}
postgres: {primary: '${primary}'}
bigquery: {project: ${project}, dataset: ${topic.replaceAll('-', '_')}, table: events, endpoint: ${endpoint}, grpcEndpoint: '${grpcEndpoint}'}
contexts:
  prod: {protected: true}
`);
  const config = loadConfig({ file, cwd: '/', env: process.env });
  const admin = await openKafkaAdmin(config.kafka);
  const database = new Client({ connectionString: url });
  database.on('error', () => undefined);
  await database.connect();
  afterAll(async () => {
    await database.end();
    await admin.deleteGroup(group).catch(() => undefined);
    const topics = [topic, `${topic}.dlq`, journal];
    await Promise.all(topics.map((each) => admin.deleteTopic(each).catch(() => undefined)));
    await admin.close();
  });
  const running = new Set<Running>();
  afterEach(async () => {
    const left = [...running];
    left.forEach(({ child }) => child.kill('SIGKILL'));
    await Promise.all(left.map(({ ended }) => ended));
  });
  const run = (...args: readonly string[]): Promise<Ended> => kpipe([...args, '-c', file], directory.options);
  for (const args of [['topics', 'apply', '--yes'], ['migrate']]) {
    const { code, stderr } = await run(...args);
    expect(code, `kpipe ${args.join(' ')}: ${stderr}`).toBe(0);
  }
  const firstMs = Date.now() - 3_600_000;
  await produce(config, topic, firstMs);
  return {
    role,
    topic,
    group,
    journal,
    file,
    config,
    admin,
    firstMs,
    records: counts,
    database,
    databaseUrl: url,
    run,
    start: (...args) => {
      const started = runProgram(process.execPath, [`${root}bin/run.js`, ...args, '-c', file], directory.options);
      started.child.stdin.end();
      running.add(started);
      void started.ended.then(() => running.delete(started));
      return started;
    },
    write: directory.write,
  };
}

async function produce({ kafka: config }: Config, topic: string, firstMs: number): Promise<void> {
  const kafka = await createKafkaJs(config, 'replay-test');
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, retry: { retries: 20 } });
  await producer.connect();
  for (const [partition, count] of counts.entries()) {
    const messages = Array.from({ length: count }, (_, index) => ({
      partition,
      key: `key-${index % 7}`,
      value: JSON.stringify({
        id: `${partition}-${index}`,
        source: '/test',
        type: 'order.paid',
        time: new Date(firstMs + index * 1000).toISOString(),
        data: { index },
      }),
      headers: { trace: `${partition}/${index}` },
      timestamp: String(firstMs + index * 1000),
    }));
    if (messages.length > 0) {
      await producer.send({ topic, messages });
    }
  }
  await producer.disconnect();
}

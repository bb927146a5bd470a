import type { Admin, Kafka } from 'kafkajs';
import { Client } from 'pg';
import { afterAll, afterEach, expect, inject } from 'vitest';

import { loadConfig, type Config } from '../../src/lib/config/load.ts';
import { createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import { GroupMembers } from './group-members.ts';
import { JournalledProducer } from './journalled-producer.ts';
import { pipelineDirectory } from './pipeline-file.ts';
import { kpipe, root, runProgram, type Ended, type Running } from './run-kpipe.ts';
import { createDatabase, uniqueTopic, type TestDatabase, type TestServers } from './servers.ts';
import { faultSources, kafkaSections, type SourceKind } from './source-kinds.ts';
import type { RecordMaker } from './fault-records.ts';
import type { Seeded } from './seeded.ts';
import { TopicReader } from './topic-reader.ts';

/** The shortest that brokers allow by default. */
const shortSessionMs = 6000;

export type FaultRole = 'events' | 'logs' | 'analytics';

export interface FaultPipelineOptions {
  readonly role: FaultRole;
  readonly partitions: number;
  readonly maxRows?: number;
  readonly drainDeadline?: string;
  readonly statementTimeout?: string;
  /** How it reads; by default as the fault tests' first source does. */
  readonly source?: SourceKind;
  /** Instead of those of the test run, for tests that stop some. */
  readonly servers?: TestServers;
  /** Where kpipe finds PostgreSQL, when not straight at the server. */
  readonly postgres?: { readonly host: string; readonly port: number };
  /** Shared with another role's pipeline; by default it has one of its own. */
  readonly database?: TestDatabase;
  /** Role analytics loads into this server by jobs, instead of the test run's stand-in by the Storage Write API. */
  readonly loadEndpoint?: string;
  /** Role events keeps its projected rows in this Redis. */
  readonly redisUrl?: string;
}

/** One role with a database, topics and a group of its own, and what a test needs to watch it from outside. */
export interface FaultPipeline {
  readonly role: FaultRole;
  readonly topic: string;
  readonly deadLetterTopic: string;
  readonly group: string;
  readonly partitions: number;
  readonly config: Config;
  readonly kafka: Kafka;
  readonly admin: Admin;
  readonly members: GroupMembers;
  /** How long the group waits for a member that is silent. */
  readonly sessionMs: number;
  /** The test's own connection, past any proxy. */
  readonly database: Client;
  readonly databaseUrl: string;
  readonly openProducer: (random: Seeded, make: RecordMaker) => Promise<JournalledProducer>;
  readonly openReader: (topic: string) => Promise<TopicReader>;
  /** Opens `database` anew, after its server was away. */
  readonly reconnect: () => Promise<void>;
  /** Another connection to the test's database; closed after the file. */
  readonly connect: () => Promise<Client>;
  /** The partitions whose stored position is before the log's end. */
  readonly behind: () => Promise<readonly number[]>;
  /** `kpipe consume ROLE`, in a process of its own. */
  readonly consume: (...flags: string[]) => Running;
  /** Another command of kpipe on the same kpipe.yaml, to its end. */
  readonly kpipe: (...args: string[]) => Promise<Ended>;
}

/** Call it at the top level of a test file. What it starts ends with the file; a consumer that is left, with its test. */
export async function faultPipeline(options: FaultPipelineOptions): Promise<FaultPipeline> {
  const { role, partitions } = options;
  const servers = options.servers ?? inject('servers');
  const database = options.database ?? (await createDatabase(servers));
  const source = options.source ?? faultSources()[0].kind;
  const directory = pipelineDirectory();
  const topic = uniqueTopic(`fault-${role}`);
  const group = uniqueTopic(`fault-${role}-group`);
  const deadLetterTopic = `${topic}.dlq`;
  const { host, port } = options.postgres ?? servers.postgres;
  const url = `postgres://kpipe:\${file:${servers.postgres.passwordFile}}@${host}:${port}/${database.name}`;
  const dataset = topic.replaceAll('-', '_');
  const file = directory.write(
    pipelineText({ ...options, servers, source, topic, group, deadLetterTopic, url, dataset }),
  );
  const config = loadConfig({ file, cwd: '/', env: process.env });

  const kafka = await createKafkaJs(config.kafka, 'fault-test');
  const admin = kafka.admin();
  await admin.connect();
  const members = await GroupMembers.open(config.kafka, group);
  const { group: membership } = kafkaSections[source];
  const sessionMs = membership?.protocol === 'consumer' ? await members.setSession(shortSessionMs) : shortSessionMs;
  afterAll(async () => {
    await members.evictAll();
    await members.close();
    await admin.deleteGroups([group]).catch(() => undefined);
    await admin.deleteTopics({ topics: [topic, deadLetterTopic] }).catch(() => undefined);
    await admin.disconnect();
  });

  const closers: (() => Promise<void>)[] = [];
  afterAll(async () => {
    await Promise.all(closers.map((close) => close()));
  });
  const connect = async (): Promise<Client> => {
    const client = new Client({ connectionString: database.url, application_name: 'fault-test' });
    client.on('error', () => undefined);
    await client.connect();
    closers.push(() => client.end());
    return client;
  };
  await run(['topics', 'apply', '-c', file, '--yes'], directory.options);
  if (role !== 'analytics') {
    await run(['migrate', '-c', file], directory.options);
  }

  let own = await connect();
  const behind = async (): Promise<readonly number[]> => {
    const { rows } = await own.query<{ partition: number; next_offset: string }>(
      'select partition, next_offset from kpipe.consumer_offset where role = $1 and topic = $2',
      [role, topic],
    );
    const written = new Map(rows.map((row) => [row.partition, BigInt(row.next_offset)]));
    const ends = await admin.fetchTopicOffsets(topic);
    return ends.flatMap(({ partition, high }) => ((written.get(partition) ?? 0n) < BigInt(high) ? [partition] : []));
  };

  const running = new Set<Running>();
  afterEach(async () => {
    const left = [...running];
    left.forEach(({ child }) => child.kill('SIGKILL'));
    await Promise.all(left.map(({ ended }) => ended));
  });
  return {
    role,
    topic,
    deadLetterTopic,
    group,
    partitions,
    config,
    kafka,
    admin,
    members,
    sessionMs,
    get database() {
      return own;
    },
    reconnect: async () => {
      own = await connect();
    },
    behind,
    databaseUrl: database.url,
    connect,
    openProducer: async (random, make) => {
      const producer = await JournalledProducer.open({ kafka, topic, partitions, random, make });
      closers.push(() => producer.close());
      return producer;
    },
    openReader: async (name) => {
      const reader = await TopicReader.open(kafka, admin, name);
      closers.push(() => reader.close());
      return reader;
    },
    consume: (...flags) => {
      const args = [`${root}bin/run.js`, 'consume', role, '-c', file, ...flags];
      const consumer = runProgram(process.execPath, args, directory.options);
      consumer.child.stdin.end();
      running.add(consumer);
      void consumer.ended.then(() => running.delete(consumer));
      return consumer;
    },
    kpipe: (...args) => kpipe([...args, '-c', file], directory.options),
  };
}

async function run(args: readonly string[], options: Parameters<typeof kpipe>[1]): Promise<void> {
  const { code, stderr } = await kpipe(args, options);
  expect(code, `kpipe ${args.join(' ')}: ${stderr}`).toBe(0);
}

interface PipelineText extends FaultPipelineOptions {
  readonly servers: TestServers;
  readonly source: SourceKind;
  readonly topic: string;
  readonly group: string;
  readonly deadLetterTopic: string;
  readonly url: string;
  readonly dataset: string;
}

function pipelineText(of: PipelineText): string {
  const projections = `
      - match: {type: 'account.*'}
        table: public.accounts
        key: {account: {from: data.account, type: text}}
        columns:
          seq: {from: data.seq, type: bigint}
          amount: {from: data.amount, type: bigint}
          changed_at: {from: time, type: timestamptz}
        deleteOn: [account.closed]`;
  const bigquery =
    of.loadEndpoint === undefined
      ? of.servers.bigquery && { ...of.servers.bigquery, write: 'storage' }
      : { project: 'kpipe-local', endpoint: of.loadEndpoint, write: 'load', loadInterval: '200ms' };
  const { group } = kafkaSections[of.source];
  return `
pipeline: faults
kafka:
  brokers: [${of.servers.brokers.join(', ')}]
  sessionTimeout: ${shortSessionMs}ms
  group: ${JSON.stringify(group)}
topics:
  ${of.topic}:
    partitions: ${of.partitions}
    replicationFactor: ${Math.min(3, of.servers.brokers.length)}
    retention: 7d
roles:
  ${of.role}:
    topic: ${of.topic}
    group: ${of.group}
    deadLetters: ${of.deadLetterTopic}
    batch: {maxRows: ${of.maxRows ?? 50}, maxBytes: 1MB, maxWait: 50ms}
    drainDeadline: ${of.drainDeadline ?? '30s'}${of.role === 'events' ? `\n    projections:${projections}` : ''}${of.redisUrl === undefined ? '' : '\n    cache: {entities: [accounts], ttl: 1h}'}
postgres:
  primary: '${of.url}'
  pool: {statementTimeout: ${of.statementTimeout ?? '30s'}}${of.redisUrl === undefined ? '' : `\nredis: {url: ${of.redisUrl}}`}
${
  of.role === 'analytics' && bigquery !== null
    ? `bigquery:
${Object.entries({ ...bigquery, dataset: of.dataset, table: 'events' })
  .map(([name, value]) => `  ${name}: ${value}`)
  .join('\n')}`
    : ''
}
`;
}

import type { Admin, Kafka } from 'kafkajs';
import { Client } from 'pg';
import { afterAll, beforeAll, inject, vi } from 'vitest';

import { parseConfig, type Config } from '../../src/lib/config/load.ts';
import type { RoleName } from '../../src/lib/config/schema.ts';
import { createKafkaJs } from '../../src/lib/kafka/kafkajs.ts';
import { openPublisher, type KafkaPublisher } from '../../src/lib/kafka/publisher.ts';
import type { OutgoingRecord } from '../../src/lib/ports.ts';
import { migrate } from '../../src/lib/postgres/migrate.ts';
import { openPool } from '../../src/lib/postgres/pool.ts';
import { consumeRole, type ConsumeOptions } from '../../src/lib/roles/consume.ts';
import { drainingQuietly } from './consume-options.ts';
import type { RunResult } from '../../src/lib/runtime/run-options.ts';
import { createDatabase, uniqueTopic } from './servers.ts';
import { topicsEverywhere } from './topics-everywhere.ts';

export interface RolePipelineOptions {
  readonly role: RoleName;
  readonly partitions?: number;
  /** Members of the role's section, over the defaults. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Members of the kafka section. */
  readonly kafka?: Readonly<Record<string, unknown>>;
  /** Members of the postgres section. */
  readonly postgres?: Readonly<Record<string, unknown>>;
  /** Of the topics. */
  readonly topicConfig?: Readonly<Record<string, string>>;
}

export interface StoredDeadLetter {
  readonly partition: number;
  readonly offset: bigint;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, string>>;
}

/** One role with topics and a group of its own, in this process. */
export interface RolePipeline {
  readonly role: RoleName;
  readonly topic: string;
  readonly deadLetterTopic: string;
  readonly group: string;
  readonly config: Config;
  /** kpipe.yaml. */
  readonly text: string;
  readonly send: (records: readonly OutgoingRecord[]) => Promise<void>;
  readonly consume: (options?: Partial<ConsumeOptions>) => Promise<RunResult>;
  /** Everything that is in the dead letter topic now, by origin. */
  readonly deadLetters: () => Promise<readonly StoredDeadLetter[]>;
}

export interface RolePipelines {
  readonly kafka: Kafka;
  readonly admin: Admin;
  /** The test's own connection to the file's database. */
  readonly database: Client;
  readonly databaseUrl: string;
  readonly open: (options: RolePipelineOptions) => Promise<RolePipeline>;
  readonly query: (text: string, values?: unknown[]) => Promise<Record<string, unknown>[]>;
  readonly topicReader: (topic: string) => Promise<readonly StoredDeadLetter[]>;
}

/** Call it at the top level of a test file: a database, migrated, and roles on it as tests ask for them. */
export async function rolePipelines(): Promise<RolePipelines> {
  const servers = inject('servers');
  const testDatabase = await createDatabase();
  const database = new Client({ connectionString: testDatabase.url, application_name: 'test' });
  const plain = JSON.stringify({ pipeline: 'test', kafka: { brokers: servers.brokers } });
  const kafka = await createKafkaJs(parseConfig(plain, '/dev/null/kpipe.yaml', process.env).kafka, 'test-pipelines');
  const admin = kafka.admin();
  const topics: string[] = [];
  const groups: string[] = [];
  const publishers: KafkaPublisher[] = [];

  beforeAll(async () => {
    await Promise.all([admin.connect(), database.connect()]);
  });
  afterAll(async () => {
    await Promise.all(publishers.map((publisher) => publisher.close()));
    await admin.deleteGroups(groups).catch(() => undefined);
    await admin.deleteTopics({ topics }).catch(() => undefined);
    await Promise.all([admin.disconnect(), database.end()]);
  });

  const topicReader = (topic: string): Promise<readonly StoredDeadLetter[]> => {
    const group = uniqueTopic('reader');
    groups.push(group);
    return readTopic(kafka, admin, topic, group);
  };
  const open = async (options: RolePipelineOptions): Promise<RolePipeline> => {
    const { role } = options;
    const topic = uniqueTopic(role);
    const [deadLetterTopic, group] = [`${topic}.dlq`, `${topic}-group`];
    topics.push(topic, deadLetterTopic);
    groups.push(group);
    const text = JSON.stringify({
      pipeline: 'test',
      kafka: { brokers: servers.brokers, ...options.kafka },
      postgres: { primary: testDatabase.url, ...options.postgres },
      ...(servers.bigquery === null || role !== 'analytics'
        ? {}
        : { bigquery: { ...servers.bigquery, dataset: topic.replaceAll('-', '_'), table: 'events' } }),
      roles: {
        [role]: {
          topic,
          group,
          deadLetters: deadLetterTopic,
          ...(role === 'logs' ? {} : { defaultSource: topic }),
          ...options.settings,
        },
      },
    });
    const config = parseConfig(text, '/dev/null/kpipe.yaml', process.env);
    await admin.createTopics({
      topics: [[topic, options.partitions ?? 1] as const, [deadLetterTopic, 1] as const].map(
        ([name, numPartitions]) => ({
          topic: name,
          numPartitions,
          replicationFactor: Math.min(3, servers.brokers.length),
          configEntries: Object.entries(options.topicConfig ?? {}).map(([key, value]) => ({ name: key, value })),
        }),
      ),
      waitForLeaders: true,
    });
    await topicsEverywhere(config.kafka, [topic, deadLetterTopic]);
    await migrated(config);
    const publisher = await openPublisher(config.kafka);
    publishers.push(publisher);
    return {
      role,
      topic,
      deadLetterTopic,
      group,
      config,
      text,
      send: (records) => publisher.publish(topic, records),
      consume: (more = {}) => consumeRole(config, role, { ...consumeDefaults, ...more }),
      deadLetters: () => topicReader(deadLetterTopic),
    };
  };
  const query = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
    (await database.query<Record<string, unknown>>(text, values)).rows;
  return { kafka, admin, database, databaseUrl: testDatabase.url, open, query, topicReader };
}

const consumeDefaults: ConsumeOptions = { ...drainingQuietly, signal: new AbortController().signal };

async function migrated(config: Config): Promise<void> {
  const pool = await openPool(config.postgres!, { applicationName: 'test-migrate' });
  const projections = config.roles.events?.projections ?? [];
  await migrate(pool, { projections, logRetentionMs: 30 * 86_400_000, nowMs: Date.now(), planOnly: false });
  await pool.end();
}

async function readTopic(
  kafka: Kafka,
  admin: Admin,
  topic: string,
  group: string,
): Promise<readonly StoredDeadLetter[]> {
  const ends = await admin.fetchTopicOffsets(topic);
  const wanted = ends.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
  const consumer = kafka.consumer({ groupId: group, maxWaitTimeInMs: 100 });
  const found: StoredDeadLetter[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: ({ message: { key, value, headers } }) => {
      const texts = Object.fromEntries(Object.entries(headers ?? {}).map(([name, bytes]) => [name, String(bytes)]));
      found.push({
        partition: Number(texts['__connect.errors.partition']),
        offset: BigInt(texts['__connect.errors.offset'] ?? -1),
        key,
        value,
        headers: texts,
      });
      return Promise.resolve();
    },
  });
  await vi.waitUntil(() => found.length >= wanted, { timeout: 90_000, interval: 20 });
  await consumer.disconnect();
  return found;
}

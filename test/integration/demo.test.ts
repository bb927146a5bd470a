import { existsSync } from 'node:fs';

import { Client } from 'pg';
import { afterAll, describe, expect, inject, test } from 'vitest';

import type { DemoResult } from '../../src/commands/demo.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe } from '../support/run-kpipe.ts';
import { createDatabase, uniqueTopic } from '../support/servers.ts';

const servers = inject('servers');
const { kafka } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(kafka);
const database = await createDatabase();
const directory = pipelineDirectory();
const name = uniqueTopic('demo');
const replicas = Math.min(3, servers.brokers.length);

/** A pipeline of this test's own on the servers of the run. Analytics only where the stand-in can run. */
function pipeline(): string {
  const topic = (role: string): string => `  ${name}-${role}: {partitions: 2, replicationFactor: ${replicas}}\n`;
  const role = (each: string): string =>
    `topic: ${name}-${each}, group: ${name}-${each}, deadLetters: ${name}-${each}.dlq`;
  const { bigquery } = servers;
  return directory.write(`pipeline: test
kafka: {brokers: [${servers.brokers.join(', ')}]}
topics:
${topic('events')}${topic('logs')}${bigquery === null ? '' : topic('analytics')}roles:
  events:
    ${role('events').replaceAll(', ', '\n    ')}
    projections:
      - match: {type: 'order.*'}
        table: public.orders
        key: {order_id: {from: data.orderId, type: text}}
        columns:
          status: {from: data.status, type: text}
          amount_cents: {from: data.amountCents, type: bigint}
        deleteOn: [order.deleted]
  logs: {${role('logs')}}
${bigquery === null ? '' : `  analytics: {${role('analytics')}, batch: {maxWait: 1s}}\n`}postgres:
  primary: '${database.url.replace(servers.postgres.password, `\${file:${servers.postgres.passwordFile}}`)}'
${bigquery === null ? '' : `bigquery: {project: ${bigquery.project}, dataset: ${name.replaceAll('-', '_')}, endpoint: '${bigquery.endpoint}', grpcEndpoint: '${bigquery.grpcEndpoint}'}\n`}`);
}

afterAll(async () => {
  for (const role of ['events', 'logs', 'analytics']) {
    await admin.deleteTopic(`${name}-${role}`).catch(() => undefined);
    await admin.deleteTopic(`${name}-${role}.dlq`).catch(() => undefined);
  }
  await admin.close();
});

describe('kpipe demo on servers that are there', () => {
  test('publishes, finds every record again, and finds its own rows in the stores', async () => {
    const config = pipeline();

    const ended = await kpipe(
      [
        'demo',
        '--no-sandbox',
        '-c',
        config,
        '--count',
        '3000',
        '--rate',
        '2000',
        '--broken',
        '5%',
        '--seed',
        '11',
        '--json',
      ],
      directory.options,
    );

    expect(ended.stderr).not.toContain('KPIPE_');
    const report = JSON.parse(ended.stdout) as DemoResult;
    expect({ code: ended.code, ok: report.ok, problems: report.problems }).toEqual({ code: 0, ok: true, problems: [] });
    expect(report.topics.map(({ topic }) => topic)).toEqual(
      (servers.bigquery === null ? ['events', 'logs'] : ['events', 'logs', 'analytics']).map(
        (role) => `${name}-${role}`,
      ),
    );
    for (const topic of report.topics) {
      expect(topic).toMatchObject({ duplicates: 0, lagRecords: 0, stored: topic.acked - topic.deadLetters });
      expect(topic.deadLetters).toBeGreaterThan(0);
      expect(topic.latencyP99Ms).toBeGreaterThanOrEqual(topic.latencyP50Ms ?? Number.NaN);
    }
    expect(report.topics.reduce((sum, { acked }) => sum + acked, 0)).toBe(3000);
    // By another way than the demo's own: what is in the tables is what it says.
    const [events, logs] = report.topics;
    expect(await count('select count(*) from kpipe.events')).toBe(events?.stored);
    expect(await count('select count(*) from kpipe.logs')).toBe(logs?.stored);
    expect(await count('select count(*) from public.orders')).toBe(report.orders?.rows);
    const deadLetters = await admin.listOffsets([{ topic: `${name}-events.dlq`, partition: 0 }], 'latest');
    expect(Number(deadLetters[0]?.offset)).toBe(events?.deadLetters);
  });

  test('a protected context is refused: exit 4, nothing made', async () => {
    const config = directory.write(
      `pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\ntopics:\n  ${name}-protected: {partitions: 1}\ncontexts:\n  prod: {protected: true}\n`,
      'protected.yaml',
    );

    const ended = await kpipe(['demo', '--no-sandbox', '-c', config, '--context', 'prod'], directory.options);

    expect(ended.code).toBe(4);
    expect(ended.stderr).toContain('KPIPE_REFUSED the context prod is protected');
    expect(await admin.describeTopics([`${name}-protected`])).toEqual([]);
    expect(existsSync(`${directory.path}/state/kpipe/sandbox`)).toBe(false);
  });
});

async function count(sql: string): Promise<number> {
  const client = new Client({ connectionString: database.url });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>(sql);
    return Number(rows[0]?.count);
  } finally {
    await client.end();
  }
}

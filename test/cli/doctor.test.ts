import { chmodSync } from 'node:fs';

import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import type { DoctorResult } from '../../src/commands/doctor.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import type { CheckResult } from '../../src/lib/health/check.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe } from '../support/run-kpipe.ts';
import { createDatabase, uniqueTopic } from '../support/servers.ts';

const servers = inject('servers');
const directory = pipelineDirectory();
const database = await createDatabase();
const topic = uniqueTopic('doctor');
const admin = await openKafkaAdmin(loadConfig({ file: servers.config, cwd: '/', env: process.env }).kafka);
const { passwordFile, port, replicaPort } = servers.postgres;

interface Stores {
  readonly brokers?: string;
  readonly primary?: string;
  readonly redis?: string;
  readonly bigquery?: string;
}

function pipeline(stores: Stores = {}): string {
  const at = (server: number): string =>
    `postgres://kpipe:\${file:${passwordFile}}@127.0.0.1:${server}/${database.name}`;
  return directory.write(`pipeline: test
kafka: {brokers: [${stores.brokers ?? servers.brokers.join(', ')}]}
topics:
  ${topic}: {partitions: 1, replicationFactor: 1}
roles:
  events: {topic: ${topic}, group: ${topic}, deadLetters: ${topic}.dlq}
postgres:
  primary: '${stores.primary ?? at(port)}'
  replicas: [{name: replica1, url: '${at(replicaPort)}'}]
redis: {url: '${stores.redis ?? servers.redisUrl}'}
${stores.bigquery ?? ''}
`);
}

async function doctor(file: string): Promise<{ code: number | null; checks: readonly CheckResult[]; text: string }> {
  const ended = await kpipe(['doctor', '-c', file, '--json'], directory.options);
  return {
    code: ended.code,
    checks: (JSON.parse(ended.stdout) as DoctorResult).checks,
    text: ended.stdout + ended.stderr,
  };
}

const failed = (checks: readonly CheckResult[]): readonly string[] =>
  checks.filter(({ ok }) => !ok).map(({ store, name }) => `${store} ${name}`);

// The standby has the database once it has replayed that it was made.
beforeAll(() =>
  vi.waitFor(
    async () => {
      const client = new Client({ connectionString: database.replicaUrl });
      await client.connect();
      await client.end();
    },
    { timeout: 60_000, interval: 100 },
  ),
);
afterAll(async () => {
  await Promise.all([topic, `${topic}.dlq`].map((name) => admin.deleteTopic(name).catch(() => undefined)));
  await admin.close();
});

describe('doctor', () => {
  test('says what is missing before anything was set up, each with a next step, and exits 3', async () => {
    const { code, checks, text } = await doctor(pipeline());
    expect(code).toBe(3);
    expect(failed(checks)).toEqual(['kafka topics', 'postgres primary schema']);
    expect(checks.filter(({ ok }) => !ok).map(({ next }) => next)).toEqual(['kpipe topics apply', 'kpipe migrate']);
    expect(checks.find(({ name }) => name === 'topics')?.detail).toBe(`missing: ${topic}, ${topic}.dlq`);
    expect(text).not.toContain(servers.postgres.password);
  });

  test('all is well once the topics and the schema are there', async () => {
    const file = pipeline();
    expect((await kpipe(['topics', 'apply', '-c', file, '--yes'], directory.options)).code).toBe(0);
    expect((await kpipe(['migrate', '-c', file], directory.options)).code).toBe(0);
    const { code, checks } = await doctor(file);
    expect(failed(checks)).toEqual([]);
    expect(code).toBe(0);
    for (const [store, name, detail] of [
      ['kafka', 'version', /^Kafka \d+\.\d+$/],
      ['postgres', 'primary version', /^PostgreSQL \d+/],
      ['postgres', 'primary rights', /may write kpipe's tables/],
      ['postgres', 'primary clock', /^[+-]\d+ ms/],
      ['postgres', 'replica1 role', /^standby/],
      ['redis', 'version', /^Redis \d+/],
      ['redis', 'clock', /^[+-]\d+ ms/],
    ] as const) {
      const check = checks.find((each) => each.store === store && each.name === name);
      expect(check, `${store} ${name}`).toMatchObject({
        ok: true,
        next: null,
        detail: expect.stringMatching(detail) as unknown,
      });
    }
  });

  test('every store that is away is named with what to correct', async () => {
    const bigquery = 'bigquery: {project: p, dataset: d, endpoint: "http://127.0.0.1:1", grpcEndpoint: "127.0.0.1:1"}';
    const file = pipeline({
      brokers: '127.0.0.1:1',
      primary: 'postgres://kpipe:hidden-word@127.0.0.1:1/kpipe',
      redis: 'redis://:hidden-word@127.0.0.1:1/0',
      bigquery,
    });
    // It holds literal passwords.
    chmodSync(file, 0o600);
    const { code, checks, text } = await doctor(file);
    expect(code).toBe(3);
    expect(failed(checks)).toEqual(['kafka cluster', 'postgres primary', 'redis redis', 'bigquery bigquery']);
    const details = checks.filter(({ ok }) => !ok).map(({ detail }) => detail.split(' ')[0]);
    expect(details).toEqual([
      'KPIPE_KAFKA_UNREACHABLE',
      'KPIPE_POSTGRES_UNREACHABLE',
      'KPIPE_REDIS_UNREACHABLE',
      'KPIPE_BIGQUERY_UNREACHABLE',
    ]);
    expect(checks.filter(({ ok, next }) => !ok && next === null)).toEqual([]);
    expect(checks.find(({ name }) => name === 'replica1')).toMatchObject({ ok: true });
    expect(text).not.toContain('hidden-word');
    chmodSync(file, 0o644);
  });

  test('a user without rights is told which', async () => {
    const role = `reader_${database.name}`;
    const superuser = new Client({ connectionString: database.superuserUrl });
    await superuser.connect();
    try {
      await superuser.query(`create role ${role} login password 'reader-word'`);
      const { checks } = await doctorAs(role);
      expect(failed(checks)).toContain('postgres primary rights');
      expect(checks.find(({ name }) => name === 'primary rights')?.next).toContain(
        `INSERT, UPDATE on its tables to ${role}`,
      );
    } finally {
      await superuser.query(`drop role ${role}`);
      await superuser.end();
    }
  });

  function doctorAs(role: string): ReturnType<typeof doctor> {
    directory.write('reader-word', 'reader');
    return doctor(pipeline({ primary: `postgres://${role}:\${file:./reader}@127.0.0.1:${port}/${database.name}` }));
  }
});

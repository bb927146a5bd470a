import { afterAll, describe, expect, inject, test, vi } from 'vitest';

import type { WarehouseApplyResult } from '../../src/commands/warehouse/apply.ts';
import type { WarehousePlanResult } from '../../src/commands/warehouse/plan.ts';
import type { WarehouseStatusResult } from '../../src/commands/warehouse/status.ts';
import { connectBigQuery } from '../../src/lib/bigquery/connection.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import { resultOf } from '../support/consume-result.ts';
import { strayMembers } from '../support/documents.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram, type Ended, type Running } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const { bigquery } = servers;
const directory = pipelineDirectory();
const { kafka } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(kafka);
const topics: string[] = [];
const datasets: string[] = [];
const running: Running[] = [];

afterAll(async () => {
  running.forEach(({ child }) => child.kill('SIGKILL'));
  await Promise.all(running.map(({ ended }) => ended));
  await Promise.all(topics.map((topic) => admin.deleteGroup(topic).catch(() => undefined)));
  await Promise.all(topics.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
  if (bigquery !== null) {
    const connection = await connectTo('none');
    await Promise.all(
      datasets.map((name) =>
        connection.rest
          .dataset(name)
          .delete({ force: true })
          .catch(() => undefined),
      ),
    );
    await connection.close();
  }
});

function connectTo(dataset: string): ReturnType<typeof connectBigQuery> {
  return connectBigQuery({
    project: 'kpipe-local',
    ...bigquery,
    dataset,
    table: 'events',
    write: 'storage',
    loadInterval: 60_000,
  });
}

interface Declared {
  /** Names file, topic, group and dataset. */
  readonly name: string;
  /** Lines of the bigquery section. */
  readonly bigquery?: readonly string[];
  readonly endpoints?: readonly string[];
}

/** A kpipe.yaml with role analytics, into a dataset of its own. */
function pipeline({ name, bigquery: lines = [], endpoints = standIn() }: Declared): string {
  return directory.write(
    `pipeline: test
kafka: {brokers: [${servers.brokers.join(', ')}]}
roles:
  analytics: {topic: ${name}, group: ${name}, deadLetters: ${name}.dlq, batch: {maxWait: 200ms}}
bigquery:
  project: kpipe-local
  dataset: ${datasetOf(name)}
${[...endpoints, ...lines].map((line) => `  ${line}\n`).join('')}contexts:
  prod: {protected: true}
`,
    `${name}.yaml`,
  );
}

function standIn(): readonly string[] {
  return bigquery === null ? [] : [`endpoint: ${bigquery.endpoint}`, `grpcEndpoint: ${bigquery.grpcEndpoint}`];
}

const datasetOf = (name: string): string => name.replaceAll('-', '_');

/** A name for all of one test's own, whose dataset goes at the end. */
function newName(prefix: string): string {
  const name = uniqueTopic(prefix);
  datasets.push(datasetOf(name));
  return name;
}

const withoutCredentials = {
  ...directory.options,
  env: { ...directory.options.env, HOME: directory.path, GOOGLE_APPLICATION_CREDENTIALS: '' },
};
const warehouse = (verb: string, file: string, ...more: readonly string[]): Promise<Ended> =>
  kpipe(['warehouse', verb, '-c', file, ...more], withoutCredentials);
const kindsOf = (changes: WarehousePlanResult['changes']): readonly string[] =>
  changes.map((change) => (change.kind === 'add-column' ? `${change.column} ${change.type}` : change.kind));

function json({ code, stdout, stderr }: Ended, exit: number): unknown {
  expect({ code, stderr }).toMatchObject({ code: exit });
  return JSON.parse(stdout);
}

describe.skipIf(bigquery === null)('warehouse', () => {
  const name = newName('warehouse');
  const views = [
    "columns: {'page.*': {url: {from: data.url, type: STRING}, ids: {from: data.ids, type: ARRAY<INT64>}}}",
  ];

  test('from nothing to in sync: plan looks, apply asks and makes, status tells', async () => {
    const file = pipeline({ name });
    const planned = json(await warehouse('plan', file, '--json'), 3) as WarehousePlanResult;
    expect(kindsOf(planned.changes)).toEqual(['create-dataset', 'create-table', 'create-view']);
    const shown = await warehouse('plan', file);
    expect(shown).toMatchObject({ code: 3, stderr: '' });
    expect(shown.stdout).toContain(`+ table kpipe-local.${datasetOf(name)}.events, by day on time`);
    expect(shown.stdout).toContain('3 changes');

    const unasked = await warehouse('apply', file);
    expect(unasked).toMatchObject({ code: 4, stdout: '' });
    expect(unasked.stderr).toContain('KPIPE_CONFIRMATION_REQUIRED');
    expect(json(await warehouse('status', file, '--json'), 3)).toMatchObject({ exists: false });

    const applied = json(await warehouse('apply', file, '--yes', '--json'), 0) as WarehouseApplyResult;
    expect(strayMembers('warehouse apply', applied)).toEqual([]);
    expect(kindsOf(applied.done)).toEqual(['create-dataset', 'create-table', 'create-view']);
    expect(applied).toMatchObject({ failed: null, notDone: [], obstacles: [] });
    expect(await warehouse('plan', file)).toMatchObject({ code: 0, stdout: expect.stringContaining('in sync') });
    expect(await warehouse('apply', file)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('in sync, nothing to do'),
    });
    const status = await warehouse('status', file);
    expect(status.code).toBe(0);
    for (const line of [/^table +kpipe-local\..*\.events at http/m, /^rows +0$/m, /^cost of it +/m]) {
      expect(status.stdout).toMatch(line);
    }
  });

  test('declared columns are planned and added; one of another type is an obstacle, and nothing is changed', async () => {
    const file = pipeline({ name, bigquery: views });
    const shown = await warehouse('plan', file);
    expect(shown.code).toBe(3);
    expect(shown.stdout).toContain('~ column url STRING');
    expect(shown.stdout).toContain('~ column ids ARRAY<INT64>');
    const applied = json(await warehouse('apply', file, '--yes', '--json'), 0) as WarehouseApplyResult;
    expect(kindsOf(applied.done)).toEqual(['url STRING', 'ids ARRAY<INT64>', 'replace-view']);
    expect((await warehouse('plan', file)).code).toBe(0);

    const other = pipeline({ name, bigquery: ["columns: {'page.*': {url: {from: data.url, type: INT64}}}"] });
    const planned = json(await warehouse('plan', other, '--json'), 3) as WarehousePlanResult;
    expect(planned).toMatchObject({
      changes: [],
      obstacles: [{ what: 'column url is NULLABLE STRING, not url INT64' }],
    });
    const refused = await warehouse('apply', other, '--yes');
    expect(refused).toMatchObject({ code: 4, stdout: expect.stringContaining('! column url is NULLABLE STRING') });
    const status = json(await warehouse('status', other, '--json'), 3) as WarehouseStatusResult;
    expect(status.obstacles).toHaveLength(1);
    expect((await warehouse('plan', pipeline({ name, bigquery: views }))).code).toBe(0);
  });

  test('a protected context wants its name', async () => {
    const own = newName('protected');
    const file = pipeline({ name: own });
    const refused = await warehouse('apply', file, '--context', 'prod', '--yes');
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toContain('--confirm');
    const applied = await warehouse('apply', file, '--context', 'prod', '--confirm', 'prod', '--json');
    expect((json(applied, 0) as WarehouseApplyResult).done).toHaveLength(3);
  });

  test('a role that runs takes a new column without a restart: declared, applied, filled', async () => {
    const own = newName('restart');
    topics.push(own, `${own}.dlq`);
    for (const topic of [own, `${own}.dlq`]) {
      await admin.createTopic({ name: topic, partitions: 1, replicationFactor: 1, config: {} });
    }
    await topicsEverywhere(kafka, [own, `${own}.dlq`]);
    const publisher = await openPublisher(kafka);
    const event = (id: number, data: string) => ({
      key: null,
      value: Buffer.from(`{"id":"${id}","source":"/shop","type":"page.viewed","data":${data}}`),
    });
    const file = pipeline({ name: own });
    const consumer = runProgram(
      process.execPath,
      [`${root}bin/run.js`, 'consume', 'analytics', '-c', file, '--json'],
      withoutCredentials,
    );
    running.push(consumer);
    consumer.child.stdin.end();
    const connection = await connectTo(datasetOf(own));
    const rows = async (columns: string): Promise<readonly unknown[]> => {
      const query = `SELECT id, ${columns} FROM \`kpipe-local.${datasetOf(own)}.events\` ORDER BY kafka_offset`;
      return (await connection.rest.query({ query, wrapIntegers: false }))[0];
    };
    const countIs = (count: number): Promise<void> =>
      vi.waitFor(async () => expect(await rows('kafka_offset')).toHaveLength(count), {
        timeout: 120_000,
        interval: 200,
      });
    // Records go on coming: the role looks at kpipe.yaml when it has something to write.
    let sent = 0;
    const sendUntil = async (pattern: RegExp): Promise<void> => {
      const shown = consumer.shows(pattern);
      let isShown = false;
      void shown.then(() => {
        isShown = true;
      });
      await vi.waitUntil(
        async () => {
          sent += isShown ? 0 : 1;
          await (isShown ? shown : publisher.publish(own, [event(sent, '{"url":"/before"}')]));
          return isShown;
        },
        { timeout: 120_000, interval: 500 },
      );
    };

    sent += 1;
    await publisher.publish(own, [event(1, '{"url":"/first"}')]);
    await countIs(1);
    pipeline({ name: own, bigquery: views });
    await sendUntil(/the table cannot take yet \(no column url; no column ids\)/);
    await countIs(sent);
    const applied = json(await warehouse('apply', file, '--yes', '--json'), 0) as WarehouseApplyResult;
    expect(kindsOf(applied.done)).toEqual(['url STRING', 'ids ARRAY<INT64>', 'create-view']);
    await sendUntil(/declared columns in use: url, ids/);
    await countIs(sent);
    await publisher.publish(own, [
      event(1001, '{"url":"/after","ids":[1,9007199254740993]}'),
      event(1002, '{"url":404}'),
      event(1003, '{}'),
    ]);
    await countIs(sent + 2);
    consumer.child.kill('SIGTERM');
    const { totals } = await resultOf(consumer);
    await publisher.close();
    const seen = await rows('url, ARRAY_LENGTH(ids) AS ids');
    await connection.close();
    expect(seen[0]).toMatchObject({ id: '1', url: null });
    expect(seen.slice(-2)).toMatchObject([
      { id: '1001', url: '/after', ids: 2 },
      { id: '1003', url: null },
    ]);
    expect(totals).toMatchObject({ records: sent + 3, stored: sent + 2, deadLetters: 1 });
    const letter = await kpipe(['dlq', 'list', 'analytics', '-c', file, '--json'], withoutCredentials);
    expect(letter.stdout).toContain('bq_schema');
    expect(letter.stdout).toContain('data.url is no STRING: column url');
  });
});

describe('without a BigQuery', () => {
  test.each(['plan', 'apply', 'status'])(
    '%s: no endpoint and no credentials is one clear line, with both ways out',
    async (verb) => {
      const { code, stdout, stderr } = await warehouse(verb, pipeline({ name: uniqueTopic('offline'), endpoints: [] }));
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(
        /KPIPE_BIGQUERY_NO_CREDENTIALS.*no Google credentials for project kpipe-local: none are set up here/s,
      );
      expect(stderr).toContain('gcloud auth application-default login');
      expect(stderr).toContain('kpipe sandbox up');
      expect(stderr).not.toMatch(/\n\s+at /);
    },
  );

  test('as JSON it is one document on stderr, and stdout stays empty', async () => {
    const { code, stdout, stderr } = await warehouse(
      'plan',
      pipeline({ name: uniqueTopic('offline'), endpoints: [] }),
      '--json',
    );
    expect(code).toBe(1);
    const [document = ''] = [stdout, stderr].filter((text) => text.trim().startsWith('{'));
    expect(JSON.parse(document)).toMatchObject({ error: { code: 'KPIPE_BIGQUERY_NO_CREDENTIALS' } });
  });

  test('an endpoint where nobody answers is named', async () => {
    const endpoints = ['endpoint: http://127.0.0.1:1', 'grpcEndpoint: 127.0.0.1:1'];
    const { code, stderr } = await warehouse('plan', pipeline({ name: uniqueTopic('offline'), endpoints }));
    expect(code).toBe(1);
    expect(stderr).toContain('KPIPE_BIGQUERY_UNREACHABLE');
    expect(stderr).toContain('http://127.0.0.1:1');
  });

  test('a kpipe.yaml without a bigquery section is a matter of configuration', async () => {
    const file = directory.write('pipeline: test\nkafka: {brokers: ["127.0.0.1:1"]}\n', 'bare.yaml');
    const { code, stderr } = await warehouse('status', file);
    expect(code).toBe(2);
    expect(stderr).toContain('bigquery');
  });
});

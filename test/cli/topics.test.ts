import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import type { TopicsApplyResult } from '../../src/commands/topics/apply.ts';
import type { TopicsDescribeResult } from '../../src/commands/topics/describe.ts';
import type { TopicsListResult } from '../../src/commands/topics/list.ts';
import type { TopicsPlanResult } from '../../src/commands/topics/plan.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, type Ended } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { ownValuesEverywhere, topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const replicas = Math.min(3, servers.brokers.length);
const directory = pipelineDirectory();
const made: string[] = [];

interface Declared {
  readonly partitions?: string;
  readonly retention?: string;
  readonly replicationFactor?: number;
  readonly config?: string;
  readonly brokers?: readonly string[];
}

/** A kpipe.yaml with one topic and role events on it, so that a dead-letter topic follows. */
function pipeline(topic: string, declared: Declared = {}): string {
  const {
    partitions = '{basis: consumers, consumers: 2}',
    retention = '7d',
    replicationFactor = replicas,
    config = '{}',
    brokers = servers.brokers,
  } = declared;
  made.push(topic, `${topic}.dlq`);
  return directory.write(
    `pipeline: test
kafka: {brokers: [${brokers.join(', ')}]}
topics:
  ${topic}: {partitions: ${partitions}, replicationFactor: ${replicationFactor}, retention: ${retention}, config: ${config}}
roles:
  events: {topic: ${topic}, group: ${topic}-group, deadLetters: ${topic}.dlq}
postgres: {primary: 'postgres://kpipe@127.0.0.1:1/kpipe'}
contexts:
  prod: {protected: true}
`,
    `${topic}.yaml`,
  );
}

const run = (...args: readonly string[]): Promise<Ended> => kpipe(args, directory.options);
const plan = (file: string, ...more: readonly string[]): Promise<Ended> => run('topics', 'plan', '-c', file, ...more);
const apply = (file: string, ...more: readonly string[]): Promise<Ended> => run('topics', 'apply', '-c', file, ...more);

const json = ({ stdout }: Ended): unknown => JSON.parse(stdout);
const planOf = (ended: Ended): TopicsPlanResult => json(ended) as TopicsPlanResult;
const appliedOf = (ended: Ended): TopicsApplyResult => json(ended) as TopicsApplyResult;

/** The one topic's changes, by what they change. */
function changesOf({ changes }: TopicsPlanResult): Readonly<Record<string, readonly unknown[]>> {
  return Object.fromEntries(changes.map(({ topic, kind, key, from, to }) => [`${topic} ${key ?? kind}`, [from, to]]));
}

const { kafka } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(kafka);

afterAll(async () => {
  await Promise.all([...new Set(made)].map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

describe('from nothing to in sync', () => {
  const topic = uniqueTopic('cli');
  const dlq = `${topic}.dlq`;

  test('plan shows what would be made, changes nothing, and exits 3', async () => {
    const file = pipeline(topic);
    const planned = await plan(file, '--json');
    expect(planned.code).toBe(3);
    expect(changesOf(planOf(planned))).toEqual({
      [`${topic} create`]: [
        null,
        { partitions: 2, replicationFactor: replicas, config: { 'retention.ms': '604800000' } },
      ],
      [`${dlq} create`]: [
        null,
        { partitions: 1, replicationFactor: replicas, config: { 'retention.ms': '2592000000' } },
      ],
    });
    const shown = await plan(file);
    expect(shown.stdout).toContain(`+ ${topic} `);
    expect(shown.stdout).toContain('plan: 2 create, 0 update, 0 delete, 0 warnings');
    expect(await admin.describeTopics([topic, dlq])).toEqual([]);
  });

  test('list shows that they are missing', async () => {
    const listed = json(await run('topics', 'list', '-c', pipeline(topic), '--json')) as TopicsListResult;
    expect(listed.topics.find((each) => each.topic === dlq)).toMatchObject({
      exists: false,
      partitions: null,
      origin: 'deadLetters',
      roles: ['events'],
    });
  });

  test('apply without a terminal wants --yes, and changes nothing', async () => {
    const refused = await apply(pipeline(topic));
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toContain('KPIPE_CONFIRMATION_REQUIRED');
    expect(refused.stderr).toContain('--yes');
    expect(await admin.describeTopics([topic])).toEqual([]);
  });

  test('apply makes them', async () => {
    const applied = await apply(pipeline(topic), '--yes', '--json');
    expect(applied.code).toBe(0);
    const result = appliedOf(applied);
    expect(result).toMatchObject({ failed: [], notDone: [], inSync: [] });
    expect(result.done.map((change) => change.topic)).toEqual([topic, dlq]);
    const described = await admin.describeTopics([topic, dlq]);
    expect(described.map(({ partitions }) => partitions.length)).toEqual([2, 1]);
  });

  test('then plan is in sync with exit 0, and apply does nothing, also without --yes', async () => {
    const file = pipeline(topic);
    const planned = await plan(file, '--json');
    expect(planned.code).toBe(0);
    const result = planOf(planned);
    expect(result.changes).toEqual([]);
    expect(result.inSync).toEqual([
      { topic, keptKeys: [] },
      { topic: dlq, keptKeys: [] },
    ]);
    const applied = await apply(file);
    expect(applied).toMatchObject({ code: 0, stdout: 'in sync: 2 topics as declared, nothing to do\n' });
  });

  test('describe shows what is there and what is declared', async () => {
    const described = json(
      await run('topics', 'describe', topic, '-c', pipeline(topic), '--json'),
    ) as TopicsDescribeResult;
    expect(described).toMatchObject({ topic, origin: 'declared', roles: ['events'], replicationFactor: replicas });
    expect(
      described.partitions.map(({ partition, highWatermark, records }) => [partition, highWatermark, records]),
    ).toEqual([
      [0, '0', '0'],
      [1, '0', '0'],
    ]);
    expect(described.config).toContainEqual({
      key: 'retention.ms',
      value: '604800000',
      source: 'topic',
      brokerSource: null,
      declared: '604800000',
    });
  });
});

describe('drift', () => {
  const topic = uniqueTopic('cli');

  beforeAll(async () => {
    expect((await apply(pipeline(topic), '--yes')).code).toBe(0);
  });

  test('keys set outside the file stay and are no drift', async () => {
    await admin.alterConfigs({ topic, set: { 'segment.ms': '50000' } });
    await ownValuesEverywhere(kafka, topic, { 'retention.ms': '604800000', 'segment.ms': '50000' });
    expect(planOf(await plan(pipeline(topic), '--json')).inSync).toContainEqual({ topic, keptKeys: ['segment.ms'] });
  });

  test('is shown with its risk, and repaired', async () => {
    const file = pipeline(topic, { partitions: '4', retention: '1d' });
    const shown = await plan(file);
    expect(shown.code).toBe(3);
    expect(shown.stdout).toMatch(/retention\.ms +7d → 1d/);
    expect(shown.stdout).toMatch(/partitions +2 → 4 +! keyed topic: key → partition mapping changes for new records/);
    expect((await apply(file, '--yes')).code).toBe(0);
    expect((await plan(file)).code).toBe(0);
    expect((await admin.topicConfigs([topic])).get(topic)?.get('segment.ms')).toMatchObject({
      value: '50000',
      source: 'topic',
    });
  });

  test('a saved plan is applied once; then the cluster is no longer as it saw it', async () => {
    const file = pipeline(topic, { partitions: '4', retention: '2d' });
    const saved = join(directory.path, `${topic}.json`);
    const planned = await plan(file, '--out', saved, '--json');
    expect(JSON.parse(readFileSync(saved, 'utf8'))).toEqual(json(planned));
    expect((await apply(file, saved, '--yes')).code).toBe(0);
    expect((await admin.topicConfigs([topic])).get(topic)?.get('retention.ms')?.value).toBe('172800000');
    const again = await apply(file, saved, '--yes', '--json');
    expect(again.code).toBe(4);
    expect(json(again)).toMatchObject({ error: { code: 'KPIPE_PLAN_STALE' } });
  });

  test('a plan for another cluster, and a file that is none', async () => {
    const file = pipeline(topic, { partitions: '4', retention: '3d' });
    const saved = join(directory.path, 'other.json');
    await plan(file, '--out', saved);
    directory.write(
      readFileSync(saved, 'utf8').replace(/"clusterId": "[^"]*"/, '"clusterId": "elsewhere"'),
      'other.json',
    );
    const other = await apply(file, saved, '--yes');
    expect(other).toMatchObject({ code: 4 });
    expect(other.stderr).toContain('KPIPE_PLAN_STALE the plan was made for cluster elsewhere');
    const none = await apply(file, directory.write('{"changes": []}', 'none.json'), '--yes');
    expect(none).toMatchObject({ code: 2 });
    expect(none.stderr).toContain('KPIPE_INPUT_INVALID');
    expect((await admin.topicConfigs([topic])).get(topic)?.get('retention.ms')?.value).toBe('172800000');
  });

  test('when a part fails, the rest is told as done and not done, with exit 5', async () => {
    const file = pipeline(topic, { partitions: '5', retention: '30h' });
    const planned = planOf(await plan(file, '--json'));
    // A plan whose partitions were made impossible by hand: the cluster refuses that step after it has taken the first.
    const changes = planned.changes.map((change) => (change.kind === 'partitions' ? { ...change, to: 1 } : change));
    const saved = directory.write(JSON.stringify({ ...planned, changes }), `${topic}-broken.json`);
    const applied = await apply(file, saved, '--yes', '--json');
    expect(applied.code).toBe(5);
    const result = appliedOf(applied);
    expect(result.done.map(({ key }) => key)).toEqual(['retention.ms']);
    expect(result.failed.map(({ change, code }) => [change.key, code])).toEqual([['partitions', 'KPIPE_REFUSED']]);
    expect((await admin.topicConfigs([topic])).get(topic)?.get('retention.ms')?.value).toBe('108000000');
    expect((await admin.describeTopics([topic]))[0]?.partitions).toHaveLength(4);
  });

  test('a protected context wants its name, not --yes', async () => {
    const file = pipeline(topic, { partitions: '4', retention: '4d' });
    const refused = await apply(file, '--context', 'prod', '--yes');
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain('--confirm=prod');
    expect((await apply(file, '--context', 'prod', '--confirm', 'prod')).code).toBe(0);
    expect((await plan(file)).code).toBe(0);
  });

  test('another replication factor is shown, and the replicas are moved', async () => {
    const fewer = Math.max(1, replicas - 1);
    const file = pipeline(topic, { partitions: '4', retention: '5d', replicationFactor: fewer });
    const planned = planOf(await plan(file, '--json'));
    expect(planned.changes.filter((change) => change.kind === 'replication')).toHaveLength(replicas === 1 ? 0 : 2);
    const applied = await apply(file, '--yes', '--json');
    expect(applied.code, `stderr: ${applied.stderr}`).toBe(0);
    expect((await admin.describeTopics([topic]))[0]?.partitions.map((each) => each.replicas.length)).toEqual(
      Array.from({ length: 4 }, () => fewer),
    );
    expect((await admin.topicConfigs([topic])).get(topic)?.get('retention.ms')?.value).toBe('432000000');
    expect((await plan(file)).code).toBe(0);
  });

  test('each act was written down before it', () => {
    const lines = readFileSync(join(directory.path, 'state', 'kpipe', 'topics-audit.ndjson'), 'utf8')
      .trimEnd()
      .split('\n');
    const acts = lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
    expect(acts.find((act) => act['topic'] === topic)).toMatchObject({
      act: 'create',
      at: expect.stringMatching(/^\d{4}-.*Z$/) as unknown,
      by: expect.stringContaining('@') as unknown,
      to: { partitions: 2 },
    });
  });
});

describe('retention in steps', () => {
  const topic = uniqueTopic('cli');

  test('is set value by value, and then as declared', async () => {
    // given a record that is ten hours old
    expect((await apply(pipeline(topic, { retention: '7d' }), '--yes')).code).toBe(0);
    const publisher = await openPublisher(kafka, { clientId: topic });
    const timestampMs = Date.now() - 10 * 3_600_000;
    await publisher.publish(topic, [{ key: null, value: Buffer.from('old'), partition: 0, timestampMs }]);
    await publisher.close();
    const file = pipeline(topic, { retention: '2h' });
    const steps = ['--retention-steps', '4', '--retention-pause', '10ms'];
    const applied = await apply(file, '--yes', ...steps);
    expect(applied.code, `stderr: ${applied.stderr}`).toBe(0);
    const values = [...applied.stderr.matchAll(/retention\.ms (\w+) \(step (\d) of 4\)/g)].map(([, value, step]) => [
      step,
      value,
    ]);
    expect(values.map(([step]) => step)).toEqual(['1', '2', '3']);
    expect(values.map(([, value]) => value?.slice(0, 2))).toEqual(['8h', '6h', '4h']);
    expect((await admin.topicConfigs([topic])).get(topic)?.get('retention.ms')?.value).toBe('7200000');
  });
});

describe('deletion', () => {
  const topic = uniqueTopic('cli');
  const other = uniqueTopic('cli');

  beforeAll(async () => {
    made.push(other);
    expect((await apply(pipeline(topic), '--yes')).code).toBe(0);
    await admin.createTopic({ name: other, partitions: 1, replicationFactor: 1, config: {} });
    await topicsEverywhere(kafka, [other]);
  });

  test('an undeclared topic is listed and left alone', async () => {
    const planned = await plan(pipeline(topic), '--json');
    expect(planned.code).toBe(0);
    expect(planOf(planned).unmanaged).toContain(other);
    expect((await apply(pipeline(topic), '--yes')).code).toBe(0);
    expect(await admin.describeTopics([other])).toHaveLength(1);
  });

  test.each<[string, string, RegExp]>([
    ["Kafka's own", '__consumer_offsets', /Kafka's own topic/],
    ['what is declared', topic, /declared in kpipe\.yaml/],
    ['dead letters', `${topic}.dlq`, /declared in kpipe\.yaml/],
    ['the journal', 'kpipe.journal', /kpipe's own/],
  ])('never %s', async (_name, named, message) => {
    const refused = await apply(pipeline(topic), '--yes', '--prune', named);
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toMatch(message);
  });

  test('a saved plan wants each name again; then it is deleted', async () => {
    const file = pipeline(topic);
    const saved = join(directory.path, 'prune.json');
    const planned = await plan(file, '--prune', other, '--out', saved);
    expect(planned.code).toBe(3);
    expect(planned.stdout).toContain('plan: 0 create, 0 update, 1 delete, 1 warning');
    const refused = await apply(file, saved, '--yes');
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toContain(`--prune ${other}`);
    expect(await admin.describeTopics([other])).toHaveLength(1);
    const mistaken = await apply(file, saved, '--yes', '--prune', other, '--prune', topic);
    expect(mistaken).toMatchObject({ code: 2, stdout: '' });
    const applied = await apply(file, saved, '--yes', '--prune', other, '--json');
    expect(applied.code, `stderr: ${applied.stderr}`).toBe(0);
    expect(appliedOf(applied).done.map(({ kind, topic: name }) => [kind, name])).toEqual([['delete', other]]);
    expect(await admin.describeTopics([other])).toEqual([]);
  });
});

describe('move, elect and import', () => {
  const topic = uniqueTopic('cli');

  test('a dry run shows what would be moved; without a terminal a move wants --yes', async () => {
    const file = pipeline(topic, { replicationFactor: 1 });
    expect((await apply(file, '--yes')).code).toBe(0);
    const more = pipeline(topic, { replicationFactor: replicas });
    const dry = await run('topics', 'move', topic, '-c', more, '--dry-run');
    expect(dry.code).toBe(replicas === 1 ? 0 : 3);
    expect(dry.stdout).toContain(`move: ${replicas === 1 ? 0 : 2} partitions`);
    const refused = await run('topics', 'move', topic, '-c', more);
    expect(refused.code).toBe(replicas === 1 ? 0 : 4);
    const unnamed = await run('topics', 'move', '-c', more, '--brokers', '1', '--yes');
    expect(unnamed).toMatchObject({ code: 2, stdout: '' });
    const moved = await run('topics', 'move', '-c', more, '--yes');
    expect(moved.code, `stderr: ${moved.stderr}`).toBe(0);
    expect((await plan(more)).code).toBe(0);
  });

  test('the preferred leaders of one topic', async () => {
    const elected = await run('topics', 'elect', topic, '-c', pipeline(topic), '--yes', '--json');
    expect(elected.code, `stderr: ${elected.stderr}`).toBe(0);
    expect(json(elected)).toMatchObject({ topics: 1, partitions: 2, failed: [], after: { displaced: 0 } });
  });

  test.each([
    ['--brokers', () => ['--brokers', servers.brokers.join(','), '--pipeline', 'imported']],
    ['the cluster of a kpipe.yaml', () => ['-c', pipeline(topic)]],
  ])('what is imported by %s is a file that plans clean', async (_name, source) => {
    const imported = await run('topics', 'import', ...source());
    expect(imported.code, `stderr: ${imported.stderr}`).toBe(0);
    const file = directory.write(imported.stdout, 'imported.yaml');
    const planned = await plan(file, '--topic', topic, '--json');
    expect(planned.code, `stderr: ${planned.stderr}`).toBe(0);
    expect(planOf(planned)).toMatchObject({ changes: [], inSync: [{ topic, keptKeys: [] }] });
  });
});

describe('what cannot be is refused in the plan', () => {
  const topic = uniqueTopic('cli');

  beforeAll(async () => {
    expect((await apply(pipeline(topic), '--yes')).code).toBe(0);
  });

  test.each<[string, Declared, number, RegExp]>([
    ['fewer partitions', { partitions: '1' }, 4, /KPIPE_REFUSED.*2 → 1 partitions/],
    ['more replicas than brokers', { replicationFactor: 9 }, 4, /KPIPE_REFUSED.*9 replicas need as many brokers/],
    [
      'an unknown key',
      { config: '{retention.mss: 5}' },
      2,
      /KPIPE_CONFIG_INVALID.*retention\.mss: did you mean retention\.ms\?/,
    ],
    ['a bad value', { config: '{segment.ms: soon}' }, 2, /KPIPE_CONFIG_INVALID.*segment\.ms/],
    ['more in-sync replicas than replicas', { config: '{min.insync.replicas: 9}' }, 2, /KPIPE_CONFIG_INVALID/],
  ])('%s', async (_name, declared, code, message) => {
    const ended = await plan(pipeline(topic, declared));
    expect(ended.code).toBe(code);
    expect(ended.stderr).toMatch(message);
    expect(ended.stderr).toContain('next:');
    expect(ended.stdout).toBe('');
  });

  test('a topic that nobody knows, with the nearest name', async () => {
    const described = await run('topics', 'describe', topic.slice(0, -1), '-c', pipeline(topic));
    expect(described).toMatchObject({ code: 1 });
    expect(described.stderr).toContain(
      `KPIPE_TOPIC_MISSING there is no topic ${topic.slice(0, -1)}: did you mean ${topic}?`,
    );
  });

  test('a cluster that is down, without a stack', async () => {
    const ended = await plan(pipeline(topic, { brokers: ['127.0.0.1:1'] }), '--json');
    expect(ended.code).toBe(1);
    expect(json(ended)).toMatchObject({
      error: {
        code: 'KPIPE_KAFKA_UNREACHABLE',
        where: { brokers: '127.0.0.1:1' },
        next: expect.any(String) as unknown,
      },
    });
    expect(ended.stderr).not.toContain('    at ');
  });
});

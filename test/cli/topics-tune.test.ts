import { readFileSync, statSync } from 'node:fs';

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import type { TopicsPlanResult } from '../../src/commands/topics/plan.ts';
import type { TopicsTuneResult } from '../../src/commands/topics/tune.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram, type Ended } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const directory = pipelineDirectory();
const topic = uniqueTopic('tune-cli');
const { kafka } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(kafka);

/** Three replicas of which one suffices for a write: that is certain to be advised otherwise. */
const text = `# of a test
pipeline: test
kafka: {brokers: [${servers.brokers.join(', ')}]}

topics:
  ${topic}:            # what the test writes
    partitions: {basis: consumers, consumers: 2}   # one each
    replicationFactor: 3
    retention: 7d      # a week
`;
const file = directory.write(text);

beforeAll(async () => {
  await admin.createTopic({
    name: topic,
    partitions: 2,
    replicationFactor: 3,
    config: { 'retention.ms': '604800000', 'min.insync.replicas': '1' },
  });
  await topicsEverywhere(kafka, [topic]);
});

afterAll(async () => {
  await admin.deleteTopic(topic);
  await admin.close();
});

const run = (...args: readonly string[]): Promise<Ended> => kpipe(args, directory.options);
const tune = (...args: readonly string[]): Promise<Ended> => run('topics', 'tune', '-c', file, '--for', '1s', ...args);

describe('kpipe topics tune', () => {
  test('a document for scripts; nothing is written without being asked', async () => {
    const { code, stdout } = await tune('--json');
    expect(code).toBe(0);
    const { topics, ...rest } = JSON.parse(stdout) as TopicsTuneResult;
    expect(rest).toMatchObject({ endedEarly: false, missing: [], written: null });
    expect(rest.watchedMs).toBeGreaterThan(0);
    expect(topics).toMatchObject([{ topic, measured: { partitions: 2, replicationFactor: 3, recordsPerSec: 0 } }]);
    expect(topics[0]?.advice.map(({ rule, verdict }) => `${rule} ${verdict}`)).toEqual([
      'partitions unknown',
      'producers unknown',
      'retention unknown',
      'durability change',
    ]);
    expect(readFileSync(file, 'utf8')).toBe(text);
  });

  test('for people: what to change, what it costs, how; and the numbers when asked', async () => {
    const { code, stdout } = await tune(topic, '--evidence');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^cluster \S+ {3}observed [\d:]+Z {3}watched \d+(\.\d)?m?s, \d+ looks\n/);
    expect(stdout).toContain(`${topic}  2 partitions × 3 replicas   0 records/s, 0 B/s`);
    expect(stdout).toMatch(/\? partitions +2: too idle to judge +nothing came in during \d/);
    expect(stdout).toContain('→ durability  min.insync.replicas 1: an acked record may be on one broker only');
    expect(stdout).toContain('costs  writes are refused while fewer than 2 replicas are in sync');
    expect(stdout).toContain(`yaml   topics.${topic}.config.min.insync.replicas: 2`);
    expect(stdout).toContain(`then   kpipe topics plan --topic ${topic}`);
    expect(stdout).toContain('seen   peak in: ?  nothing came in');
    expect(stdout).toMatch(/tune: 1 to change, 0 to know, 0 fine, 3 not judged +--write edits kpipe.yaml\n$/);
  });

  test.each([
    [['nothing-like-it'], 'KPIPE_USAGE kpipe.yaml declares no topic nothing-like-it'],
    [['--headroom', '0.5'], 'KPIPE_USAGE --headroom: 0.5 is not a factor from 1 to 100'],
    [['--per-partition', '12'], 'KPIPE_USAGE --per-partition: 12 is not a rate'],
  ])('%j is a mistake', async (args, said) => {
    const { code, stderr } = await tune(...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(said)]);
  });

  test('ended early it advises from what it has', async () => {
    const args = ['topics', 'tune', '-c', file, '--for', '10m', '--json'];
    const running = runProgram(process.execPath, [`${root}bin/run.js`, ...args], directory.options);
    running.child.stdin.end();
    await running.shows(/watching 1 topic {2}\S+ left {2}\d+ looks/);
    running.child.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ endedEarly: true, topics: [{ topic }] });
  });
});

test('--write edits kpipe.yaml, keeps its comments, and plan has it to do', async () => {
  const { code, stdout } = await tune('--write');
  expect(code).toBe(0);
  const line = '    config: {min.insync.replicas: 2}';
  expect(readFileSync(file, 'utf8')).toBe(`${text}${line}\n`);
  expect(stdout).toContain(`wrote ${file}\n`);
  expect(stdout).toContain(`     retention: 7d      # a week\n+${line}\n`);
  expect(statSync(file).isFile()).toBe(true);

  const planned = await run('topics', 'plan', '-c', file, '--json');
  expect(planned.code).toBe(3);
  expect((JSON.parse(planned.stdout) as TopicsPlanResult).changes).toMatchObject([
    { topic, kind: 'config', key: 'min.insync.replicas', from: '1', to: '2' },
  ]);

  // and once it is done there is nothing more to write
  expect((await run('topics', 'apply', '-c', file, '--yes')).code).toBe(0);
  const again = await tune('--write', '--json');
  expect((JSON.parse(again.stdout) as TopicsTuneResult).written).toBeNull();
});

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, inject, test } from 'vitest';

import type { ContextShowResult } from '../../src/commands/context/show.ts';
import type { InitResult } from '../../src/commands/init.ts';
import type { TopicsPlanResult } from '../../src/commands/topics/plan.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { withKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, type Ended } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const directory = pipelineDirectory();
const run = (...args: readonly string[]): Promise<Ended> => kpipe(args, directory.options);

describe('init', () => {
  test('writes a file that the schema accepts, once', async () => {
    const file = join(directory.path, 'kpipe.yaml');
    const written = await run('init', '--pipeline', 'shop', '--json');
    expect(written.code).toBe(0);
    expect(JSON.parse(written.stdout)).toEqual({
      file,
      pipeline: 'shop',
      brokers: ['127.0.0.1:9092'],
      topicsFromCluster: null,
    } satisfies InitResult);
    expect(loadConfig({ cwd: directory.path, env: {} })).toMatchObject({ pipeline: 'shop', file });

    const before = readFileSync(file, 'utf8');
    const refused = await run('init', '--pipeline', 'other');
    expect(refused.code).toBe(4);
    expect(refused.stderr).toContain('--force');
    expect(readFileSync(file, 'utf8')).toBe(before);

    expect((await run('init', '--pipeline', 'other', '--force')).code).toBe(0);
    expect(loadConfig({ cwd: directory.path, env: {} }).pipeline).toBe('other');
  });

  test('from a cluster: its topics as they are, and a plan finds nothing to change', async () => {
    const { kafka } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
    const topic = uniqueTopic('init');
    await withKafkaAdmin(kafka, async (admin) => {
      await admin.createTopic({
        name: topic,
        partitions: 3,
        replicationFactor: 1,
        config: { 'retention.ms': '86400000', 'cleanup.policy': 'compact,delete' },
      });
      try {
        const file = join(directory.path, 'live.yaml');
        await topicsEverywhere(kafka, [topic]);
        const written = await run('init', '--from-cluster', '--brokers', servers.brokers.join(','), '-c', file);
        expect(written).toMatchObject({ code: 0 });
        expect(loadConfig({ file, cwd: '/', env: {} }).topics[topic]).toEqual({
          partitions: { count: 3 },
          replicationFactor: 1,
          retention: 86_400_000,
          config: { 'cleanup.policy': 'compact,delete' },
        });
        const planned = await run('topics', 'plan', '-c', file, '--topic', topic, '--json');
        expect(planned.code).toBe(0);
        expect((JSON.parse(planned.stdout) as TopicsPlanResult).inSync).toEqual([{ topic, keptKeys: [] }]);
      } finally {
        await admin.deleteTopic(topic);
      }
    });
  });

  test.each<[readonly string[], number, string]>([
    [['--from-cluster'], 2, '--brokers'],
    [['--brokers', 'nonsense'], 2, 'nonsense is not host:port'],
    [['--from-cluster', '--brokers', '127.0.0.1:1'], 1, 'KPIPE_KAFKA_UNREACHABLE'],
    [['--config', 'no/such/directory.yaml'], 2, 'KPIPE_INPUT_INVALID'],
  ])('init %j exits %i and writes nothing', async (args, code, message) => {
    const file = join(directory.path, 'unwritten.yaml');
    const ended = await run('init', ...(args.includes('--config') ? [] : ['-c', file]), ...args);
    expect(ended.code).toBe(code);
    expect(ended.stderr).toContain(message);
    expect(existsSync(file)).toBe(false);
  });
});

describe('context', () => {
  const file = directory.write(
    `pipeline: shop
kafka: {brokers: [127.0.0.1:9092]}
contexts:
  dev: {kafka: {brokers: [127.0.0.1:9093]}}
  prod: {protected: true, kafka: {brokers: ['\${env:NOT_SET_HERE}']}}
`,
    'contexts.yaml',
  );
  const show = async (...more: readonly string[]): Promise<ContextShowResult> =>
    JSON.parse((await run('context', 'show', '-c', file, '--json', ...more)).stdout) as ContextShowResult;

  test('use is kept for the file, and a flag wins over it', async () => {
    expect(await show()).toMatchObject({ context: null, chosenBy: null, brokers: ['127.0.0.1:9092'], overlays: [] });
    expect((await run('context', 'use', 'dev', '-c', file)).code).toBe(0);
    expect(await show()).toEqual({
      file,
      pipeline: 'shop',
      context: 'dev',
      chosenBy: 'context use',
      protected: false,
      brokers: ['127.0.0.1:9093'],
      overlays: ['kafka.brokers'],
    });
    expect(await show('--context', 'dev')).toMatchObject({ chosenBy: 'flag' });
    // A context whose environment is not there can be chosen all the same.
    expect((await run('context', 'use', 'prod', '-c', file)).code).toBe(0);
    expect((await run('context', 'use', '--none', '-c', file)).code).toBe(0);
    expect(await show()).toMatchObject({ context: null });
  });

  test('an unknown name is refused with the nearest one', async () => {
    const ended = await run('context', 'use', 'prd', '-c', file);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain('KPIPE_CONTEXT_UNKNOWN');
    expect(ended.stderr).toContain('did you mean prod?');
  });
});

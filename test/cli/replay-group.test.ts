import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import type { GroupsDescribeResult } from '../../src/commands/groups/describe.ts';
import type { GroupsListResult } from '../../src/commands/groups/list.ts';
import type { ReplayApplyResult } from '../../src/commands/replay/apply.ts';
import { connectBigQuery } from '../../src/lib/bigquery/connection.ts';
import { ensureTable } from '../../src/lib/bigquery/table.ts';
import { countRows } from '../../src/lib/bigquery/warehouse.ts';
import { partitionKey, type TopicPartition } from '../../src/lib/ports.ts';
import { analyticsBatch, hookedSink } from '../support/analytics-batches.ts';
import { consoleConsumer, describedOffsets } from '../support/kafka-tools.ts';
import { replayPipeline } from '../support/replay-pipeline.ts';
import type { Ended, Running } from '../support/run-kpipe.ts';

const json = ({ stdout }: Ended): unknown => JSON.parse(stdout);

/** Role analytics: its group's commits are the truth, and no PostgreSQL is asked. */
describe.each(['classic', 'consumer'] as const)('a group of the %s protocol', async (protocol) => {
  const pipeline = await replayPipeline('analytics');
  const { admin, firstMs, group, run, topic } = pipeline;
  const consumers: Running[] = [];
  afterAll(async () => {
    consumers.forEach(({ child }) => child.kill('SIGKILL'));
    await Promise.all(consumers.map(({ ended }) => ended));
  });

  /** As Kafka's own tool sees them. */
  const offsets = async (): Promise<readonly (string | undefined)[]> => {
    const described = await describedOffsets(group);
    return [0, 1, 2].map((partition) => described.get(`${group} ${topic} ${partition}`));
  };
  const apply = (...args: readonly string[]): Promise<Ended> =>
    run('replay', 'apply', 'analytics', '--yes', '--json', ...args);

  beforeAll(async () => {
    const reader = consoleConsumer(topic, group, { protocol, records: 90 });
    consumers.push(reader);
    const { code, stderr } = await reader.ended;
    expect(code, `stderr: ${stderr}`).toBe(0);
    await vi.waitUntil(async () => (await admin.describeGroup(group)).state === 'Empty', { timeout: 90_000 });
  });

  test('is listed and described as what it is', async () => {
    const listed = json(await run('groups', 'list', '--json')) as GroupsListResult;
    expect(listed.groups).toContainEqual({ group, protocol, state: 'Empty', role: 'analytics' });
    const described = json(await run('groups', 'describe', group, '--json')) as GroupsDescribeResult;
    expect(described).toMatchObject({ group, protocol, state: 'Empty', role: 'analytics', members: [], lagRecords: 0 });
    expect(described.partitions.slice(0, 2)).toMatchObject([
      { topic, partition: 0, committedOffset: '60', highWatermark: '60', lagRecords: 0, memberId: null },
      { topic, partition: 1, committedOffset: '30', lagRecords: 0 },
    ]);
  });

  test.each<[string, readonly string[], readonly (string | null)[]]>([
    ['an offset, clamped', ['--to', '45', '--clamp'], ['45', '30']],
    ['earliest', ['--to', 'earliest'], ['0', '0']],
    ['forward', ['--to', '+7', '--partition', '0', '--partition', '1'], ['7', '7']],
    ['back', ['--to', '-5', '--partition', '0'], ['2', '7']],
    ['a time', ['--to', `@${new Date(firstMs + 15_000).toISOString()}`], ['15', '15']],
    ['a time past the end', ['--to', `@${new Date(firstMs + 86_400_000).toISOString()}`], ['60', '30']],
    ['so long ago', ['--to', '-2h'], ['0', '0']],
    ['latest', ['--to', 'latest'], ['60', '30']],
  ])('--to %s is what kafka-consumer-groups says afterwards', async (_name, args, expected) => {
    const applied = await apply(...args);
    expect(applied.code, `stderr: ${applied.stderr}`).toBe(0);
    expect((await offsets()).slice(0, 2)).toEqual(expected);
    const { partitions } = json(applied) as ReplayApplyResult;
    expect(partitions.map(({ position, committedOffset }) => [position, committedOffset])).toEqual(
      partitions.map(({ to }) => [to, to]),
    );
  });

  test('is refused while it has a member, which notices nothing', async () => {
    const member = consoleConsumer(topic, group, { protocol });
    consumers.push(member);
    const before = await vi.waitUntil(
      async () => {
        const described = await admin.describeGroup(group);
        return described.members.length === 1 && described.state === 'Stable' ? described : undefined;
      },
      { timeout: 120_000, interval: 200 },
    );
    const refused = await apply('--to', 'earliest');
    expect(refused.code).toBe(4);
    expect(json(refused)).toMatchObject({ error: { code: 'KPIPE_REFUSED' } });
    const kept = await run('groups', 'delete', group, '--yes');
    expect(kept.code).toBe(4);
    expect(await admin.describeGroup(group)).toEqual(before);
    expect(member.child.exitCode).toBeNull();
    expect((await offsets()).slice(0, 2)).toEqual(['60', '30']);
    member.child.kill('SIGTERM');
    await member.ended;
    await vi.waitUntil(async () => (await admin.describeGroup(group)).state === 'Empty', { timeout: 90_000 });
  });

  test('undo gives the offsets back', async () => {
    expect((await apply('--to', '3', '--partition', '0', '--partition', '1')).code).toBe(0);
    const undone = await run('replay', 'undo', '--yes', '--json');
    expect(undone.code, `stderr: ${undone.stderr}`).toBe(0);
    expect((await offsets()).slice(0, 2)).toEqual(['60', '30']);
  });

  test('delete asks, deletes, and then knows no such group', async () => {
    const asked = await run('groups', 'delete', group);
    expect(asked).toMatchObject({ code: 4, stdout: '' });
    expect((await admin.committedOffsets(group)).length).toBeGreaterThan(0);
    expect(json(await run('groups', 'delete', group, '--yes', '--json'))).toEqual({ group, deleted: true });
    for (const command of [['describe'], ['delete', '--yes']]) {
      const unknown = await run('groups', ...command, group);
      expect(unknown.code).toBe(2);
      expect(unknown.stderr).toContain(`there is no consumer group ${group}`);
    }
  });
});

describe.runIf(inject('servers').bigquery !== null)('a batch that is half-way into BigQuery', async () => {
  const { admin, config, group, run, topic } = await replayPipeline('analytics');
  const bigquery = config.bigquery ?? fail();

  test('is finished before the positions are set, and is there once', async () => {
    const connection = await connectBigQuery(bigquery);
    await ensureTable(connection);
    const member = {
      committed: async (at: TopicPartition) =>
        (await admin.committedOffsets(group)).find((commit) => partitionKey(commit) === partitionKey(at)) ?? null,
      assign: (name: string, partition = 0) => ({
        topic: name,
        partition,
        active: true,
        commit: (offset: bigint, metadata = '') =>
          admin.commitOffsets(group, [{ topic: name, partition, offset, metadata }]),
      }),
    };
    const { sink, claim } = hookedSink(connection, member, (step, when) => {
      if (step === 'batch-commit' && when === 'before') {
        throw new Error('killed here');
      }
    });
    await expect(sink.write(await claim(topic), analyticsBatch(topic, 0, 20))).rejects.toThrow('killed here');
    await connection.close();
    expect(await countRows(bigquery, { topic })).toMatchObject({ rows: 0 });

    const applied = await run('replay', 'apply', 'analytics', '--to', '10', '--partition', '0', '--yes', '--json');
    expect(applied.code, `stderr: ${applied.stderr}`).toBe(0);
    expect(json(applied)).toMatchObject({ partitions: [{ partition: 0, from: '20', to: '10', position: '10' }] });
    expect(await countRows(bigquery, { topic })).toMatchObject({ rows: 20, records: 20 });

    const undone = await run('replay', 'undo', '--yes', '--json');
    expect(json(undone)).toMatchObject({ partitions: [{ partition: 0, from: '10', to: '20', position: '20' }] });
    const planned = json(await run('replay', 'plan', 'analytics', '--to', '5', '--partition', '0', '--json'));
    expect(planned).toMatchObject({ rowsThere: 15, totals: { rereadRecords: 15 } });
  });
});

function fail(): never {
  throw new Error('kpipe.yaml has no bigquery section');
}

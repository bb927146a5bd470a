import { afterAll, describe, expect, test, vi } from 'vitest';

import type { ReplayCopyResult } from '../../src/commands/replay/copy.ts';
import { RangeReader, stableRanges } from '../../src/lib/kafka/range-reader.ts';
import type { SourceRecord } from '../../src/lib/ports.ts';
import { faultSeed, seeded } from '../support/seeded.ts';
import { replayPipeline } from '../support/replay-pipeline.ts';
import type { Ended } from '../support/run-kpipe.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const pipeline = await replayPipeline('analytics');
const { admin, config, run, start, topic } = pipeline;
const seed = faultSeed();
const random = seeded(seed);
const made: string[] = [];

afterAll(async () => {
  await Promise.all(made.map((name) => admin.deleteTopic(name).catch(() => undefined)));
});

async function makeTopic(name: string, partitions: number): Promise<string> {
  made.push(name);
  await admin.createTopic({ name, partitions, replicationFactor: 1, config: {} });
  await topicsEverywhere(config.kafka, [name]);
  return name;
}

const json = ({ stdout }: Ended): unknown => JSON.parse(stdout);

/** A topic's committed records by partition, without their offsets. */
async function contents(name: string): Promise<readonly (readonly unknown[])[]> {
  const [described] = await admin.describeTopics([name]);
  const partitions = described?.partitions ?? [];
  const starts = await admin.listOffsets(
    partitions.map(({ partition }) => ({ topic: name, partition })),
    'earliest',
  );
  const ranges = await stableRanges(
    admin,
    starts.map(({ partition, offset }) => ({ topic: name, partition, from: offset ?? 0n, to: null })),
  );
  const reader = new RangeReader(config.kafka, { topic: name, silenceMs: 20_000 });
  const found: unknown[][] = partitions.map(() => []);
  for await (const { partition, records } of reader.read(ranges, new AbortController().signal)) {
    found[partition]?.push(...records.map(told));
  }
  await reader.close();
  return found;
}

function told({ key, value, headers, timestampMs }: SourceRecord): unknown {
  const pairs = headers.map(([name, bytes]) => [name, bytes?.toString() ?? null]);
  return { key: key?.toString() ?? null, value: value?.toString() ?? null, headers: pairs, timestampMs };
}

describe(`replay copy (seed ${seed})`, () => {
  test('keeps keys, values, headers, timestamps and partitions', async () => {
    const copy = await makeTopic(`${topic}-copy`, 3);
    const copied = await run('replay', 'copy', topic, copy, '--yes', '--json');
    expect(copied.code, `stderr: ${copied.stderr}`).toBe(0);
    expect(json(copied)).toMatchObject({
      state: 'done',
      partitioning: 'kept',
      totals: { read: 90, copied: 90, lost: 0 },
    });
    const original = await contents(topic);
    expect(original.map((records) => records.length)).toEqual([...pipeline.records]);
    expect(await contents(copy)).toEqual(original);
  });

  test('chooses by range and --where; another number of partitions goes by key', async () => {
    const copy = await makeTopic(`${topic}-some`, 2);
    const args = ['--from', '10', '--to', '30', '--where', 'data.index % 2 == 0', '--yes', '--json'];
    const copied = await run('replay', 'copy', topic, copy, ...args);
    expect(copied.code, `stderr: ${copied.stderr}`).toBe(0);
    expect(json(copied)).toMatchObject({ partitioning: 'by key', totals: { read: 40, copied: 20 } });
    const found = (await contents(copy)).flat() as { readonly key: string; readonly value: string }[];
    expect(found).toHaveLength(20);
    expect(found.every(({ value }) => (JSON.parse(value) as { data: { index: number } }).data.index % 2 === 0)).toBe(
      true,
    );
  });

  test.each([1, 2, 3])('killed and resumed, round %i: every record once, in its order', async (round) => {
    const copy = await makeTopic(`${topic}-killed-${round}`, 3);
    const copying = start('replay', 'copy', topic, copy, '--rate', '10/s', '--yes');
    // The other 60 take 6 s: it is killed before, however late the test sees the first.
    const wanted = 1 + random.below(30);
    await vi.waitUntil(async () => (await contents(copy)).flat().length >= wanted, { timeout: 120_000, interval: 50 });
    copying.child.kill('SIGKILL');
    await copying.ended;
    expect((await contents(copy)).flat().length).toBeLessThan(90);

    const history = json(await run('replay', 'history', '--json')) as {
      readonly copies: readonly { readonly id: string; readonly destination: string; readonly state: string }[];
    };
    const left = history.copies.find(({ destination }) => destination === copy);
    expect(left?.state).toBe('half-done');
    const resumed = await run('replay', 'copy', '--resume', left?.id ?? '', '--yes', '--json');
    expect(resumed.code, `stderr: ${resumed.stderr}`).toBe(0);
    expect((json(resumed) as ReplayCopyResult).resumed).toBe(true);
    expect(await contents(copy)).toEqual(await contents(topic));
    expect((await run('replay', 'copy', '--resume', left?.id ?? '', '--yes')).code).toBe(2);
    expect((await admin.listGroups()).map(({ group }) => group)).not.toContain(`kpipe.copy.${left?.id ?? ''}`);
  });

  test('what does not exist, or is the topic itself, is usage', async () => {
    for (const topics of [
      [topic, topic],
      [`${topic}x`, `${topic}-copy`],
      [topic, 'nowhere-at-all'],
    ]) {
      const ended = await run('replay', 'copy', ...topics, '--yes');
      expect(ended).toMatchObject({ code: 2, stdout: '' });
    }
  });

  test('without a terminal it wants --yes, and copies nothing', async () => {
    const copy = await makeTopic(`${topic}-asked`, 3);
    expect((await run('replay', 'copy', topic, copy)).code).toBe(4);
    expect((await contents(copy)).flat()).toEqual([]);
  });
});

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';

import { afterAll, describe, expect, inject, test, vi } from 'vitest';

import type { ProduceResult } from '../../src/commands/produce.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openReadBack } from '../../src/lib/kafka/read-back.ts';
import type { SourceRecord } from '../../src/lib/ports.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram, type Ended, type Running } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const { kafka } = loadConfig({ file: servers.config, cwd: '/', env: process.env });
const admin = await openKafkaAdmin(kafka);
const directory = pipelineDirectory();
const made: string[] = [];

afterAll(async () => {
  await Promise.all(made.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await admin.close();
});

async function newTopic(keys: Readonly<Record<string, string>> = {}): Promise<string> {
  const name = uniqueTopic('produce');
  made.push(name);
  await admin.createTopic({ name, partitions: 2, replicationFactor: 1, config: keys });
  await topicsEverywhere(kafka, [name]);
  return name;
}

/** A kpipe.yaml whose roles read these topics. */
function pipeline(
  topics: Partial<Record<'events' | 'logs' | 'analytics', string>> = {},
  brokers: readonly string[] = servers.brokers,
): string {
  const roles = Object.entries(topics).map(
    ([role, topic]) => `  ${role}: {topic: ${topic}, group: ${topic}-${role}, deadLetters: ${topic}.dlq}\n`,
  );
  return directory.write(
    `pipeline: test
kafka: {brokers: [${brokers.join(', ')}]}
roles:
${roles.join('') || '  {}\n'}postgres: {primary: 'postgres://kpipe@127.0.0.1:1/kpipe'}
bigquery: {project: kpipe-local, dataset: test, endpoint: 'http://127.0.0.1:1', grpcEndpoint: '127.0.0.1:1'}
`,
    `${uniqueTopic('kpipe')}.yaml`,
  );
}

const file = (name: string, text: string | Buffer): string => {
  const path = join(directory.path, name);
  writeFileSync(path, text);
  return path;
};
const produce = (...args: readonly string[]): Promise<Ended> => kpipe(['produce', ...args], directory.options);
const start = (...args: readonly string[]): Running =>
  runProgram(process.execPath, [`${root}bin/run.js`, 'produce', ...args], directory.options);
const json = ({ stdout }: Ended): ProduceResult => JSON.parse(stdout) as ProduceResult;

/** Everything in a topic, in the order of its partitions. */
async function recordsOf(topic: string): Promise<readonly SourceRecord[]> {
  const partitions = [0, 1].map((partition) => ({ topic, partition }));
  const ends = await admin.listOffsets(partitions, 'latest');
  const found: SourceRecord[][] = [[], []];
  const readBack = await openReadBack(
    kafka,
    uniqueTopic('reader'),
    partitions.map((each) => ({ ...each, position: 0n })),
    ({ partition }, record) => found[partition]?.push(record),
  );
  await vi.waitFor(() => ends.forEach((end) => expect(readBack.position(end)).toBe(end.offset)), { timeout: 90_000 });
  await readBack.close();
  return found.flat();
}

const valuesOf = (records: readonly SourceRecord[]): readonly string[] =>
  records.map(({ value }) => value?.toString('latin1') ?? 'null').toSorted();

describe('from a file or a pipe', () => {
  test('each line is a record, byte for byte; empty lines are none', async () => {
    const topic = await newTopic();
    const lines = file(
      'bytes.txt',
      Buffer.concat([
        Buffer.from('{"a":1}\n\n  spaces stay \r\n'),
        Buffer.from([0xff, 0xfe, 0x00, 0x0a]),
        Buffer.from('last'),
      ]),
    );

    const ended = await produce(topic, '--file', lines, '-c', pipeline(), '--json');

    expect(ended.code).toBe(0);
    expect(json(ended)).toMatchObject({
      topics: [{ topic, acked: 4, failed: 0 }],
      acked: 4,
      failed: 0,
      interrupted: false,
      blockedBy: null,
      failures: [],
      seed: null,
    });
    const records = await recordsOf(topic);
    expect(valuesOf(records)).toEqual(['  spaces stay \r', 'last', '{"a":1}', '\xff\xfe\x00'].toSorted());
    expect(records.every(({ key }) => key === null)).toBe(true);
  });

  test('--key takes the key from a field; a record without it is told and not sent: exit 5', async () => {
    const topic = await newTopic();
    const lines = file(
      'keys.ndjson',
      '{"data":{"orderId":"o-1"}}\n{"data":{"orderId":9007199254740993}}\n{"data":{}}\nnot json\n',
    );

    const ended = await produce(topic, '--file', lines, '--key', 'data.orderId', '-c', pipeline(), '--json');

    expect(ended.code).toBe(5);
    expect(json(ended)).toMatchObject({
      topics: [{ topic, acked: 2, failed: 2 }],
      failures: [
        { topic, position: 3, code: 'KPIPE_INPUT_INVALID', message: 'the record has no data.orderId' },
        { topic, position: 4, code: 'KPIPE_INPUT_INVALID', message: 'the record is not JSON (malformed_json)' },
      ],
    });
    expect((await recordsOf(topic)).map(({ key }) => key?.toString() ?? '').toSorted()).toEqual([
      '9007199254740993',
      'o-1',
    ]);
  });

  test('standard input, --count, and a table for people', async () => {
    const topic = await newTopic();
    const running = start(topic, '--count', '3', '-c', pipeline());
    running.child.stdin.end('1\n2\n3\n4\n5\n');
    const ended = await running.ended;

    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(new RegExp(`^TOPIC +ACKED +NOT ACKED\n${topic} +3 +0\nall acked +3 records`));
    expect(valuesOf(await recordsOf(topic))).toEqual(['1', '2', '3']);
  });

  test('a record that is too large is told with its line; the others arrive: exit 5, and 1 when it is the only one', async () => {
    const topic = await newTopic({ 'max.message.bytes': '50000' });
    const large = 'x'.repeat(60_000);

    const partly = await produce(topic, '--file', file('large.txt', `a\n${large}\nb\n`), '-c', pipeline(), '--json');
    const wholly = await produce(topic, '--file', file('only.txt', large), '-c', pipeline(), '--json');

    expect([partly.code, wholly.code]).toEqual([5, 1]);
    expect(json(partly).failures).toEqual([
      { topic, position: 2, code: 'KPIPE_PRODUCE_FAILED', message: expect.stringContaining('60020 bytes') as string },
    ]);
    expect(valuesOf(await recordsOf(topic))).toEqual(['a', 'b']);
  });

  test('much more input than memory for it passes through', async () => {
    const topic = await newTopic();
    const running = start(topic, '-c', pipeline(), '--json');
    const line = Buffer.from(`${'y'.repeat(999)}\n`);
    const block = Buffer.concat(Array.from({ length: 1000 }, () => line));
    let peakKb = 0;
    for (let sent = 0; sent < 150; sent += 1) {
      if (!running.child.stdin.write(block)) {
        await new Promise((resolve) => running.child.stdin.once('drain', resolve));
      }
      peakKb = Math.max(
        peakKb,
        Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${running.pid}/status`, 'utf8'))?.[1]),
      );
    }
    running.child.stdin.end();
    const ended = await running.ended;

    expect(json(ended)).toMatchObject({ acked: 150_000, failed: 0 });
    expect(peakKb).toBeLessThan(400_000);
  });
});

describe('generated', () => {
  test('each kind writes its own topics; the result names all of them, and the seed', async () => {
    const [events, logs] = [await newTopic(), await newTopic()];

    const ended = await produce(
      '--generate',
      'api',
      '--count',
      '2000',
      '--seed',
      '7',
      '-c',
      pipeline({ events, logs }),
      '--json',
    );

    expect(ended.code).toBe(0);
    const { topics, acked, seed } = json(ended);
    expect(topics.map(({ topic }) => topic).toSorted()).toEqual([events, logs].toSorted());
    expect({ acked, seed }).toEqual({ acked: 2000, seed: 7 });
    expect(topics.every((topic) => topic.acked > 500)).toBe(true);
  });

  test('the same seed sends the same records; a topic leaves out the others', async () => {
    const events = [await newTopic(), await newTopic()] as const;
    const run = (topic: string): Promise<Ended> =>
      produce(
        topic,
        '--generate',
        'api',
        '--count',
        '300',
        '--seed',
        '7',
        '-c',
        pipeline({ events: topic, logs: 'elsewhere' }),
        '--json',
      );

    const [first, second] = [await run(events[0]), await run(events[1])];

    expect([first.code, second.code]).toEqual([0, 0]);
    expect(json(first).topics).toEqual([{ topic: events[0], acked: 300, failed: 0 }]);
    const keys = async (topic: string): Promise<readonly string[]> =>
      (await recordsOf(topic)).map(({ key }) => key?.toString() ?? '').toSorted();
    expect(await keys(events[1])).toEqual(await keys(events[0]));
  });

  test('--rate is kept, and Ctrl-C ends what has no end: exit 0, with what was acked', async () => {
    const events = await newTopic();
    const running = start('--generate', 'app', '--rate', '200/s', '-c', pipeline({ events }), '--json');
    await vi.waitFor(async () => expect((await endOf(events)) >= 300).toBe(true), { timeout: 90_000, interval: 100 });
    running.child.kill('SIGINT');
    const ended = await running.ended;

    expect(ended.code).toBe(0);
    const result = json(ended);
    expect(result).toMatchObject({ interrupted: true, failed: 0, acked: await endOf(events) });
    // How near it comes to the rate is the machine's matter; that it does not go past it is kpipe's.
    expect(result.recordsPerSec).toBeLessThan(260);
  });

  test('the journal holds each send and each ack, with where it lies', async () => {
    const events = await newTopic();
    const path = join(directory.path, 'journal.ndjson');

    await produce(
      '--generate',
      'app',
      '--count',
      '500',
      '--broken',
      '10%',
      '--journal',
      path,
      '-c',
      pipeline({ events }),
    );

    const entries = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as JournalEntry);
    const sends = entries.filter(({ event }) => event === 'send');
    const acks = entries.filter(({ event }) => event === 'ack');
    expect(sends.map(({ position }) => position)).toEqual(Array.from({ length: 500 }, (_, index) => index + 1));
    expect(acks).toHaveLength(500);
    expect(new Set(acks.map(({ partition, offset }) => `${partition}/${offset}`)).size).toBe(500);
    expect(sends.filter(({ expect: outcome }) => outcome !== 'stored').length).toBeGreaterThan(20);
    expect(
      acks.every(
        ({ position }) =>
          entries.findIndex((entry) => entry.position === position && entry.event === 'send') <
          entries.findIndex((entry) => entry.position === position && entry.event === 'ack'),
      ),
    ).toBe(true);
  });
});

interface JournalEntry {
  readonly event: 'send' | 'ack' | 'fail';
  readonly position: number;
  readonly partition?: number;
  readonly offset?: string;
  readonly expect?: string;
}

async function endOf(topic: string): Promise<number> {
  const ends = await admin.listOffsets(
    [0, 1].map((partition) => ({ topic, partition })),
    'latest',
  );
  return ends.reduce((sum, { offset }) => sum + Number(offset), 0);
}

describe('interrupted', () => {
  test('a pipe that says nothing does not hold up Ctrl-C: exit 130, and what was sent is told', async () => {
    const topic = await newTopic();
    const running = start(topic, '-c', pipeline(), '--json');
    running.child.stdin.write('one\n');
    await vi.waitFor(async () => expect(await endOf(topic)).toBe(1), { timeout: 90_000, interval: 100 });
    await turn();
    running.child.kill('SIGINT');
    const ended = await running.ended;

    expect(ended.code).toBe(130);
    expect(json(ended)).toMatchObject({ interrupted: true, acked: 1, failed: 0 });
  });
});

describe('refused', () => {
  test.each<[name: string, args: readonly string[], message: RegExp]>([
    ['no topic', ['--file', 'x'], /which topic/],
    ['a topic that the producer does not write', ['logs', '--generate', 'app'], /the producer app does not write logs/],
    ['--generate and --file', ['--generate', 'app', '--file', 'x'], /--generate does not go with --file/],
    ['--seed without --generate', ['events', '--file', 'x', '--seed', '1'], /--seed only goes with --generate/],
    ['a rate that is none', ['--generate', 'app', '--rate', 'fast'], /--rate fast is not a rate/],
    ['a share beyond 1', ['--generate', 'app', '--broken', '200%'], /--broken 200% is not a share/],
    ['a key that is no path', ['events', '--file', 'x', '--key', 'a..b'], /--key a\.\.b is not a field/],
    ['a file that is missing', ['events', '--file', 'no/such/file'], /records cannot be read.*no\/such\/file/],
    ['an unknown kind', ['--generate', 'shop'], /shop/],
  ])('%s: exit 2', async (_name, args, message) => {
    file('x', '{}');
    const ended = await produce(...args, '-c', pipeline());

    expect(ended.code).toBe(2);
    expect(ended.stdout).toBe('');
    expect(ended.stderr).toMatch(message);
  });

  test('a topic that is missing: exit 1, named with what makes it', async () => {
    const topic = uniqueTopic('produce-missing');

    const ended = await produce(topic, '--file', file('one.txt', 'x'), '-c', pipeline());

    expect(ended.code).toBe(1);
    expect(ended.stderr).toContain(`KPIPE_TOPIC_MISSING the topic ${topic} does not exist`);
    expect(ended.stderr).toContain('kpipe topics apply');
  });

  test('no broker: exit 1, with the brokers and no stack', async () => {
    const ended = await produce('events', '--file', file('two.txt', 'x'), '-c', pipeline({}, ['127.0.0.1:1']));

    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/KPIPE_KAFKA_UNREACHABLE .*\n.*127\.0\.0\.1:1/);
    expect(ended.stderr).not.toMatch(/^ {4}at /m);
  });
});

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import type { TailReport } from '../../src/lib/tail/document.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import type { OutgoingRecord } from '../../src/lib/ports.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram, type Ended, type Running } from '../support/run-kpipe.ts';
import { uniqueTopic } from '../support/servers.ts';
import { topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const directory = pipelineDirectory();
const file = directory.write(`pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\n`);
const { kafka } = loadConfig({ file, cwd: '/', env: {} });
const admin = await openKafkaAdmin(kafka);
const publisher = await openPublisher(kafka);
const made: string[] = [];

/** Ten minutes of records, one a second over three partitions. */
const topic = uniqueTopic('tail');
const count = 600;
const startMs = Math.floor(Date.now() / 1000) * 1000 - count * 1000;
const eventOf = (index: number): OutgoingRecord => ({
  key: Buffer.from(`o-${index % 7}`),
  value: Buffer.from(
    `{"id":"e${index}","type":"${index % 3 === 0 ? 'order.paid' : 'order.created'}","data":{"amountCents":${index * 100},"big":9007199254740993}}`,
  ),
  headers: [['tenant', Buffer.from(`t${index % 2}`)]],
  partition: index % 3,
  timestampMs: startMs + index * 1000,
});

beforeAll(async () => {
  await newTopic(topic, 3);
  await publisher.publish(
    topic,
    Array.from({ length: count }, (_, index) => eventOf(index)),
  );
});
afterAll(async () => {
  await publisher.close();
  await Promise.all(made.map((name) => admin.deleteTopic(name).catch(() => undefined)));
  await admin.close();
});

async function newTopic(name: string, partitions: number): Promise<string> {
  made.push(name);
  await admin.createTopic({ name, partitions, replicationFactor: 1, config: {} });
  await topicsEverywhere(kafka, [name]);
  return name;
}

const tail = (...args: readonly string[]): Promise<Ended> => kpipe(['tail', ...args, '-c', file], directory.options);
const start = (...args: readonly string[]): Running =>
  runProgram(process.execPath, [`${root}bin/run.js`, 'tail', ...args, '-c', file], directory.options);
const document = async (...args: readonly string[]): Promise<TailReport> =>
  JSON.parse((await tail(...args, '--json')).stdout) as TailReport;
const iso = (index: number): string => new Date(startMs + index * 1000).toISOString();
const idsOf = ({ records }: TailReport): readonly string[] =>
  records.map(({ value }) => (JSON.parse(value as string) as { readonly id: string }).id);
const ids = (from: number, to: number): readonly string[] =>
  Array.from({ length: to - from }, (_, index) => `e${from + index}`);

describe('from where to where', () => {
  test('a range of times brings exactly its records, by time over the partitions', async () => {
    const report = await document(topic, `@${iso(100)}:${iso(130)}`);
    expect(idsOf(report)).toEqual(ids(100, 130));
    expect(report).toMatchObject({ topic, read: 30, matched: 30, interrupted: false });
    expect(report.partitions.map(({ partition, lost }) => [partition, lost])).toEqual([
      [0, 0],
      [1, 0],
      [2, 0],
    ]);
  });

  test.each<[string, readonly string[]]>([
    [`@${iso(590)}:5s`, ids(590, 595)],
    ['@start:+2', ids(0, 6)],
    ['@-2:end', ids(594, 600)],
    ['@198:end', ids(594, 600)],
    ['@5:7', ids(15, 21)],
  ])('%s', async (range, expected) => {
    expect(idsOf(await document(topic, range))).toEqual(expected);
  });

  test('a time or an offset past the end, and one before the log, are said and do no harm', async () => {
    const late = await tail(topic, '@2999-01-01:end', '--json');
    expect([late.code, (JSON.parse(late.stdout) as TailReport).records]).toEqual([0, []]);
    expect(late.stderr).toContain('there is no record there yet');
    const ahead = await tail(topic, '@-2:end', '-p', '1', '--json');
    expect((JSON.parse(ahead.stdout) as TailReport).records.map(({ partition }) => partition)).toEqual([1, 1]);
    expect((await tail(topic, '@199:+500', '--json')).stderr).toContain('the range ends behind the last record');

    const short = await newTopic(uniqueTopic('tail'), 1);
    await publisher.publish(
      short,
      [1, 2, 3, 4].map((n) => ({ key: null, value: Buffer.from(`${n}`) })),
    );
    await admin.deleteRecords([{ topic: short, partition: 0, position: 2n }]);
    const early = await tail(short, '@0:end', '--format', '%v ');
    expect([early.stdout, early.stderr]).toEqual(['3 4 ', expect.stringContaining('gone from the log')]);
  });

  test('--where and --max: what matches is printed, what was read is counted', async () => {
    const report = await document(
      topic,
      '@start:end',
      '--where',
      'type == "order.paid" && data.amountCents > 10000 && headers.tenant == "t1"',
      '--max',
      '4',
    );
    expect(idsOf(report)).toEqual(['e105', 'e111', 'e117', 'e123']);
    expect(report.matched).toBe(4);
    expect(report.read).toBe(124);
    const exact = await document(topic, '@start:+1', '--where', 'data.big == 9007199254740992');
    expect([exact.read, exact.matched]).toEqual([3, 0]);
  });
});

describe('how it is printed', () => {
  test('ndjson: a line a record, as it is, with bytes that are no text as base64', async () => {
    const odd = await newTopic(uniqueTopic('tail'), 1);
    await publisher.publish(odd, [
      {
        key: Buffer.from([0xff]),
        value: Buffer.from('{"n":1.10}'),
        headers: [
          ['a', null],
          ['a', Buffer.from('x')],
        ],
        timestampMs: 1000,
      },
      { key: null, value: null, timestampMs: 2000 },
    ]);
    const ended = await tail(odd, '@start:end', '-o', 'ndjson');
    expect(
      ended.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([
      {
        topic: odd,
        partition: 0,
        offset: '0',
        timestamp: '1970-01-01T00:00:01.000Z',
        timestampMs: 1000,
        key: { base64: '/w==' },
        value: '{"n":1.10}',
        headers: [
          { name: 'a', value: null },
          { name: 'a', value: 'x' },
        ],
      },
      {
        topic: odd,
        partition: 0,
        offset: '1',
        timestamp: '1970-01-01T00:00:02.000Z',
        timestampMs: 2000,
        key: null,
        value: null,
        headers: [],
      },
    ]);
    expect(ended.stderr).toContain('2 of 2 records');
  });

  test('--format writes bytes as they are into a pipe', async () => {
    const odd = await newTopic(uniqueTopic('tail'), 1);
    const value = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    await publisher.publish(odd, [{ key: Buffer.from('k'), value }]);
    const running = start(odd, '@start:end', '--format', '%v|%k\\n');
    const chunks: Buffer[] = [];
    running.child.stdout.setEncoding('latin1').on('data', (text: string) => chunks.push(Buffer.from(text, 'latin1')));
    await running.ended;
    expect(Buffer.concat(chunks).equals(Buffer.concat([value, Buffer.from('|k\n')]))).toBe(true);
  });

  test('for people: hostile text is shown, never obeyed, and draws no record of its own', async () => {
    const odd = await newTopic(uniqueTopic('tail'), 1);
    const evil = '\u001b]0;owned\u0007\u001b[2J\r\u202e';
    await publisher.publish(odd, [
      {
        key: Buffer.from(evil),
        value: Buffer.from(`{"a":"${'x'.repeat(120)}","n":9007199254740993}`),
        headers: [[evil, Buffer.from(evil)]],
      },
      { key: null, value: Buffer.from(`${evil}\n${odd}/0@99  forged`) },
      { key: null, value: Buffer.from([0xff, 0x00, 0x41]) },
      { key: null, value: null },
    ]);
    const { stdout, code } = await tail(odd, '@start:end');
    expect(code).toBe(0);
    expect(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/.test(stdout)).toBe(false);
    const lines = stdout.split('\n');
    expect(lines.filter((line) => line.startsWith(odd))).toHaveLength(4);
    expect(lines).toContain(`  ${odd}/0@99  forged`);
    expect(lines).toContain('    "n": 9007199254740993');
    expect(stdout).toContain('ff 00 41');
    expect(stdout).toContain('null (a tombstone)');
  });

  test('a reader that goes away ends it: tail … | head', async () => {
    const running = start(topic, '@start', '-o', 'ndjson');
    await running.shows(/e0/);
    running.child.stdout.destroy();
    await publisher.publish(topic, [{ ...eventOf(0), timestampMs: Date.now() }]);
    const ended = await running.ended;
    expect([ended.code, ended.signal]).toEqual([0, null]);
  });
});

describe('following', () => {
  test('goes on with what comes, until Ctrl-C: exit 0, nothing committed, no group', async () => {
    const live = await newTopic(uniqueTopic('tail'), 2);
    const groups = (await admin.listGroups()).map(({ group }) => group);
    await publisher.publish(live, [{ key: null, value: Buffer.from('before'), partition: 0 }]);
    const running = start(live, '@start', '--format', '%v\\n', '--where', 'value != "skip"');
    await running.shows(/before/);
    await publisher.publish(live, [
      { key: null, value: Buffer.from('skip'), partition: 0 },
      { key: null, value: Buffer.from('live'), partition: 1 },
    ]);
    await running.shows(/live/);
    expect(
      (await admin.listGroups())
        .map(({ group }) => group)
        .filter((group) => group.includes('tail') && !groups.includes(group)),
    ).toEqual([]);
    running.child.kill('SIGINT');
    const ended = await running.ended;
    expect([ended.code, ended.stdout]).toEqual([0, 'before\nlive\n']);
    expect(ended.stderr).toContain('2 of 3 records');
  });

  test('without a range it begins at the end; --max ends it', async () => {
    const live = await newTopic(uniqueTopic('tail'), 1);
    await publisher.publish(live, [{ key: null, value: Buffer.from('old') }]);
    const running = start(live, '--max', '2', '--format', '%o %v\\n');
    let sent = 0;
    // It may still be starting: what it shows must only be new, in order, and two.
    const sending = setInterval(
      () => void publisher.publish(live, [{ key: null, value: Buffer.from(`new ${sent++}`) }]),
      200,
    );
    const ended = await running.ended;
    clearInterval(sending);
    expect(ended.code).toBe(0);
    expect(ended.stdout).toMatch(/^(\d+) new \d+\n(\d+) new \d+\n$/);
    expect(ended.stdout).not.toContain('old');
  });
});

test.each([
  [['nowhere-at-all', '@start:end'], 1, 'KPIPE_TOPIC_MISSING'],
  [[topic, '@yesterday'], 2, 'is no place'],
  [[topic, '@start', '--json'], 2, 'needs an end'],
  [[topic, '@start:end', '--partition', '7'], 2, 'has no partition 7'],
  [[topic, '@start:end', '--where', 'type = "x"'], 2, 'compare with =='],
  [[topic, '@start:end', '--format', '%q'], 2, 'means nothing'],
])('%j is refused', async (args, code, message) => {
  const ended = await tail(...args);
  expect([ended.code, ended.stderr]).toEqual([code, expect.stringContaining(message)]);
});

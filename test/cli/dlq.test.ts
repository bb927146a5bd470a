import { chmodSync } from 'node:fs';

import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import type { DlqListResult } from '../../src/commands/dlq/list.ts';
import type { DlqPurgeResult } from '../../src/commands/dlq/purge.ts';
import type { DlqRedriveResult } from '../../src/commands/dlq/redrive.ts';
import type { DlqShowResult } from '../../src/commands/dlq/show.ts';
import { loadConfig } from '../../src/lib/config/load.ts';
import { openKafkaAdmin } from '../../src/lib/kafka/admin.ts';
import { openPublisher } from '../../src/lib/kafka/publisher.ts';
import { RangeReader, stableRanges } from '../../src/lib/kafka/range-reader.ts';
import type { OutgoingRecord, RecordHeader, SourceRecord } from '../../src/lib/ports.ts';
import { deadLetterRecord } from '../../src/lib/records/dead-letter.ts';
import { deadLetterOffice } from '../../src/lib/runtime/bury.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { kpipe, root, runProgram, type Ended } from '../support/run-kpipe.ts';
import { createDatabase, uniqueTopic } from '../support/servers.ts';
import { ownValuesEverywhere, topicsEverywhere } from '../support/topics-everywhere.ts';

const servers = inject('servers');
const directory = pipelineDirectory();
const database = await createDatabase();
const { kafka } = loadConfig({ file: plainFile(), cwd: '/', env: {} });
const admin = await openKafkaAdmin(kafka);
const publisher = await openPublisher(kafka);
const client = new Client({ connectionString: database.url });
const made: string[] = [];
const groups: string[] = [];

beforeAll(() => client.connect());
afterAll(async () => {
  await publisher.close();
  await Promise.all(made.map((topic) => admin.deleteTopic(topic).catch(() => undefined)));
  await Promise.all(groups.map((group) => admin.deleteGroup(group).catch(() => undefined)));
  await admin.close();
  await client.end();
});

function plainFile(): string {
  return directory.write(`pipeline: test\nkafka: {brokers: [${servers.brokers.join(', ')}]}\n`, 'plain.yaml');
}

async function newTopic(
  name: string,
  partitions: number,
  config: Readonly<Record<string, string>> = {},
): Promise<string> {
  made.push(name);
  await admin.createTopic({ name, partitions, replicationFactor: 1, config });
  await topicsEverywhere(kafka, [name]);
  return name;
}

interface Pipeline {
  readonly topic: string;
  readonly dlq: string;
  readonly table: string;
  readonly file: string;
}

/** A role events with a topic of two partitions, its dead letters and a projected table. */
async function pipeline(more: { readonly dlqPartitions?: number; readonly extra?: string } = {}): Promise<Pipeline> {
  const topic = await newTopic(uniqueTopic('dlq'), 2);
  const dlq = await newTopic(`${topic}.dlq`, more.dlqPartitions ?? 1);
  const table = topic.replaceAll('-', '_');
  groups.push(`${topic}-group`);
  const file = directory.write(
    `pipeline: test
kafka: {brokers: [${servers.brokers.join(', ')}]}
postgres: {primary: '${database.url}'}
${more.extra ?? ''}
roles:
  events:
    topic: ${topic}
    group: ${topic}-group
    deadLetters: ${dlq}
    batch: {maxRows: 50, maxWait: 50ms}
    projections:
      - match: {type: 'order.*'}
        table: public.${table}
        key: {order_id: {from: data.orderId, type: text}}
        columns: {amount_cents: {from: data.amountCents, type: bigint}}
`,
    `${topic}.yaml`,
  );
  // It holds a password.
  chmodSync(file, 0o600);
  return { topic, dlq, table, file };
}

const run = ({ file }: Pipeline, ...args: readonly string[]): Promise<Ended> =>
  kpipe([...args, '-c', file], directory.options);
const json = ({ stdout }: Ended): unknown => JSON.parse(stdout);
const list = async (of: Pipeline, ...more: readonly string[]): Promise<DlqListResult> =>
  json(await run(of, 'dlq', 'list', 'events', '--json', ...more)) as DlqListResult;

async function redrive(
  of: Pipeline,
  ...more: readonly string[]
): Promise<Ended & { readonly report: DlqRedriveResult }> {
  const ended = await run(of, 'dlq', 'redrive', 'events', '--json', ...more);
  return { ...ended, report: json(ended) as DlqRedriveResult };
}

async function recordsOf(topic: string): Promise<readonly (SourceRecord & { readonly partition: number })[]> {
  const [description] = await admin.describeTopics([topic]);
  const all = description!.partitions.map(({ partition }) => ({ topic, partition, from: 0n, to: null }));
  const reader = new RangeReader(kafka, { topic });
  const found: (SourceRecord & { readonly partition: number })[] = [];
  for await (const { partition, records } of reader.read(
    await stableRanges(admin, all),
    new AbortController().signal,
  )) {
    for (const { offset, timestampMs, key, value, headers } of records) {
      found.push({ partition, offset, timestampMs, key, value, headers });
    }
  }
  await reader.close();
  return found;
}

const order = (id: string, orderId: string, amountCents: number): OutgoingRecord => ({
  key: Buffer.from(orderId),
  value: Buffer.from(
    `{"id":"${id}","type":"order.paid","source":"shop","data":{"orderId":"${orderId}","amountCents":${amountCents}}}`,
  ),
  headers: [
    ['b', Buffer.from([0xff, 0x00])],
    ['b', null],
    ['a', Buffer.from('1')],
  ],
  partition: 1,
});

const drain = (of: Pipeline): Promise<Ended> => run(of, 'consume', 'events', '--until-drained', '--json');

/** Dead letters as the role writes them, without running it. */
async function bury(
  { topic, dlq }: Pipeline,
  letters: readonly {
    readonly offset: number;
    readonly partition?: number;
    readonly record: OutgoingRecord;
    readonly reason?: string;
  }[],
): Promise<void> {
  const office = deadLetterOffice(publisher, dlq, 'events', () => Date.now());
  for (const { offset, partition = 0, record, reason = 'schema' } of letters) {
    const { key, value, headers = [], timestampMs = Date.now() } = record;
    const dead = { offset: BigInt(offset), timestampMs, key, value, headers };
    await office({ topic, partition }, [{ record: dead, reason, message: 'test', stage: 'decode', attempts: 1 }]);
  }
}

const valueOf = ({ value }: SourceRecord): string => value?.toString() ?? 'null';

describe('from poison to row', () => {
  test('a dead letter is listed, explained, redriven once when the table allows it, and stored', async () => {
    const of = await pipeline();
    expect((await run(of, 'migrate')).code).toBe(0);
    await client.query(`alter table public.${of.table} add constraint positive check (amount_cents > 0)`);
    const poison = order('e2', 'o-2', -5);
    await publisher.publish(of.topic, [order('e1', 'o-1', 5), poison, order('e3', 'o-3', 7)]);
    const first = await drain(of);
    expect(first.code).toBe(0);
    expect((json(first) as { totals: unknown }).totals).toMatchObject({ stored: 2, deadLetters: 1 });

    // list
    const listed = await list(of);
    expect(listed.role).toBe('events');
    expect(listed.counts).toEqual({ dead: 1, quarantined: 0, redriven: 0, byReason: { sink_rejected: 1 } });
    const [letter] = listed.deadLetters;
    expect(letter).toMatchObject({
      role: 'events',
      state: 'dead',
      reason: 'sink_rejected',
      sqlstate: '23514',
      source: { topic: of.topic, partition: 1, offset: '1' },
      redrives: 0,
      key: 'o-2',
      valuePreview: poison.value?.toString(),
      headers: [
        { name: 'b', value: { base64: '/wA=' } },
        { name: 'b', value: null },
        { name: 'a', value: '1' },
      ],
    });
    expect(Date.parse(letter?.at ?? '')).toBeGreaterThan(Date.now() - 600_000);

    // show
    const shown = json(await run(of, 'dlq', 'show', 'events', `${of.topic}/1@1`, '--json')) as DlqShowResult;
    expect(shown).toMatchObject({ value: poison.value?.toString(), valueFrom: 'dead letter' });
    expect(shown.means).toContain('check constraint');

    // not yet: nothing is written without a word
    const refused = await run(of, 'dlq', 'redrive', 'events');
    expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('--yes')]);
    const dry = await redrive(of, '--dry-run');
    expect([dry.code, dry.report.planned, dry.report.dryRun]).toEqual([0, 1, true]);
    expect(await recordsOf(of.topic)).toHaveLength(3);

    // the cause goes, the letter is redriven
    await client.query(`alter table public.${of.table} drop constraint positive`);
    const done = await redrive(of, '--yes');
    expect(done.code).toBe(0);
    expect(done.report).toMatchObject({
      planned: 1,
      left: 0,
      notRedriven: [],
      interrupted: false,
      redriven: [
        {
          source: { topic: of.topic, partition: 1, offset: '1' },
          to: { topic: of.topic, partition: 1, offset: '3' },
          redrives: 1,
        },
      ],
    });
    const written = (await recordsOf(of.topic)).find(({ offset }) => offset === 3n);
    expect(written).toMatchObject({ key: poison.key, value: poison.value });
    expect(written?.headers.slice(0, 3)).toEqual(poison.headers);
    const added = new Map(written?.headers.slice(3).map(([name, value]) => [name, value?.toString()]));
    expect(added.get('kpipe.redrives')).toBe('1');
    expect(added.get('kpipe.redriven-from')).toBe(`${of.topic}/1@1`);
    expect([...added.keys()].filter((name) => name.startsWith('__connect'))).toEqual([]);

    expect((json(await drain(of)) as { totals: unknown }).totals).toMatchObject({ stored: 1, deadLetters: 0 });
    const { rows } = await client.query(`select order_id, amount_cents::int from public.${of.table} order by 1`);
    expect(rows).toEqual([
      { order_id: 'o-1', amount_cents: 5 },
      { order_id: 'o-2', amount_cents: -5 },
      { order_id: 'o-3', amount_cents: 7 },
    ]);

    // and never by accident again
    const second = await redrive(of, '--yes');
    expect([second.code, second.report.planned, second.report.alreadyRedriven]).toEqual([0, 0, 1]);
    expect(await recordsOf(of.topic)).toHaveLength(4);
    expect((await list(of)).deadLetters).toEqual([]);
    expect((await list(of, '--all')).deadLetters).toMatchObject([{ state: 'redriven' }]);
  });

  test('what fails again and again is quarantined after three redrives', async () => {
    const of = await pipeline();
    expect((await run(of, 'migrate')).code).toBe(0);
    await publisher.publish(of.topic, [{ key: null, value: Buffer.from('{cut short'), partition: 0 }]);
    for (let redrives = 1; redrives <= 3; redrives += 1) {
      await drain(of);
      expect((await list(of)).deadLetters).toMatchObject([{ reason: 'malformed_json', redrives: redrives - 1 }]);
      const done = await redrive(of, '--yes');
      expect([done.code, done.report.redriven]).toMatchObject([0, [{ redrives }]]);
    }
    await drain(of);

    const quarantined = await list(of);
    expect(quarantined.deadLetters).toMatchObject([{ redrives: 3, state: 'quarantined' }]);
    expect(quarantined.counts).toMatchObject({ dead: 0, quarantined: 1, redriven: 3 });
    const refused = await redrive(of, '--yes');
    expect(refused.code).toBe(4);
    expect(refused.report).toMatchObject({ planned: 0, redriven: [], notRedriven: [{ why: 'quarantined' }] });
    expect(refused.stderr).toContain('--force');

    const forced = await redrive(of, '--yes', '--force');
    expect([forced.code, forced.report.redriven]).toMatchObject([0, [{ redrives: 4 }]]);
  });
});

describe('which, in which order, how fast', () => {
  test('a choice by --where, --reason, --max and time leaves the others for the next time', async () => {
    const of = await pipeline({ dlqPartitions: 2 });
    const record = (n: number): OutgoingRecord => ({
      key: Buffer.from(`k${n % 3}`),
      value: Buffer.from(`{"data":{"n":${n}}}`),
    });
    await bury(
      of,
      Array.from({ length: 12 }, (_, n) => ({
        offset: n,
        record: record(n),
        reason: n % 2 === 0 ? 'schema' : 'too_deep',
      })),
    );

    expect((await list(of, '--where', 'data.n >= 10 || offset == 0')).deadLetters).toHaveLength(3);
    expect((await list(of, '--reason', 'schema', '--reason', 'too_deep')).deadLetters).toHaveLength(12);
    expect((await list(of, '--until', '1h')).deadLetters).toHaveLength(0);
    const some = await list(of, '--max', '5');
    expect([some.deadLetters.length, some.counts.dead]).toEqual([5, 12]);

    const chosen = await redrive(of, '--yes', '--reason', 'schema', '--where', 'data.n < 8', '--max', '3');
    expect(chosen.report).toMatchObject({ planned: 3, left: 0, beyondMax: 1 });
    expect(chosen.report.redriven.map(({ source }) => source.offset)).toEqual(['0', '2', '4']);
    const rest = await redrive(of, '--yes');
    expect(rest.report).toMatchObject({ planned: 9, alreadyRedriven: 3, left: 0 });

    const records = await recordsOf(of.topic);
    expect(records.map(valueOf).toSorted()).toEqual(
      Array.from({ length: 12 }, (_, n) => valueOf(record(n) as SourceRecord)).toSorted(),
    );
    expect((await redrive(of, '--yes', '--again', '--where', 'offset == 7')).report).toMatchObject({
      planned: 1,
      left: 0,
    });
    expect(await recordsOf(of.topic)).toHaveLength(13);
  });

  test('the order of each key is that in which its records failed, whatever the order of the dead letters', async () => {
    const of = await pipeline({ dlqPartitions: 2 });
    const offsets = [5, 3, 9, 1, 7, 0, 8, 2];
    await bury(
      of,
      offsets.map((offset) => ({
        offset,
        partition: 1,
        record: { key: Buffer.from('k'), value: Buffer.from(String(offset)) },
      })),
    );
    await bury(of, [
      {
        offset: 3,
        partition: 1,
        record: { key: Buffer.from('k'), value: Buffer.from('other time'), timestampMs: 12_345 },
      },
    ]);

    expect((await redrive(of, '--yes', '--where', 'value != "other time"')).code).toBe(0);

    expect((await recordsOf(of.topic)).map(({ partition, value }) => [partition, value?.toString()])).toEqual(
      offsets.toSorted((left, right) => left - right).map((offset) => [1, String(offset)]),
    );
  });

  test('a letter that a crash wrote twice is redriven once, also when its second copy comes later', async () => {
    const of = await pipeline({ dlqPartitions: 2 });
    const letter = { offset: 4, record: { key: null, value: Buffer.from('x'), timestampMs: 1_700_000_000_000 } };
    await bury(of, [letter, letter]);

    expect((await list(of)).deadLetters).toMatchObject([{ copies: 2 }]);
    expect((await redrive(of, '--yes')).report.redriven).toHaveLength(1);
    await bury(of, [letter]);
    expect((await redrive(of, '--yes')).report).toMatchObject({ planned: 0, alreadyRedriven: 1 });
    expect(await recordsOf(of.topic)).toHaveLength(1);
  });

  test('--rate is kept; Ctrl-C in the middle says exactly what was done, exit 130, and the next redrive does the rest', async () => {
    const of = await pipeline();
    await bury(
      of,
      Array.from({ length: 60 }, (_, n) => ({ offset: n, record: { key: null, value: Buffer.from(`${n}`) } })),
    );
    const running = runProgram(
      process.execPath,
      [`${root}bin/run.js`, 'dlq', 'redrive', 'events', '--yes', '--rate', '10/s', '--json', '-c', of.file],
      directory.options,
    );
    await vi.waitFor(async () => expect((await recordsOf(of.topic)).length).toBeGreaterThan(4), {
      timeout: 90_000,
      interval: 100,
    });
    running.child.kill('SIGINT');
    const ended = await running.ended;

    expect(ended.code).toBe(130);
    const report = json(ended) as DlqRedriveResult;
    const records = await recordsOf(of.topic);
    expect(report).toMatchObject({ interrupted: true, planned: 60, left: 60 - records.length });
    expect(report.redriven.map(({ source }) => Number(source.offset))).toEqual(records.map((_, n) => n));
    expect(records.length / report.seconds).toBeLessThan(16);

    expect((await redrive(of, '--yes')).report).toMatchObject({ planned: 60 - records.length, left: 0 });
    expect(
      (await recordsOf(of.topic))
        .map(valueOf)
        .map(Number)
        .toSorted((left, right) => left - right),
    ).toEqual(Array.from({ length: 60 }, (_, n) => n));
  });

  test('killed at any instant, it leaves no letter undone or done twice', async () => {
    const of = await pipeline();
    const count = 40;
    await bury(
      of,
      Array.from({ length: count }, (_, n) => ({
        offset: n,
        record: { key: Buffer.from('k'), value: Buffer.from(`${n}`) },
      })),
    );
    for (const atLeast of [3, 11, 20, 27]) {
      const running = runProgram(
        process.execPath,
        [`${root}bin/run.js`, 'dlq', 'redrive', 'events', '--yes', '--rate', '20/s', '-c', of.file],
        directory.options,
      );
      await vi.waitFor(async () => expect((await recordsOf(of.topic)).length).toBeGreaterThanOrEqual(atLeast), {
        timeout: 120_000,
        interval: 50,
      });
      running.child.kill('SIGKILL');
      await running.ended;
    }
    expect((await redrive(of, '--yes')).code).toBe(0);
    expect((await recordsOf(of.topic)).map(valueOf)).toEqual(Array.from({ length: count }, (_, n) => `${n}`));
    expect((await list(of)).deadLetters).toEqual([]);
  });

  test('into another topic, by key', async () => {
    const of = await pipeline();
    const other = await newTopic(uniqueTopic('dlq-other'), 3);
    await bury(of, [{ offset: 0, record: { key: Buffer.from('k'), value: Buffer.from('v') } }]);

    const done = await redrive(of, '--yes', '--to', other);

    expect(done.report).toMatchObject({ to: other, redriven: [{ to: { topic: other, offset: '0' } }] });
    expect(await recordsOf(other)).toMatchObject([{ partition: done.report.redriven[0]?.to.partition }]);
    expect(await recordsOf(of.topic)).toEqual([]);
  });
});

describe('what does not fit, what is not there, what is hostile', () => {
  test('a value that was too large for the dead-letter topic is taken from where it failed, as long as it is there', async () => {
    const of = await pipeline();
    const large = Buffer.from(`"${'x'.repeat(950_000)}"`);
    const timestampMs = Date.now() - 60_000;
    await publisher.publish(
      of.topic,
      [0, 1].map(() => ({
        key: Buffer.from('k'),
        value: large,
        partition: 0,
        timestampMs,
        headers: [['h', Buffer.from('1')] as RecordHeader],
      })),
    );
    await bury(
      of,
      [0, 1].map((offset) => ({
        offset,
        record: {
          key: Buffer.from('k'),
          value: large,
          timestampMs,
          headers: [['h', Buffer.from('1')] as RecordHeader],
        },
      })),
    );
    expect((await list(of)).deadLetters).toMatchObject([
      { valueOmitted: true, valueBytes: large.length },
      { valueOmitted: true },
    ]);
    const shown = json(await run(of, 'dlq', 'show', 'events', `${of.topic}/0@1`, '--json')) as DlqShowResult;
    expect([shown.valueFrom, (shown.value as string).length]).toEqual(['origin', large.length]);

    await admin.deleteRecords([{ topic: of.topic, partition: 0, position: 1n }]);
    const done = await redrive(of, '--yes');

    expect(done.code).toBe(5);
    expect(done.report.redriven).toMatchObject([{ source: { offset: '1' } }]);
    expect(done.report.notRedriven).toMatchObject([{ source: { offset: '0' }, why: 'value gone' }]);
    const written = (await recordsOf(of.topic)).at(-1);
    expect(written?.value?.equals(large)).toBe(true);
    expect([written?.timestampMs, written?.headers[0]]).toEqual([timestampMs, ['h', Buffer.from('1')]]);
    expect((json(await run(of, 'dlq', 'show', 'events', `${of.topic}/0@0`, '--json')) as DlqShowResult).valueFrom).toBe(
      'gone',
    );
  });

  test('a dead-letter topic that is missing or empty is no failure', async () => {
    const of = await pipeline();
    expect([(await run(of, 'dlq', 'list', 'events')).code, (await list(of)).deadLetters]).toEqual([0, []]);
    expect((await redrive(of, '--yes')).report).toMatchObject({ planned: 0, redriven: [] });
    await admin.deleteTopic(of.dlq);
    await ownValuesEverywhere(kafka, of.dlq, null);
    expect((await list(of)).missingTopics).toEqual([of.dlq]);
    expect((await redrive(of, '--yes')).code).toBe(0);
    expect((await run(of, 'dlq', 'purge', 'events', '--all', '--yes')).code).toBe(0);
    expect((await run(of, 'dlq', 'show', 'events', `${of.topic}/0@0`)).code).toBe(2);
  });

  test('hostile bytes in key, value, headers and in our own headers break nothing, and reach no terminal', async () => {
    const of = await pipeline();
    const evil = '\u001b]0;owned\u0007\u001b[2J\r\n\u202e';
    const hostile: RecordHeader[] = [
      ['constructor', Buffer.from(evil)],
      ['__proto__', null],
      ['kpipe.redrives', Buffer.from('-1')],
      ['kpipe.redriven', Buffer.from('x')],
      ['kpipe.value-omitted', Buffer.from('99')],
      ['kpipe.last-offset', Buffer.from('99')],
      ['__connect.errors.offset', Buffer.from(evil)],
      [evil, Buffer.from([0xff])],
    ];
    await bury(of, [
      {
        offset: 0,
        record: { key: Buffer.from(evil), value: Buffer.from([0, 159, 146, 150]), headers: hostile },
        reason: evil,
      },
      { offset: 1, record: { key: null, value: null, headers: [['kpipe.redriven', Buffer.from('y')]] } },
    ]);
    await publisher.publish(of.dlq, [
      { key: null, value: Buffer.from('no letter'), headers: [['__connect.errors.partition', Buffer.from('abc')]] },
      deadLetterRecord(
        { offset: 5n, timestampMs: 0, key: null, value: null, headers: [] },
        { topic: '', partition: 0 },
        'events',
        {
          reason: 'schema',
          message: '',
          stage: 'decode',
          attempts: 1,
          failedAtMs: 0,
        },
      ),
    ]);

    const listed = await list(of);
    expect([listed.deadLetters.length, listed.foreign]).toEqual([2, 2]);
    for (const args of [
      ['list', 'events'],
      ['show', 'events', `${of.topic}/0@0`],
    ]) {
      const { stdout, stderr, code } = await run(of, 'dlq', ...args);
      expect(code).toBe(0);
      expect(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/.test(stdout + stderr)).toBe(false);
    }
    const done = await redrive(of, '--yes');
    expect(done.report).toMatchObject({ planned: 2, left: 0 });
    const [written] = (await recordsOf(of.topic)).filter(({ value }) => value !== null);
    expect(written?.headers.slice(0, 2)).toEqual(hostile.slice(0, 2));
    expect(written?.headers.some(([name]) => name === evil)).toBe(true);
  });

  test.each([
    [['dlq', 'list', 'nope'], 2, 'no role nope'],
    [['dlq', 'list', 'events', '--where', 'reson == "x"'], 2, 'did you mean reason'],
    [['dlq', 'show', 'events', 'what'], 2, 'no place'],
    [['dlq', 'purge', 'events', '--yes'], 2, 'say what'],
    [['dlq', 'purge', 'events', '--all', '--redriven', '--yes'], 2, 'say what'],
    [['dlq', 'redrive', 'events', '--rate', 'fast', '--yes'], 2, 'not a rate'],
    [['dlq', 'list', 'events', '--since', '-3'], 2, 'is no time'],
  ])('%j is refused', async (args, code, message) => {
    const of = { file: await sharedFile() } as Pipeline;
    const ended = await run(of, ...args);
    expect([ended.code, ended.stderr]).toEqual([code, expect.stringContaining(message)]);
  });

  let file: string | undefined;
  const sharedFile = async (): Promise<string> => (file ??= (await pipeline()).file);
});

test('roles that share a dead-letter topic keep theirs apart; without a role all are listed', async () => {
  const topics = await Promise.all(
    ['events', 'logs', 'analytics'].map((name) => newTopic(uniqueTopic(`dlq-${name}`), 1)),
  );
  const [events, logs, analytics] = topics as [string, string, string];
  const shared = await newTopic(uniqueTopic('dlq-shared'), 1);
  const role = (name: string, topic: string): string =>
    `  ${name}: {topic: ${topic}, group: ${topic}-g, deadLetters: ${shared}}\n`;
  const file = directory.write(
    `pipeline: test
kafka: {brokers: [${servers.brokers.join(', ')}]}
postgres: {primary: 'postgres://kpipe@127.0.0.1:1/kpipe'}
bigquery: {project: kpipe-local, dataset: test, endpoint: 'http://127.0.0.1:1', grpcEndpoint: '127.0.0.1:1'}
roles:
${role('events', events)}${role('logs', logs)}${role('analytics', analytics)}`,
    `${shared}.yaml`,
  );
  const of = { file } as Pipeline;
  for (const [name, topic] of Object.entries({ events, logs, analytics })) {
    const office = deadLetterOffice(publisher, shared, name, () => Date.now());
    const dead = { offset: 3n, timestampMs: 1000, key: null, value: Buffer.from(name), headers: [] };
    await office({ topic, partition: 0 }, [
      { record: dead, reason: 'bq_schema', message: '', stage: 'sink', attempts: 1 },
    ]);
  }

  const all = json(await run(of, 'dlq', 'list', '--json')) as DlqListResult;
  expect([all.role, all.counts.dead]).toEqual([null, 3]);
  expect(all.deadLetters.map((letter) => letter.role ?? '').toSorted((left, right) => (left < right ? -1 : 1))).toEqual(
    ['analytics', 'events', 'logs'],
  );
  const done = json(await run(of, 'dlq', 'redrive', 'analytics', '--yes', '--json')) as DlqRedriveResult;
  expect(done.redriven).toMatchObject([{ source: { topic: analytics }, to: { topic: analytics, offset: '0' } }]);
  expect((await recordsOf(analytics)).map(valueOf)).toEqual(['analytics']);
  expect([await recordsOf(events), await recordsOf(logs)]).toEqual([[], []]);
  expect((json(await run(of, 'dlq', 'list', '--json')) as DlqListResult).counts).toMatchObject({
    dead: 2,
    redriven: 1,
  });
});

describe('purge', () => {
  test(
    'deletes from the beginning only what matches or was redriven, after showing it',
    { timeout: 300_000 },
    async () => {
      const of = await pipeline();
      const record = { key: null, value: Buffer.from('v') };
      await bury(of, [
        { offset: 0, record },
        { offset: 1, record, reason: 'too_deep' },
        { offset: 2, record },
        { offset: 3, record, reason: 'too_deep' },
        { offset: 4, record },
      ]);
      await redrive(of, '--yes', '--where', 'offset == 0');

      const refused = await run(of, 'dlq', 'purge', 'events', '--reason', 'too_deep');
      expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining('--yes')]);
      const dry = json(
        await run(of, 'dlq', 'purge', 'events', '--reason', 'too_deep', '--dry-run', '--json'),
      ) as DlqPurgeResult;
      expect(dry).toMatchObject({
        dryRun: true,
        purged: false,
        loss: { dead: 1, redriven: 1, byReason: { too_deep: 1 }, behind: 1 },
        cuts: [{ topic: of.dlq, partition: 0, from: '0', to: '2' }],
      });
      expect((await list(of)).counts.dead).toBe(4);

      const done = await run(of, 'dlq', 'purge', 'events', '--reason', 'too_deep', '--yes', '--json');
      expect([done.code, (json(done) as DlqPurgeResult).purged]).toEqual([0, true]);
      expect(
        (await list(of)).deadLetters.map(({ source }) => Number(source.offset)).toSorted((left, right) => left - right),
      ).toEqual([2, 3, 4]);
      expect((await admin.listOffsets([{ topic: of.dlq, partition: 0 }], 'earliest'))[0]?.offset).toBe(2n);

      const all = await run(of, 'dlq', 'purge', 'events', '--all', '--yes');
      expect([all.code, all.stderr]).toEqual([0, expect.stringContaining('3 dead letters will be lost for good')]);
      expect((await list(of, '--all')).deadLetters).toEqual([]);
    },
  );

  test('a protected context asks for its name', async () => {
    const of = await pipeline({ extra: 'contexts: {prod: {protected: true}}' });
    await bury(of, [{ offset: 0, record: { key: null, value: null } }]);
    const yes = await run(of, 'dlq', 'purge', 'events', '--all', '--yes', '--context', 'prod');
    expect([yes.code, yes.stderr]).toEqual([4, expect.stringContaining('--confirm=prod')]);
    expect((await list(of)).deadLetters).toHaveLength(1);
    expect((await run(of, 'dlq', 'purge', 'events', '--all', '--confirm', 'prod', '--context', 'prod')).code).toBe(0);
    expect((await list(of)).deadLetters).toEqual([]);
  });
});

test('kpipe leaves no consumer group behind', async () => {
  const names = (await admin.listGroups()).map(({ group }) => group);
  expect(names.filter((name) => name.includes('dlq') && !groups.includes(name))).toEqual([]);
});

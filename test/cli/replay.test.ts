import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';

import type { ReplayApplyResult } from '../../src/commands/replay/apply.ts';
import type { ReplayHistoryResult } from '../../src/commands/replay/history.ts';
import type { ReplayPlanResult } from '../../src/commands/replay/plan.ts';
import { GroupMembers } from '../support/group-members.ts';
import { describedOffsets } from '../support/kafka-tools.ts';
import { replayPipeline } from '../support/replay-pipeline.ts';
import type { Ended } from '../support/run-kpipe.ts';

const pipeline = await replayPipeline('events');
const { admin, database, group, run, start, topic, firstMs } = pipeline;

const json = ({ stdout }: Ended): unknown => JSON.parse(stdout);
const appliedOf = (ended: Ended): ReplayApplyResult => json(ended) as ReplayApplyResult;
const historyOf = (ended: Ended): ReplayHistoryResult => json(ended) as ReplayHistoryResult;
/** Targets by partition; null where the partition stays. */
const targetsOf = (ended: Ended): readonly (string | null)[] =>
  (json(ended) as ReplayPlanResult).partitions.map(({ change, targetOffset }) =>
    change === 'stay' ? null : String(targetOffset),
  );

interface Row {
  readonly partition: number;
  readonly next_offset: string;
  readonly epoch: string;
  readonly first_offset: string;
  readonly stored: string;
  readonly duplicates: string;
  readonly rereads: string;
  readonly accounted: string;
}

async function rows(table: 'consumer_offset' | 'consumer_offset_stretch' = 'consumer_offset'): Promise<readonly Row[]> {
  const epoch = table === 'consumer_offset' ? 'epoch' : 'null as epoch';
  const result = await database.query<Row>(
    `select partition, next_offset, ${epoch}, first_offset, stored, duplicates, rereads,
            stored + duplicates + dead_letters + skipped + gaps as accounted
       from kpipe.${table} where role = 'events' and topic = $1 order by partition, first_offset`,
    [topic],
  );
  return result.rows;
}

const positions = async (): Promise<readonly string[]> => (await rows()).map((row) => row.next_offset);
const storedEvents = async (): Promise<readonly unknown[]> => {
  const found = await database.query(
    'select source, id, type, data::text, partition, kafka_offset from kpipe.events where topic = $1 order by partition, kafka_offset',
    [topic],
  );
  return found.rows;
};
const projected = async (): Promise<readonly unknown[]> =>
  (await database.query('select id, position from public.paid order by id')).rows;
const committed = async (): Promise<readonly string[]> =>
  (await admin.committedOffsets(group))
    .toSorted((left, right) => left.partition - right.partition)
    .map(({ offset }) => offset.toString());

/** The running stretch and every ended one: next - first = what the counters account for. */
async function expectAccounts(): Promise<void> {
  for (const row of [...(await rows()), ...(await rows('consumer_offset_stretch'))]) {
    expect(Number(row.next_offset) - Number(row.first_offset), `stretch of partition ${row.partition}`).toBe(
      Number(row.accounted),
    );
    expect(Number(row.rereads)).toBeLessThanOrEqual(Number(row.duplicates));
  }
}

/** As `kpipe verify` sees it: offsets = rows + dead letters + duplicates + skipped, for each stretch. */
async function expectVerified(): Promise<void> {
  const verified = await run('verify', 'events');
  expect(verified.code, `${verified.stdout}${verified.stderr}`).toBe(0);
}

async function drain(): Promise<void> {
  const { code, stderr } = await run('consume', 'events', '--until-drained', '--json');
  expect(code, `stderr: ${stderr}`).toBe(0);
}

const members = await GroupMembers.open(pipeline.config.kafka, group);
afterAll(() => members.close());

beforeAll(drain);

describe('plan', () => {
  const before = async (): Promise<unknown> => ({
    rows: await rows(),
    group: await admin.describeGroup(group),
    committed: await committed(),
    journal: await admin.describeTopics([pipeline.journal]),
  });

  test('shows what would be read again, exits 0 and changes nothing at all', async () => {
    const untouched = await before();
    const planned = await run('replay', 'events', '--to', 'earliest', '--json');
    expect(planned.code, `stderr: ${planned.stderr}`).toBe(0);
    expect(json(planned)).toMatchObject({
      role: 'events',
      group,
      topic,
      truth: 'postgres',
      state: 'Empty',
      members: [],
      to: 'earliest',
      partitions: [
        { partition: 0, position: '60', committedOffset: '60', targetOffset: '0', change: 'back', rereadRecords: 60 },
        { partition: 1, position: '30', targetOffset: '0', change: 'back', rereadRecords: 30 },
        { partition: 2, position: '0', targetOffset: '0', change: 'stay', rereadRecords: 0, bytes: 0 },
      ],
      totals: { rereadRecords: 90, skippedRecords: 0, durationMs: null, bytes: expect.any(Number) as number },
      unknown: { durationMs: 'too little was measured: 90 records so far' },
      refusals: [],
    });
    const shown = await run('replay', 'plan', 'events', '--to', 'earliest');
    expect(shown.stdout).toContain('90 offsets again');
    expect(shown.stdout).toContain('nothing was changed');
    expect(await before()).toEqual(untouched);
  });

  test.each<[string, readonly string[], readonly (string | null)[]]>([
    ['latest', ['latest'], [null, null, null]],
    ['a time', [`@${new Date(firstMs + 20_000).toISOString()}`], ['20', '20', null]],
    ['a time between two records', [`@${new Date(firstMs + 20_500).toISOString()}`], ['21', '21', null]],
    [
      'a time in another zone',
      [`@${new Date(firstMs + 3_620_000).toISOString().replace('Z', '+01:00')}`],
      ['20', '20', null],
    ],
    [
      'a time without a zone, which is UTC',
      [`@${new Date(firstMs + 20_000).toISOString().replace('Z', '')}`],
      ['20', '20', null],
    ],
    [
      'a time past the end: the end, never -1',
      [`@${new Date(firstMs + 86_400_000).toISOString()}`],
      [null, null, null],
    ],
    ['a time before everything', ['-2h'], ['0', '0', null]],
    ['ten back, of one partition', ['-10', '--partition', '1'], ['20']],
    ['an offset, of two', ['5', '--partition', '0', '--partition', '1'], ['5', '5']],
  ])('--to %s', async (_name, args, targets) => {
    const planned = await run('replay', 'plan', 'events', '--json', '--to', ...args);
    expect(planned.code, `stderr: ${planned.stderr}`).toBe(0);
    expect(targetsOf(planned)).toEqual(targets);
  });

  test('--to file: and group: take offsets from elsewhere', async () => {
    const file = pipeline.write(`# of this test\n${topic},0,7\n${topic},1,30\n`, 'offsets.csv');
    expect(targetsOf(await run('replay', 'plan', 'events', '--to', `file:${file}`, '--json'))).toEqual(['7', null]);
    const other = `${group}-other`;
    await admin.commitOffsets(other, [{ topic, partition: 1, offset: 12n }]);
    expect(targetsOf(await run('replay', 'plan', 'events', '--to', `group:${other}`, '--json'))).toEqual(['12']);
    await admin.deleteGroup(other);
  });

  test('an offset outside of the log is told, with what --clamp would do; apply refuses it', async () => {
    const planned = await run('replay', 'plan', 'events', '--to', '45', '--json');
    expect(planned.code).toBe(0);
    expect(json(planned)).toMatchObject({
      partitions: [
        { targetOffset: '45' },
        { askedOffset: '45', targetOffset: '30', clamped: 'end' },
        { clamped: 'end' },
      ],
      refusals: [{ kind: 'outside-log' }],
    });
    const refused = await run('replay', 'apply', 'events', '--to', '45', '--yes');
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toContain('--clamp');
    expect(await positions()).toEqual(['60', '30', '0']);
  });

  test.each<[string, readonly string[], RegExp]>([
    ['a role', ['evnts', '--to', '-2h'], /did you mean events/],
    ['a topic', ['events', '--to', '-2h', '--topic', 'elsewhere'], /reads topic/],
    ['a partition', ['events', '--to', '-2h', '--partition', '9'], /has no partition 9/],
    ['a group', ['events', '--to', 'group:nobody-here'], /no consumer group nobody-here/],
    ['a place', ['events', '--to', 'yesterday'], /is no place|is no position/],
    ['a file', ['events', '--to', 'file:/does/not/exist'], /ENOENT/],
  ])('%s that does not exist is usage', async (_name, args, message) => {
    const ended = await run('replay', 'plan', ...args);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toMatch(message);
  });
});

describe('apply', () => {
  test('without a terminal wants --yes, in a protected context its name; nothing is changed', async () => {
    const refused = await run('replay', 'apply', 'events', '--to', '-2h');
    expect(refused).toMatchObject({ code: 4, stdout: '' });
    expect(refused.stderr).toContain('--yes');
    const guarded = await run('replay', 'apply', 'events', '--to', '-2h', '--yes', '--context', 'prod');
    expect(guarded.code).toBe(4);
    expect(guarded.stderr).toContain('--confirm=prod');
    expect(await positions()).toEqual(['60', '30', '0']);
    expect(await admin.describeTopics([pipeline.journal])).toEqual([]);
  });

  test('sets truth and mirror, as PostgreSQL and kafka-consumer-groups say', async () => {
    const before = await rows();
    const applied = await run(
      'replay',
      'apply',
      'events',
      '--to',
      '-20',
      '--partition',
      '0',
      '--partition',
      '1',
      '--yes',
      '--json',
    );
    expect(applied.code, `stderr: ${applied.stderr}`).toBe(0);
    expect(json(applied)).toMatchObject({
      state: 'done',
      partitions: [
        { partition: 0, from: '60', to: '40', position: '40', committedOffset: '40' },
        { partition: 1, from: '30', to: '10', position: '10', committedOffset: '10' },
      ],
    });
    const after = await rows();
    expect(after.map((row) => row.next_offset)).toEqual(['40', '10', '0']);
    expect(after.map((row) => Number(row.epoch))).toEqual(
      before.map((row, partition) => Number(row.epoch) + (partition < 2 ? 1 : 0)),
    );
    expect(Object.fromEntries(await describedOffsets(group))).toMatchObject({
      [`${group} ${topic} 0`]: '40',
      [`${group} ${topic} 1`]: '10',
    });
  });

  test('reading it again changes no row, and the accounts hold', async () => {
    const before = await storedEvents();
    await drain();
    expect(await storedEvents()).toEqual(before);
    expect(before).toHaveLength(90);
    expect((await rows()).map((row) => [row.first_offset, row.next_offset, row.stored, row.rereads])).toEqual([
      ['40', '60', '0', '20'],
      ['10', '30', '0', '20'],
      ['0', '0', '0', '0'],
    ]);
    await expectAccounts();
    await expectVerified();
  });

  test('a role that stands there already is left as it is', async () => {
    const applied = await run('replay', 'apply', 'events', '--to', 'latest', '--json');
    expect(applied.code).toBe(0);
    expect(json(applied)).toMatchObject({ id: null, state: 'nothing to do', partitions: [] });
  });

  test('tables that were truncated are repaired', async () => {
    const before = await storedEvents();
    const paid = await projected();
    expect(paid).toHaveLength(90);
    await database.query('truncate kpipe.events, public.paid');
    expect((await run('replay', 'apply', 'events', '--to', 'earliest', '--yes')).code).toBe(0);
    await drain();
    expect(await storedEvents()).toEqual(before);
    expect(await projected()).toEqual(paid);
    expect((await rows()).map((row) => [row.first_offset, row.stored, row.duplicates])).toEqual([
      ['0', '60', '0'],
      ['0', '30', '0'],
      ['0', '0', '0'],
    ]);
    await expectAccounts();
    await expectVerified();
  });
});

describe('undo and history', () => {
  test('the newest replay is taken back, and what is left of it is told', async () => {
    await run('replay', 'apply', 'events', '--to', '25', '--partition', '0', '--yes');
    expect(await positions()).toEqual(['25', '30', '0']);
    const undone = await run('replay', 'undo', '--yes', '--json');
    expect(undone.code, `stderr: ${undone.stderr}`).toBe(0);
    expect(json(undone)).toMatchObject({
      state: 'done',
      partitions: [{ partition: 0, from: '25', to: '60', position: '60', committedOffset: '60' }],
    });
    expect(await positions()).toEqual(['60', '30', '0']);
    expect(await committed()).toEqual(['60', '30', '0']);
    const { replays } = historyOf(await run('replay', 'history', '--json'));
    expect(replays.slice(0, 2).map(({ kind, state }) => [kind, state])).toEqual([
      ['undo', 'done'],
      ['replay', 'undone'],
    ]);
    await expectAccounts();
  });

  test('an older one only after the later ones of its partitions', async () => {
    const older = appliedOf(
      await run('replay', 'apply', 'events', '--to', '25', '--partition', '0', '--yes', '--json'),
    );
    const newer = appliedOf(
      await run('replay', 'apply', 'events', '--to', '10', '--partition', '0', '--yes', '--json'),
    );
    const refused = await run('replay', 'undo', older.id ?? '', '--yes');
    expect(refused).toMatchObject({ code: 4 });
    expect(refused.stderr).toContain(`kpipe replay undo ${newer.id ?? ''}`);
    expect((await run('replay', 'undo', newer.id ?? '', '--yes')).code).toBe(0);
    expect(await positions()).toEqual(['25', '30', '0']);
    expect((await run('replay', 'undo', older.id ?? '', '--yes')).code).toBe(0);
    expect(await positions()).toEqual(['60', '30', '0']);
    expect((await run('replay', 'undo', older.id ?? '', '--yes')).code).toBe(2);
  });

  test('what has passed its old position again stays; what was left out is read after all', async () => {
    await run('replay', 'apply', 'events', '--to', '55', '--partition', '0', '--yes');
    await drain();
    const undone = appliedOf(await run('replay', 'undo', '--yes', '--json'));
    expect(undone.state).toBe('nothing to do');
    expect(await positions()).toEqual(['60', '30', '0']);
  });
});

describe('while consumers run', () => {
  test('apply refuses; with --pause-role they step aside and come back', async () => {
    const before = await storedEvents();
    const consumer = start('consume', 'events', '--json', '--metrics-port', '0');
    const present = await vi.waitUntil(
      async () => {
        const ids = await members.ids();
        return ids.length > 0 && (await admin.describeGroup(group)).state === 'Stable' ? ids : undefined;
      },
      { timeout: 120_000, interval: 200 },
    );
    const refused = await run('replay', 'apply', 'events', '--to', 'earliest', '--yes', '--json');
    expect(refused.code).toBe(4);
    expect(json(refused)).toMatchObject({
      error: { code: 'KPIPE_REFUSED', message: expect.stringContaining('1 members') as string },
    });
    expect(await members.ids()).toEqual(present);
    expect(await positions()).toEqual(['60', '30', '0']);

    const applied = await run('replay', 'apply', 'events', '--to', 'earliest', '--pause-role', '--yes', '--json');
    expect(applied.code, `stderr: ${applied.stderr}`).toBe(0);
    await consumer.shows(/coming back/);
    await vi.waitUntil(async () => (await positions()).join() === '60,30,0', { timeout: 120_000, interval: 200 });
    const [, url] = await consumer.shows(/health and metrics: (http:[^/]*\/\/[^/]+)\//);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/kpipe_assigned_partitions\{[^}]*\} 3/);
    consumer.child.kill('SIGTERM');
    const ended = await consumer.ended;
    expect(ended.code, `stderr: ${ended.stderr}`).toBe(0);
    expect(json(ended)).toMatchObject({ totals: { records: 90, stored: 0, duplicates: 90 } });
    expect(await storedEvents()).toEqual(before);
    expect((await admin.listGroups()).map((each) => each.group)).not.toContain(`kpipe.pause.${group}`);
    await expectAccounts();
  });
});

import { createServer, type AddressInfo } from 'node:net';

import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { parseConfig, type PostgresConfig } from '../../src/lib/config/load.ts';
import type { ProjectionConfig } from '../../src/lib/config/schema.ts';
import type { Assignment, SourceRecord } from '../../src/lib/ports.ts';
import type { EncodedRow } from '../../src/lib/postgres/copy-binary.ts';
import { createEventEncoder, openEventSink, type ProjectedEvent } from '../../src/lib/postgres/event-sink.ts';
import type { KpipeError } from '../../src/lib/errors.ts';
import { kindOfFailure } from '../../src/lib/postgres/failures.ts';
import { createLogEncoder, openLogSink } from '../../src/lib/postgres/log-sink.ts';
import { migrate } from '../../src/lib/postgres/migrate.ts';
import { inTransaction, openPool } from '../../src/lib/postgres/pool.ts';
import { createEventDecoder } from '../../src/lib/records/event.ts';
import { createLogDecoder } from '../../src/lib/records/log.ts';
import { createProjector, type ProjectionChange } from '../../src/lib/records/projection.ts';
import type { Claim, Sink, SinkBatch, WriteOutcome } from '../../src/lib/runtime/sink.ts';
import { createDatabase, uniqueTopic } from '../support/servers.ts';

const database = await createDatabase();
const day = 86_400_000;
const nowMs = Date.UTC(2026, 10, 15, 12);
const limits = { maxValueBytes: 8_000_000, maxHeaders: 1000, maxDepth: 5000 };
let client: Client;

function postgresConfig(primary: string): PostgresConfig {
  const text = JSON.stringify({ pipeline: 't', kafka: { brokers: ['localhost:1'] }, postgres: { primary } });
  return parseConfig(text, '/dev/null/kpipe.yaml', process.env).postgres!;
}

const pool = (url = database.url) => openPool(postgresConfig(url), { applicationName: 'test-postgres-sink', max: 2 });

/** The names of a projection of one test's own. */
function projectionOf(table: string, more: Partial<ProjectionConfig> = {}): ProjectionConfig {
  return {
    match: { type: '*' },
    table: `public.${table}`,
    key: { order_id: { from: 'data.orderId', type: 'text' } },
    columns: { status: { from: 'data.status', type: 'text' }, amount: { from: 'data.amount', type: 'numeric' } },
    deleteOn: ['order.deleted'],
    ...more,
  };
}

async function migrated(projections: readonly ProjectionConfig[] = []) {
  const ours = await pool();
  try {
    return await migrate(ours, { projections, logRetentionMs: 30 * day, nowMs, planOnly: false });
  } finally {
    await ours.end();
  }
}

interface EventPlan {
  readonly id: string;
  readonly type?: string;
  readonly data?: unknown;
  readonly [attribute: string]: unknown;
}

const recordAt = (offset: number, value: unknown, more: Partial<SourceRecord> = {}): SourceRecord => ({
  offset: BigInt(offset),
  timestampMs: nowMs,
  key: null,
  value: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
  headers: [],
  ...more,
});

/** A sink of one test's own role and topic, with what the cache was told. */
async function eventSink(projections: readonly ProjectionConfig[] = []) {
  const topic = uniqueTopic('sink');
  const role = topic;
  const told: ProjectionChange[][] = [];
  let asked = 0;
  const ours = await pool();
  const sink = await openEventSink({
    role,
    topicId: 'id-1',
    acceptRecreated: false,
    pool: ours,
    statementTimeoutMs: 10_000,
    projections,
    startPosition: () => {
      asked += 1;
      return Promise.resolve(0n);
    },
    onProjected: (_partition, changes) => {
      told.push([...changes]);
      return Promise.resolve();
    },
  }).catch(async (error: unknown) => {
    await ours.end();
    throw error;
  });
  open.push(sink);
  const decode = createEventDecoder({ defaultSource: topic, limits });
  const project = createProjector(projections, limits);
  const encode = createEventEncoder();
  const rowOf = (record: SourceRecord, partition = 0): ProjectedEvent => {
    const event = decode(record);
    const changes = event.kind === 'row' ? project(event.row) : event;
    if (event.kind === 'dead' || changes.kind === 'dead') {
      throw new Error('the test’s own event is a dead letter');
    }
    return encode(event.row, { topic, partition }, changes.row);
  };
  const assignment = (partition = 0): Assignment => ({
    topic,
    partition,
    active: true,
    commit: () => Promise.resolve(),
  });
  const batch = (from: number, events: readonly (EventPlan | string)[], partition = 0): SinkBatch<ProjectedEvent> => ({
    topic,
    partition,
    position: BigInt(from),
    nextPosition: BigInt(from + events.length),
    deadLetters: 0,
    skipped: 0,
    gaps: 0,
    rows: events.map((event, index) =>
      rowOf(recordAt(from + index, typeof event === 'string' ? event : { type: 'order.changed', ...event }), partition),
    ),
  });
  const claim = (partition?: number): Promise<Claim> => sink.claim(assignment(partition));
  return { sink, topic, role, told, batch, rowOf, claim, asked: () => asked };
}

const asFailure = (error: unknown): unknown => error;
const open: Sink<never>[] = [];
const rowsOf = async (text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> =>
  (await client.query<Record<string, unknown>>(text, values)).rows;
const idsOf = async (topic: string): Promise<unknown[]> =>
  (await rowsOf('select id from kpipe.events where topic = $1 order by kafka_offset', [topic])).map(({ id }) => id);
const offsetOf = async (role: string): Promise<Record<string, unknown> | undefined> =>
  (
    await rowsOf(
      'select next_offset, epoch, stored, duplicates, dead_letters, gaps, first_offset from kpipe.consumer_offset where role = $1',
      [role],
    )
  )[0];
const stored = (count: number, duplicates = 0): WriteOutcome => ({ kind: 'written', stored: count, duplicates });

beforeAll(async () => {
  client = new Client({ connectionString: database.url });
  await client.connect();
  await migrated();
});

afterAll(async () => {
  await Promise.all(open.map((sink) => sink.close()));
  await client.end();
});

describe('migrate', () => {
  test('a second time changes nothing, two at once wait for each other, and a plan says what is missing', async () => {
    const projection = projectionOf('migrated_orders');
    const ours = await pool();
    const options = { projections: [projection], logRetentionMs: 30 * day, nowMs };
    const plan = await migrate(ours, { ...options, planOnly: true });
    await ours.end();
    expect(plan).toEqual([{ kind: 'projection', name: 'public.migrated_orders', applied: false }]);
    const [one, two] = await Promise.all([migrated([projection]), migrated([projection])]);
    expect([...one, ...two]).toEqual([{ kind: 'projection', name: 'public.migrated_orders', applied: true }]);
    expect(await migrated([projection])).toEqual([]);
  });

  test('a table that exists without its columns is refused with the statement that adds them', async () => {
    await client.query(
      'create table public.old_orders (order_id text primary key, "Status" text); insert into public.old_orders values (1)',
    );
    const projection = projectionOf('old_orders', { columns: { order: { from: 'data.order', type: 'bigint' } } });
    const refused = await migrated([projection]).then(
      () => null,
      (error: unknown) => error as { code: string; message: string; next: string },
    );
    expect(refused).toMatchObject({
      code: 'KPIPE_REFUSED',
      message: 'public.old_orders exists without order, kpipe_partition, kpipe_offset',
    });
    const statement = /\((alter table .*;)\)/.exec(refused!.next)![1]!;
    expect(statement).toBe(
      'alter table "public"."old_orders" add column "order" bigint, add column "kpipe_partition" integer not null default -1, add column "kpipe_offset" bigint not null default -1;',
    );
    await client.query(statement);
    expect(await migrated([projection])).toEqual([]);
  });

  const fitting = 'order_id text primary key, status text, amount numeric, kpipe_partition int, kpipe_offset bigint';
  test.each([
    [
      'a unique key on other columns than the projection’s',
      'order_id text, status text, amount numeric, kpipe_partition int, kpipe_offset bigint, unique (order_id, status)',
      'exists without a unique key on exactly order_id',
      /\((create unique index .*?;)\)/,
    ],
    [
      'a key that is unique for some rows only',
      `${fitting.replace(' primary key', '')}); create unique index on TABLE (order_id) where (amount > 0`,
      'exists without a unique key on exactly order_id',
      /\((create unique index .*?;)\)/,
    ],
    [
      'columns of other types',
      fitting.replace('amount numeric', 'amount integer').replace('status text', 'status date'),
      'has columns that do not hold what is declared: status is date, not text; amount is integer, not numeric',
      /\((alter table .*?;)\)/,
    ],
    [
      'a column that PostgreSQL computes itself',
      fitting.replace('amount numeric', 'amount numeric generated always as (1) stored'),
      'has columns that do not hold what is declared: amount is generated',
      /\((alter table .*?;)\)/,
    ],
    [
      'a column beside the declared ones that wants a value',
      `${fitting}, tenant text not null, made_at timestamptz not null default now()`,
      'has columns that want a value and are not declared: tenant',
      /\((alter table .*?;)\)/,
    ],
  ])('a table with %s is refused with the statement that mends it, by migrate and by the role', async (...given) => {
    const [, columns, problem, statement] = given;
    const table = uniqueTopic('unfit').replaceAll('-', '_');
    await client.query(`create table public.${table} (${columns.replaceAll('TABLE', `public.${table}`)})`);
    const projection = projectionOf(table);
    const failures = await Promise.all([
      migrated([projection]).catch(asFailure),
      eventSink([projection]).catch(asFailure),
    ]);
    for (const failure of failures) {
      expect(failure).toMatchObject({ code: 'KPIPE_REFUSED', message: expect.stringContaining(problem) as string });
    }
    await client.query(statement.exec((failures[0] as KpipeError).next!)![1]!);
    expect(await migrated([projection])).toEqual([]);
    const { sink, batch, claim } = await eventSink([projection]);
    const changed = batch(0, [{ id: '1', data: { orderId: 'o', status: 'paid', amount: 1.5 } }]);
    expect(await sink.write(await claim(), changed)).toEqual(stored(1));
    expect(await rowsOf(`select status, amount from public.${table}`)).toEqual([{ status: 'paid', amount: '1.5' }]);
  });

  test('a table whose columns hold more than is declared is taken as it is', async () => {
    const table = uniqueTopic('wider').replaceAll('-', '_');
    await client.query(`
      create domain public.${table}_status as text check (value <> 'never');
      create table public.${table} (order_id varchar(40) primary key, status public.${table}_status, amount numeric(10, 2),
        note text, kpipe_partition bigint, kpipe_offset bigint)`);
    const projection = projectionOf(table);
    expect(await migrated([projection])).toEqual([]);
    const { sink, batch, claim } = await eventSink([projection]);
    const held = await claim();
    expect(await sink.write(held, batch(0, [{ id: '1', data: { orderId: 'o', status: 'x', amount: 2 } }]))).toEqual(
      stored(1),
    );
    expect(await rowsOf(`select status, amount from public.${table}`)).toEqual([{ status: 'x', amount: '2.00' }]);
  });

  test('a table that holds less and says so, and one whose trigger gives the value that is wanted, are taken as they are', async () => {
    const table = uniqueTopic('narrower').replaceAll('-', '_');
    await client.query(`
      create table public.${table} (order_id text primary key, status text, amount integer, tenant text not null,
        kpipe_partition int, kpipe_offset bigint);
      create function public.${table}_tenant() returns trigger language plpgsql as
        $$ begin new.tenant := 'shop'; return new; end $$;
      create trigger tenant before insert on public.${table} for each row execute function public.${table}_tenant()`);
    const columns = {
      status: { from: 'data.status', type: 'text' },
      amount: { from: 'data.amount', type: 'bigint' },
    } as const;
    const projection = projectionOf(table, { columns });
    expect(await migrated([projection])).toEqual([]);
    const { sink, batch, claim } = await eventSink([projection]);
    const changed = batch(0, [{ id: '1', data: { orderId: 'o', status: 'x', amount: 2 } }]);
    expect(await sink.write(await claim(), changed)).toEqual(stored(1));
    expect(await rowsOf(`select status, amount, tenant from public.${table}`)).toEqual([
      { status: 'x', amount: 2, tenant: 'shop' },
    ]);
  });

  test('a user without the rights is told the grants, and with them the role starts', async () => {
    const projection = projectionOf(uniqueTopic('granted').replaceAll('-', '_'), { deleteOn: ['order.deleted'] });
    await migrated([projection]);
    const login = uniqueTopic('writer').replaceAll('-', '_');
    await client.query(`create role ${login} login password 'x'`);
    const url = new URL(database.url);
    url.username = login;
    url.password = 'x';
    const opened = async (): Promise<unknown> => {
      const ours = await pool(url.href);
      const sink = openEventSink({
        role: login,
        topicId: 'id-1',
        acceptRecreated: false,
        pool: ours,
        statementTimeoutMs: 10_000,
        projections: [projection],
        startPosition: () => Promise.resolve(0n),
      });
      return sink.then(
        (opening) => opening.close(),
        (error: unknown) => ours.end().then(() => asFailure(error)),
      );
    };
    const superuser = new Client({ connectionString: database.superuserUrl });
    await superuser.connect();
    const lacked: string[] = [];
    try {
      await superuser.query(`revoke temporary on database "${new URL(database.url).pathname.slice(1)}" from public`);
      // As many rounds as there are refusals, and no more.
      for (let failure = await opened(); failure !== undefined && lacked.length < 10; failure = await opened()) {
        const { code, message, next } = failure as KpipeError;
        expect(code).toBe('KPIPE_REFUSED');
        lacked.push(/(?:it lacks|may make no) (.*)/.exec(message)![1]!);
        await superuser.query(/: (grant .*)$/.exec(next!)![1]!);
      }
    } finally {
      await superuser.query(`grant temporary on database "${new URL(database.url).pathname.slice(1)}" to public`);
      await superuser.query(`drop owned by ${login}; drop role ${login}`);
      await superuser.end();
    }
    expect(lacked).toEqual([
      'select, insert, update, delete',
      'usage of schema kpipe, select, insert, update',
      'select, insert',
      expect.stringContaining('temporary table in'),
    ]);
  });

  test('several projections of one table make one table of all their columns', async () => {
    const both = [
      projectionOf('shared_rows'),
      projectionOf('shared_rows', { columns: { paid: { from: 'data.paid', type: 'boolean' } } }),
    ];
    await migrated(both);
    expect(
      await rowsOf(
        `select column_name as name from information_schema.columns where table_name = 'shared_rows' order by ordinal_position`,
      ),
    ).toEqual(['order_id', 'status', 'amount', 'paid', 'kpipe_partition', 'kpipe_offset'].map((name) => ({ name })));
  });

  test('a role whose tables or columns are missing names them, and migrate', async () => {
    await expect(eventSink([projectionOf('never_made')])).rejects.toMatchObject({
      code: 'KPIPE_SCHEMA_MISSING',
      message: expect.stringContaining('the table public.never_made') as string,
      next: 'run `kpipe migrate`',
    });
  });
});

describe('an event’s row', () => {
  test('holds every column as it came: extreme times, huge ids, nothing, a megabyte', async () => {
    const { sink, topic, rowOf, claim } = await eventSink();
    const huge = 'ä'.repeat(256);
    const megabyte = JSON.stringify({ text: 'x\\"\n\t\\.'.repeat(120_000) });
    const raw = '{"id":"raw","type":"t","data":"\\u0000"}';
    const records = [
      recordAt(
        0,
        { id: huge, source: huge, type: 'x'.repeat(2048), subject: '', time: '0000-01-01T00:00:00Z' },
        { key: Buffer.from([0, 255]), timestampMs: -1 },
      ),
      recordAt(
        1,
        `{"id":"\\\\N","type":"a\\tb\\nc","subject":"\\\\.","time":-210866803200000,"data":[9007199254740993, 1.10, 1e400],"x":{"y":1}}`,
      ),
      recordAt(2, `{"id":"max","type":"t","time":9224318015999000,"data":null}`, {
        timestampMs: 9_224_318_015_999_000,
      }),
      recordAt(3, `{"id":"9999","type":"t","time":"9999-12-31T23:59:59.999999Z","data":${megabyte}}`),
      recordAt(4, raw),
    ];
    const batch: SinkBatch<ProjectedEvent> = {
      topic,
      partition: 7,
      position: 0n,
      nextPosition: 5n,
      deadLetters: 0,
      skipped: 0,
      gaps: 0,
      rows: records.map((record) => rowOf(record, 7)),
    };
    expect(await sink.write(await claim(7), batch)).toEqual(stored(5));
    const rows = await rowsOf(
      `select time at time zone 'UTC' = '0001-01-01 BC'::timestamp as bc, extract(epoch from time)::numeric(30, 6)::text as time,
              extract(epoch from kafka_timestamp)::numeric(30, 6)::text as ktime, kafka_offset::int, partition, source, id, type, subject,
              data::text, extensions::text, encode(key, 'hex') as key, convert_from(raw, 'UTF8') as raw
         from kpipe.events where topic = $1 order by kafka_offset`,
      [topic],
    );
    expect(rows[0]).toEqual({
      bc: true,
      time: '-62167219200.000000',
      ktime: '-0.001000',
      kafka_offset: 0,
      partition: 7,
      source: huge,
      id: huge,
      type: 'x'.repeat(2048),
      subject: '',
      data: null,
      extensions: null,
      key: '00ff',
      raw: null,
    });
    expect(rows[1]).toMatchObject({
      time: '-210866803200.000000',
      id: '\\N',
      type: 'a\tb\nc',
      subject: '\\.',
      data: `[9007199254740993, 1.10, 1${'0'.repeat(400)}]`,
      extensions: '{"x": {"y": 1}}',
      key: null,
      source: topic,
    });
    expect(rows[2]).toMatchObject({ time: '9224318015999.000000', ktime: '9224318015999.000000', data: 'null' });
    expect(rows[3]).toMatchObject({ time: '253402300799.999999' });
    expect(JSON.parse(String(rows[3]!['data']))).toEqual(JSON.parse(megabyte));
    expect(rows[4]).toMatchObject({ data: '"\ufffd"', raw });
  });
});

describe('the position', () => {
  test('moves with the rows, and what was counted adds up', async () => {
    const { sink, role, topic, batch, claim } = await eventSink();
    const held = await claim();
    expect(held).toMatchObject({ position: 0n, epoch: 1n });
    expect(
      await sink.write(held, { ...batch(0, [{ id: 'a' }, { id: 'b' }]), nextPosition: 10n, deadLetters: 3, gaps: 5 }),
    ).toEqual(stored(2));
    expect(await sink.write(held, { ...batch(10, []), nextPosition: 12n, gaps: 2 })).toEqual(stored(0));
    expect(await offsetOf(role)).toEqual({
      next_offset: '12',
      epoch: '1',
      stored: '2',
      duplicates: '0',
      dead_letters: '3',
      gaps: '7',
      first_offset: '0',
    });
    expect(await idsOf(topic)).toEqual(['a', 'b']);
    expect(await claim()).toMatchObject({ position: 12n, epoch: 2n });
  });

  test('is asked of Kafka once: for a partition that the role has never had', async () => {
    const { sink, claim, batch, asked } = await eventSink();
    await sink.write(await claim(), batch(0, [{ id: '1' }]));
    expect(await claim()).toMatchObject({ position: 1n, epoch: 2n });
    await claim(1);
    expect(asked()).toBe(2);
  });

  test('a zombie changes nothing: not with an old epoch, not from an old position', async () => {
    const { sink, role, topic, batch, claim } = await eventSink();
    const zombie = await claim();
    const owner = await claim();
    expect(await sink.write(zombie, batch(0, [{ id: 'zombie' }]))).toEqual({ kind: 'fenced' });
    expect(await sink.write(owner, batch(0, [{ id: 'a' }]))).toEqual(stored(1));
    expect(await sink.write(zombie, batch(0, [{ id: 'zombie' }]))).toEqual({ kind: 'fenced' });
    expect(await sink.write(owner, batch(5, [{ id: 'hole' }]))).toEqual({ kind: 'fenced' });
    expect([await idsOf(topic), await offsetOf(role)]).toMatchObject([
      ['a'],
      { next_offset: '1', epoch: '2', stored: '1' },
    ]);
  });

  test('the same write again, after a lost reply, is counted once', async () => {
    const projection = projectionOf('lost_reply');
    await migrated([projection]);
    const { sink, role, topic, told, batch, claim } = await eventSink([projection]);
    const held = await claim();
    const one = batch(0, [{ id: 'a', data: { orderId: 'o', status: 'new' } }]);
    expect(await sink.write(held, one)).toEqual(stored(1));
    expect(await sink.write(held, one)).toEqual(stored(1));
    await sink.afterCommit?.(one);
    expect([await idsOf(topic), await offsetOf(role)]).toMatchObject([
      ['a'],
      { next_offset: '1', stored: '1', duplicates: '0' },
    ]);
    // The cache hears of the row although the reply of the write that made it was lost.
    expect(told.flat()).toMatchObject([{ kind: 'upsert', key: ['o'] }]);
  });

  test('of a topic that was made again does not apply, until the operator accepts it', async () => {
    const { sink, role, topic, batch, claim } = await eventSink();
    await sink.write(await claim(), batch(0, [{ id: 'a' }]));
    const reopened = async (acceptRecreated: boolean) => {
      const again = await openEventSink({
        role,
        topicId: 'id-2',
        acceptRecreated,
        pool: await pool(),
        statementTimeoutMs: 10_000,
        projections: [],
        startPosition: () => Promise.resolve(100n),
        onProjected: () => Promise.resolve(),
      });
      open.push(again);
      return again.claim({ topic, partition: 0, active: true, commit: () => Promise.resolve() });
    };
    await expect(reopened(false)).rejects.toMatchObject({ code: 'KPIPE_TOPIC_RECREATED' });
    expect(await offsetOf(role)).toMatchObject({ next_offset: '1', epoch: '1' });
    expect(await reopened(true)).toMatchObject({ position: 100n });
    expect(await offsetOf(role)).toMatchObject({ next_offset: '100', first_offset: '100', stored: '0' });
  });

  test('that the database no longer has, or that somebody else claimed, is told without a write', async () => {
    const { sink, role, batch, claim } = await eventSink();
    const held = [await claim(0), await claim(1)] as const;
    await sink.write(held[0], batch(0, [{ id: 'a' }, { id: 'b' }]));
    const standings = [
      { claim: held[0], position: 2n },
      { claim: held[1], position: 0n },
    ];
    expect(await sink.strayed?.(standings)).toEqual([]);
    // What a restore of an older backup does.
    await client.query('update kpipe.consumer_offset set next_offset = 1 where role = $1 and partition = 0', [role]);
    expect(await sink.strayed?.(standings)).toEqual([standings[0]]);
    await claim(1);
    expect(await sink.strayed?.(standings)).toEqual(standings);
    await client.query('delete from kpipe.consumer_offset where role = $1', [role]);
    expect(await sink.strayed?.(standings)).toEqual(standings);
  });
});

describe('repeats', () => {
  test('of a producer are counted and change nothing: in one batch, and in a later one', async () => {
    const { sink, role, topic, batch, claim } = await eventSink();
    const held = await claim();
    expect(await sink.write(held, batch(0, [{ id: 'a', n: 1 }, { id: 'b' }, { id: 'a', n: 2 }]))).toEqual(stored(2, 1));
    expect(await sink.write(held, batch(3, [{ id: 'b', n: 3 }, { id: 'c' }]))).toEqual(stored(1, 1));
    expect(
      await rowsOf(
        'select id, kafka_offset::int, extensions from kpipe.events where topic = $1 order by kafka_offset',
        [topic],
      ),
    ).toEqual([
      { id: 'a', kafka_offset: 0, extensions: { n: 1 } },
      { id: 'b', kafka_offset: 1, extensions: null },
      { id: 'c', kafka_offset: 4, extensions: null },
    ]);
    expect(await offsetOf(role)).toMatchObject({ next_offset: '5', stored: '3', duplicates: '2' });
  });

  test('turn no projection back; the record itself, read again, repairs it', async () => {
    const projection = projectionOf('repeated_orders');
    await migrated([projection]);
    const { sink, role, told, batch, claim } = await eventSink([projection]);
    const held = await claim();
    const of = (id: string, status: string) => ({ id, data: { orderId: 'o-1', status } });
    const first = [of('e1', 'new'), of('e2', 'paid')];
    await sink.write(held, batch(0, first));
    const repeat = batch(2, [of('e1', 'new')]);
    expect(await sink.write(held, repeat)).toEqual(stored(0, 1));
    await sink.afterCommit?.(repeat);
    expect(told.flat()).toEqual([]);
    const orders = () => rowsOf('select order_id, status, kpipe_offset::int from public.repeated_orders');
    expect(await orders()).toEqual([{ order_id: 'o-1', status: 'paid', kpipe_offset: 1 }]);

    await client.query('truncate public.repeated_orders');
    await client.query('update kpipe.consumer_offset set next_offset = 0 where role = $1', [role]);
    expect(await sink.write(await claim(), batch(0, [...first, of('e1', 'new')]))).toEqual(stored(0, 3));
    expect(await orders()).toEqual([{ order_id: 'o-1', status: 'paid', kpipe_offset: 1 }]);
  });

  test('a repeat beside a record that PostgreSQL refuses: the refused one alone is named', async () => {
    const { sink, topic, batch, claim } = await eventSink();
    const held = await claim();
    await sink.write(held, batch(0, [{ id: 'a' }]));
    const outcome = await sink.write(
      held,
      batch(1, [{ id: 'a' }, `{"id":"bad","type":"t","data":0.${'1'.repeat(16_384)}}`, { id: 'b' }]),
    );
    expect(outcome).toMatchObject({
      kind: 'rejected',
      rejections: [{ offset: 2n, reason: 'number_range', sqlstate: '22003' }],
    });
    expect(await idsOf(topic)).toEqual(['a']);
  });
});

describe('records that only PostgreSQL refuses', () => {
  /** Writes until it is written, as the runtime does; answers what was refused on the way. */
  async function writeWithout(sink: Sink<ProjectedEvent>, held: Claim, batch: SinkBatch<ProjectedEvent>) {
    const refused: string[] = [];
    let rest = batch;
    for (let attempts = 1; ; attempts += 1) {
      const outcome = await sink.write(held, rest);
      if (outcome.kind !== 'rejected') {
        return { refused, attempts, outcome };
      }
      expect(outcome.rejections.length).toBeGreaterThan(0);
      refused.push(...outcome.rejections.map(({ offset, reason, sqlstate }) => `${offset} ${reason} ${sqlstate}`));
      const dead = new Set(outcome.rejections.map(({ offset }) => offset));
      rest = { ...rest, rows: rest.rows.filter(({ offset }) => !dead.has(offset)) };
    }
  }

  test.each([
    ['more digits than numeric has', `1${'0'.repeat(131_073)}`, 'number_range', '22003'],
    ['a scale beyond numeric’s', '1.5e-16383', 'number_range', '22003'],
  ])(
    '%s: named by the line of COPY, at the first, a middle and the last place',
    async (_what, number, reason, state) => {
      const { sink, topic, batch, claim } = await eventSink();
      const bad = (id: string): string => `{"id":"${id}","type":"t","data":{"n":${number}}}`;
      const { refused, attempts, outcome } = await writeWithout(
        sink,
        await claim(),
        batch(0, [bad('x0'), { id: 'a' }, bad('x2'), { id: 'b' }, bad('x4')]),
      );
      expect(refused).toEqual([0, 2, 4].map((offset) => `${offset} ${reason} ${state}`));
      expect(attempts).toBe(2);
      expect(outcome).toEqual(stored(2));
      expect(await idsOf(topic)).toEqual(['a', 'b']);
    },
  );

  /** A database whose kpipe.events has the test's own constraint would disturb the others: by the topic it is ours alone. */
  async function constrained(name: string, clause: (topic: string) => string) {
    const ours = await eventSink();
    await client.query(clause(ours.topic));
    return { ...ours, name };
  }

  test('by a check constraint (23514): by line, and staged by halves', async () => {
    const { sink, topic, batch, claim } = await constrained(
      'check',
      (of) => `alter table kpipe.events add constraint test_check check (topic <> '${of}' or id not like 'bad%')`,
    );
    const held = await claim();
    const first = await writeWithout(sink, held, batch(0, [{ id: 'bad0' }, { id: 'a' }, { id: 'bad2' }]));
    expect([first.refused, first.attempts]).toEqual([['0 sink_rejected 23514', '2 sink_rejected 23514'], 2]);
    // The repeat of `a` brings the staging path, where INSERT names no line.
    const plan = Array.from({ length: 40 }, (_, index) => ({
      id: index === 0 ? 'a' : [1, 17, 39].includes(index) ? `bad${index + 3}` : `n${index}`,
    }));
    const second = await writeWithout(sink, held, batch(3, plan));
    expect(second.refused).toEqual([4, 20, 42].map((offset) => `${offset} sink_rejected 23514`));
    expect(second.attempts).toBe(2);
    expect(second.outcome).toEqual(stored(36, 1));
    expect(await idsOf(topic)).toHaveLength(37);
    await client.query('alter table kpipe.events drop constraint test_check');
  });

  test('by a trigger after the row (no line at all), each with its own SQLSTATE', async () => {
    const { sink, topic, batch, claim } = await constrained(
      'trigger',
      (of) => `
      create function public.test_refuse() returns trigger language plpgsql as $$
      begin
        if new.id like 'a%' then raise exception 'no' using errcode = '22023'; end if;
        if new.id like 'z%' then raise exception 'no' using errcode = '23503'; end if;
        return null;
      end $$;
      create constraint trigger test_refuse after insert on kpipe.events for each row when (new.topic = '${of}') execute function public.test_refuse()`,
    );
    const { refused, outcome } = await writeWithout(
      sink,
      await claim(),
      batch(
        0,
        ['z1', 'ok1', 'ok2', 'a4', 'ok3', 'z5'].map((id) => ({ id })),
      ),
    );
    expect(refused).toEqual(['0 sink_rejected 23503', '3 sink_rejected 22023', '5 sink_rejected 23503']);
    expect(outcome).toEqual(stored(3));
    expect(await idsOf(topic)).toEqual(['ok1', 'ok2', 'ok3']);
    await client.query('drop trigger test_refuse on kpipe.events; drop function public.test_refuse');
  });

  test('by a constraint of the operational table: that record is dead, its row in events with it', async () => {
    const projection = projectionOf('strict_orders');
    await migrated([projection]);
    await client.query('alter table public.strict_orders add check (amount >= 0), add unique (status)');
    const { sink, topic, batch, claim } = await eventSink([projection]);
    const of = (id: string, status: string | null, amount: number) => ({ id, data: { orderId: id, status, amount } });
    const { refused, outcome } = await writeWithout(
      sink,
      await claim(),
      batch(0, [of('a', 'x', 1), of('b', null, -1), of('c', 'y', 1), of('d', 'x', 1), of('e', null, 1)]),
    );
    expect(refused).toEqual(['1 sink_rejected 23514', '3 sink_rejected 23505']);
    expect(outcome).toEqual(stored(3));
    expect(await idsOf(topic)).toEqual(['a', 'c', 'e']);
    expect(await rowsOf('select order_id from public.strict_orders order by 1')).toEqual([
      { order_id: 'a' },
      { order_id: 'c' },
      { order_id: 'e' },
    ]);
  });
});

describe('what only COMMIT refuses', () => {
  /** A constraint trigger that is deferred, on a table, which raises where the condition holds. */
  async function deferred(table: string, events: string, when: string, condition: string): Promise<void> {
    const name = uniqueTopic('deferred').replaceAll('-', '_');
    await client.query(`
      create function public.${name}() returns trigger language plpgsql as $$
      begin
        if ${condition} then
          raise check_violation;
        end if;
        return null;
      end $$;
      create constraint trigger ${name} after ${events} on ${table} deferrable initially deferred
        for each row when (${when}) execute function public.${name}()`);
  }

  test('of a projected row is that record’s: it alone is refused, with its reason', async () => {
    const table = uniqueTopic('deferred_orders').replaceAll('-', '_');
    const projection = projectionOf(table);
    await migrated([projection]);
    await deferred(`public.${table}`, 'insert or update', 'true', 'new.amount < 0');
    const { sink, batch, claim } = await eventSink([projection]);
    const order = (id: number, amount: number): EventPlan => ({ id: `${id}`, data: { orderId: `o${id}`, amount } });
    const all = batch(0, [order(0, 1), order(1, -1), order(2, 2), order(3, 3), order(4, -4)]);
    const held = await claim();
    const refused = await sink.write(held, all);
    expect(refused).toEqual({
      kind: 'rejected',
      rejections: [1n, 4n].map((offset) => ({
        offset,
        reason: 'sink_rejected',
        sqlstate: '23514',
        message: 'PostgreSQL refused the record (SQLSTATE 23514)',
      })),
    });
    const rest = { ...all, rows: all.rows.filter(({ offset }) => offset !== 1n && offset !== 4n), deadLetters: 2 };
    expect(await sink.write(held, rest)).toEqual(stored(3));
    expect(await rowsOf(`select order_id from public.${table} order by 1`)).toEqual(
      ['o0', 'o2', 'o3'].map((name) => ({ order_id: name })),
    );
  });

  test('of many rows together takes what it admits, and refuses the rest', async () => {
    const table = uniqueTopic('counted_orders').replaceAll('-', '_');
    const projection = projectionOf(table);
    await migrated([projection]);
    await deferred(`public.${table}`, 'insert', 'true', `(select count(*) from public.${table}) > 3`);
    const { sink, batch, claim } = await eventSink([projection]);
    const all = batch(
      0,
      [0, 1, 2, 3, 4].map((id) => ({ id: `${id}`, data: { orderId: `o${id}` } })),
    );
    const refused = await sink.write(await claim(), all);
    expect(refused).toMatchObject({ kind: 'rejected', rejections: [{ offset: 3n }, { offset: 4n }] });
  });

  test('whatever the records are ends the role with its reason, and refuses none of them', async () => {
    const { sink, batch, claim, role, topic } = await eventSink();
    const held = await claim();
    await deferred('kpipe.consumer_offset', 'update', `new.role = '${role}'`, 'true');
    const failure = await sink.write(held, batch(0, [{ id: '1' }, { id: '2' }])).catch(asFailure);
    expect(failure).toMatchObject({
      code: 'KPIPE_POSTGRES_FAILED',
      message: 'PostgreSQL refuses the transaction (SQLSTATE 23514), and none of its records alone',
    });
    expect(sink.classify(failure)).toBe('fatal');
    // Nor does it wait for ever where it only claims.
    expect(sink.classify(await claim().catch(asFailure))).toBe('fatal');
    expect([await idsOf(topic), await offsetOf(role)]).toMatchObject([[], { next_offset: '0' }]);
  });
});

describe('projections', () => {
  const of = (id: string, status: string, more: Partial<EventPlan> = {}): EventPlan => ({
    id,
    data: { orderId: 'o-1', status },
    ...more,
  });
  const deletion = (id: string): EventPlan => ({ id, type: 'order.deleted', data: { orderId: 'o-1' } });

  async function projected(table: string, batches: readonly (readonly EventPlan[])[]) {
    const projection = projectionOf(table);
    await migrated([projection]);
    const { sink, told, batch, claim } = await eventSink([projection]);
    const held = await claim();
    let from = 0;
    for (const events of batches) {
      const next = batch(from, events);
      expect(await sink.write(held, next)).toEqual(stored(events.length));
      await sink.afterCommit?.(next);
      from += events.length;
    }
    return { rows: await rowsOf(`select status, kpipe_offset::int as at from public.${table}`), told };
  }

  test.each([
    ['last_in_batch', [[of('1', 'new'), of('2', 'paid')]], [{ status: 'paid', at: 1 }]],
    ['last_across', [[of('1', 'new')], [of('2', 'paid'), of('3', 'sent')]], [{ status: 'sent', at: 2 }]],
    ['deleted', [[of('1', 'new'), deletion('2')]], []],
    ['deleted_later', [[of('1', 'new')], [deletion('2')]], []],
    ['deleted_then_made', [[of('1', 'new')], [deletion('2'), of('3', 'again')]], [{ status: 'again', at: 2 }]],
    ['deleted_then_made_later', [[of('1', 'new')], [deletion('2')], [of('3', 'again')]], [{ status: 'again', at: 2 }]],
    ['deleted_never_made', [[deletion('1')]], []],
  ])('%s', async (table, batches, expected) => {
    expect((await projected(table, batches)).rows).toEqual(expected);
  });

  test('an upsert replaces the whole row: what the event lacks is null', async () => {
    const projection = projectionOf('replaced_orders');
    await migrated([projection]);
    const { sink, batch, claim } = await eventSink([projection]);
    const held = await claim();
    await sink.write(held, batch(0, ['{"id":"1","type":"t","data":{"orderId":"o","status":"x","amount":1.10}}']));
    expect(await rowsOf('select status, amount::text from public.replaced_orders')).toEqual([
      { status: 'x', amount: '1.10' },
    ]);
    await sink.write(held, batch(1, ['{"id":"2","type":"t","data":{"orderId":"o"}}']));
    expect(await rowsOf('select status, amount from public.replaced_orders')).toEqual([{ status: null, amount: null }]);
  });

  test('only what took effect is told to the cache: re-read records do not turn it back', async () => {
    const projection = projectionOf('told_orders');
    await migrated([projection]);
    const { sink, role, told, batch, claim } = await eventSink([projection]);
    const write = async (held: Claim, next: SinkBatch<ProjectedEvent>): Promise<unknown> => {
      await sink.write(held, next);
      await sink.afterCommit?.(next);
      return told.pop();
    };
    const held = await claim();
    expect(await write(held, batch(0, [of('1', 'new'), of('2', 'paid')]))).toMatchObject([{ offset: 1n }]);
    expect(await write(held, batch(2, [deletion('3')]))).toMatchObject([{ kind: 'delete', offset: 2n }]);
    expect(await write(held, batch(3, [of('4', 'again')]))).toMatchObject([{ kind: 'upsert', offset: 3n }]);
    await client.query('update kpipe.consumer_offset set next_offset = 0 where role = $1', [role]);
    const again = await claim();
    expect(await write(again, batch(0, [of('1', 'new'), of('2', 'paid')]))).toEqual([]);
    expect(await write(again, batch(2, [deletion('3')]))).toEqual([]);
    expect(await rowsOf('select status from public.told_orders')).toEqual([{ status: 'again' }]);
  });

  test('of a topic that was made again win over those of the old one, partition by partition', async () => {
    const projection = projectionOf('remade_orders');
    await migrated([projection]);
    const { sink, role, topic, batch, claim } = await eventSink([projection]);
    const order = (orderId: string, id: string, status: string): EventPlan => ({ id, data: { orderId, status } });
    for (const partition of [0, 1, 7]) {
      const rows = Array.from({ length: 5 }, (_, index) => order(`o${partition}`, `${partition}-${index}`, 'old'));
      await sink.write(await claim(partition), batch(0, rows, partition));
    }
    let recreated = 0;
    const again = await openEventSink({
      role,
      topicId: 'id-2',
      acceptRecreated: true,
      pool: await pool(),
      statementTimeoutMs: 10_000,
      projections: [projection],
      startPosition: () => Promise.resolve(0n),
      onProjected: () => Promise.resolve(),
      onRecreated: () => {
        recreated += 1;
      },
    });
    open.push(again);
    const claimed = (partition: number): Promise<Claim> =>
      again.claim({ topic, partition, active: true, commit: () => Promise.resolve() });
    const statuses = (): Promise<Record<string, unknown>[]> =>
      rowsOf('select order_id, status from public.remade_orders order by order_id');
    await again.write(await claimed(0), batch(0, [order('o0', 'n0', 'new')], 0));
    // The new topic has no partition 7: what it held comes in another one.
    await again.write(await claimed(1), batch(0, [order('o1', 'n1', 'new'), order('o7', 'n7', 'new')], 1));
    expect(await statuses()).toEqual(['o0', 'o1', 'o7'].map((name) => ({ order_id: name, status: 'new' })));
    expect(recreated).toBe(2);
    expect(await rowsOf('select distinct kpipe_partition from public.remade_orders order by 1')).toEqual([
      { kpipe_partition: 0 },
      { kpipe_partition: 1 },
    ]);
  });

  test('two of one table apply in the order of the offsets, whatever the batches', async () => {
    const created = projectionOf('two_of_one', {
      match: { type: 'created' },
      columns: { status: { from: 'data.status', type: 'text' } },
      deleteOn: [],
    });
    const paid = projectionOf('two_of_one', {
      match: { type: 'p*' },
      columns: { amount: { from: 'data.amount', type: 'numeric' } },
      deleteOn: ['purged'],
    });
    await migrated([paid, created]);
    const { sink, batch, claim } = await eventSink([paid, created]);
    const event = (id: string, type: string, orderId: string, data: object = {}): EventPlan => ({
      id,
      type,
      data: { orderId, ...data },
    });
    await sink.write(
      await claim(),
      batch(0, [
        event('1', 'created', 'a', { status: 'new' }),
        event('2', 'paid', 'a', { amount: 5 }),
        event('3', 'paid', 'b', { amount: 6 }),
        event('4', 'created', 'b', { status: 'new' }),
        event('5', 'created', 'c', { status: 'new' }),
        event('6', 'purged', 'c'),
        event('7', 'purged', 'd'),
        event('8', 'created', 'd', { status: 'new' }),
      ]),
    );
    expect(await rowsOf('select order_id, status, amount::int from public.two_of_one order by 1')).toEqual([
      { order_id: 'a', status: 'new', amount: 5 },
      { order_id: 'b', status: 'new', amount: 6 },
      { order_id: 'd', status: 'new', amount: null },
    ]);
  });

  test('two of one table, one event to both: both apply, and the cache is told the whole row', async () => {
    const table = uniqueTopic('both_of_one').replaceAll('-', '_');
    const statuses = projectionOf(table, { columns: { status: { from: 'data.status', type: 'text' } } });
    const sums = projectionOf(table, {
      match: { type: 'order.*' },
      columns: { amount: { from: 'data.amount', type: 'numeric' }, at: { from: 'time', type: 'timestamptz' } },
    });
    await migrated([statuses, sums]);
    const { sink, told, batch, claim, role } = await eventSink([statuses, sums]);
    const time = '2026-11-15T01:02:03.000456Z';
    const event = (id: string, type: string, data: object): EventPlan => ({
      id,
      type,
      time,
      data: { orderId: 'o', ...data },
    });
    const apply = async (held: Claim, next: SinkBatch<ProjectedEvent>): Promise<unknown> => {
      await sink.write(held, next);
      await sink.afterCommit?.(next);
      return told.pop()?.map(({ kind, offset, row }) => [kind, Number(offset), row]);
    };
    const held = await claim();
    const row = (status: string | null, amount: string | null, at: string | null): object => ({
      order_id: 'o',
      status,
      amount,
      at,
    });
    expect(await apply(held, batch(0, [event('1', 'order.made', { status: 'new', amount: 5 })]))).toEqual([
      ['upsert', 0, row('new', null, null)],
      ['upsert', 0, row('new', '5', '2026-11-15T01:02:03.000456Z')],
    ]);
    // Of the second event the table has its status alone, and the amount of the first.
    expect(await apply(held, batch(1, [event('2', 'stock.moved', { status: 'sent' })]))).toEqual([
      ['upsert', 1, row('sent', '5', '2026-11-15T01:02:03.000456Z')],
    ]);
    expect(await rowsOf(`select status, amount::int, kpipe_offset::int as at from public.${table}`)).toEqual([
      { status: 'sent', amount: 5, at: 1 },
    ]);
    // Read again, the first is older than what is there.
    await client.query('update kpipe.consumer_offset set next_offset = 0 where role = $1', [role]);
    expect(await apply(await claim(), batch(0, [event('1', 'order.made', { status: 'new', amount: 5 })]))).toEqual([]);
    expect(await apply(await claim(), batch(1, [event('3', 'order.deleted', {})]))).toEqual([
      ['delete', 1, undefined],
      ['delete', 1, undefined],
    ]);
  });

  test('every type of column arrives as PostgreSQL’s', async () => {
    const types = [
      'text',
      'bigint',
      'integer',
      'numeric',
      'double precision',
      'boolean',
      'timestamptz',
      'date',
      'uuid',
      'jsonb',
    ] as const;
    const columns = Object.fromEntries(
      types.map((type) => [`c_${type.replace(' ', '_')}`, { from: `data.${type.replace(' ', '_')}`, type }]),
    );
    const projection = projectionOf('typed_rows', { columns });
    await migrated([projection]);
    const { sink, batch, claim } = await eventSink([projection]);
    const value =
      '{"id":"1","type":"t","data":{"orderId":"o","text":"a\\u0000\'\\"{},","bigint":-9223372036854775808,"integer":-2147483648,"numeric":1.10,' +
      '"double_precision":5e-324,"boolean":true,"timestamptz":"0000-12-31T00:00:00.000001Z","date":"0000-02-29",' +
      '"uuid":"F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6","jsonb":{"n":9007199254740993}}}';
    expect(await sink.write(await claim(), batch(0, [value]))).toEqual(stored(1));
    const [row] = await rowsOf(
      `select c_text, c_bigint::text, c_integer, c_numeric::text, c_double_precision = 5e-324 as tiny, c_boolean,
              c_timestamptz = '0001-12-31 00:00:00.000001+00 BC' as instant, c_date = '0001-02-29 BC' as day, c_uuid::text, c_jsonb::text
         from public.typed_rows`,
    );
    expect(row).toEqual({
      c_text: 'a\ufffd\'"{},',
      c_bigint: '-9223372036854775808',
      c_integer: -2_147_483_648,
      c_numeric: '1.10',
      tiny: true,
      c_boolean: true,
      instant: true,
      day: true,
      c_uuid: 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
      c_jsonb: '{"n": 9007199254740993}',
    });
  });
});

describe('logs', () => {
  const decode = createLogDecoder({ limits });
  const encode = createLogEncoder();
  const topic = uniqueTopic('lines');
  const lines = (records: readonly SourceRecord[], from = 0): SinkBatch<EncodedRow> => ({
    topic,
    partition: 0,
    position: BigInt(from),
    nextPosition: BigInt(from + records.length),
    deadLetters: 0,
    skipped: 0,
    gaps: 0,
    rows: records.map((record) => {
      const decoded = decode(record);
      if (decoded.kind === 'dead') {
        throw new Error(decoded.reason);
      }
      return encode(decoded.row, { topic, partition: 0 });
    }),
  });
  const at = (ms: number): string => new Date(ms).toISOString();
  const opened = async (clock: number, retentionMs = 30 * day, notices: string[] = []) => {
    const sink = await openLogSink({
      role: topic,
      topicId: 'id',
      acceptRecreated: false,
      pool: await pool(),
      statementTimeoutMs: 10_000,
      startPosition: () => Promise.resolve(0n),
      retentionMs,
      clock: () => clock,
      notice: (text) => notices.push(text),
    });
    open.push(sink);
    return { sink, claim: () => sink.claim({ topic, partition: 0, active: true, commit: () => Promise.resolve() }) };
  };
  const partitions = async (): Promise<unknown[]> =>
    (
      await rowsOf(
        `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'kpipe.logs'::regclass order by 1`,
      )
    ).map(({ name }) => name);
  const where = async (): Promise<Record<string, unknown>[]> =>
    rowsOf(
      'select body, tableoid::regclass::text as held from kpipe.logs where topic = $1 order by kafka_offset, line',
      [topic],
    );

  test('land in their day, wild clocks in the default partition; days are made ahead, rows move into them, old days go', async () => {
    const first = await opened(nowMs);
    const names = await partitions();
    expect([names[0], names.at(-2), names.length]).toEqual(['logs_20261016', 'logs_20261122', 39]);
    const otlp = {
      resourceLogs: [
        {
          scopeLogs: [
            {
              logRecords: [
                { body: { stringValue: 'o1' }, timeUnixNano: `${nowMs}000000` },
                { body: { stringValue: 'o2' } },
              ],
            },
          ],
        },
      ],
    };
    const records = [
      recordAt(0, { msg: 'today', time: at(nowMs), level: 'info', x: 1 }),
      recordAt(1, { msg: 'oldest', time: at(nowMs - 30 * day) }),
      recordAt(2, { msg: 'ahead', time: at(nowMs + 8 * day) }),
      recordAt(3, { msg: 'wild', time: '1970-01-01T00:00:00Z' }),
      recordAt(4, otlp),
      recordAt(5, 'plain \u0000 text'),
      recordAt(6, { msg: 'x'.repeat(1_000_000), service: 's'.repeat(5000), trace_id: '😀'.repeat(200) }),
    ];
    expect(await first.sink.write(await first.claim(), lines(records))).toEqual(stored(7));
    expect((await where()).map(({ body, held }) => [String(body).slice(0, 20), held])).toEqual([
      ['today', 'logs_20261115'],
      ['oldest', 'logs_20261016'],
      ['ahead', 'logs_default'],
      ['wild', 'logs_default'],
      ['o1', 'logs_20261115'],
      ['o2', 'logs_20261115'],
      ['plain \ufffd text', 'logs_20261115'],
      ['x'.repeat(20), 'logs_20261115'],
    ]);
    // Read again, all of it is there already; an export's lines count as their one record.
    await client.query('update kpipe.consumer_offset set next_offset = 0 where role = $1', [topic]);
    expect(await first.sink.write(await first.claim(), lines(records))).toEqual(stored(0, 7));

    await opened(nowMs + day);
    expect((await where()).map(({ held }) => held).slice(1, 4)).toEqual([
      'logs_20261016',
      'logs_20261123',
      'logs_default',
    ]);
    expect(await partitions()).toContain('logs_20261123');

    await opened(nowMs + 10 * day);
    const left = await partitions();
    expect(left[0]).toBe('logs_20261025');
    expect((await where()).map(({ body }) => body)).not.toContain('oldest');
  });

  test('a query that holds an expired day up neither stops the role nor the days ahead', async () => {
    const notices: string[] = [];
    const reader = new Client({ connectionString: database.url });
    await reader.connect();
    await reader.query('begin');
    await reader.query('select count(*) from kpipe.logs_20261025');
    await opened(nowMs + 14 * day, 30 * day, notices);
    expect(await partitions()).toContain('logs_20261206');
    expect(await partitions()).toContain('logs_20261025');
    expect(notices).toMatchObject([expect.stringContaining('again in an hour')]);
    await reader.query('rollback');
    await reader.end();
    await opened(nowMs + 14 * day);
    expect(await partitions()).not.toContain('logs_20261025');
  }, 30_000);

  test('a search finds them, and the counts of the position add up', async () => {
    expect(
      await rowsOf(
        `select count(*)::int as n from kpipe.logs where topic = $1 and search @@ to_tsquery('simple', 'today')`,
        [topic],
      ),
    ).toEqual([{ n: 1 }]);
    expect(await offsetOf(topic)).toMatchObject({ stored: '7', duplicates: '7' });
  });
});

describe('failures', () => {
  const failed = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => {
        throw new Error('it went well');
      },
      (error: unknown) => error,
    );

  test('PostgreSQL away is a pause, and unreachable to the operator', async () => {
    const { sink, claim } = await eventSink();
    const port = await freePort();
    const away = await openPool(postgresConfig(`postgres://kpipe:secret@127.0.0.1:${port}/x`), {
      applicationName: 'test',
      max: 1,
    });
    const error = await failed(away.connect());
    await away.end();
    expect(sink.classify(error)).toBe('retry');
    expect(sink.describe(error)).toMatchObject({ code: 'KPIPE_POSTGRES_UNREACHABLE', exitCode: 1 });
    expect(sink.describe(error).message).not.toContain('secret');
    expect(await claim()).toMatchObject({ position: 0n });
  });

  test('a server that is read-only (25006) is a pause', async () => {
    const { sink, batch, claim } = await eventSink();
    const held = await claim();
    const superuser = new Client({ connectionString: database.superuserUrl });
    await superuser.connect();
    try {
      await superuser.query(`alter database ${database.name} set default_transaction_read_only = on`);
      const readOnly = await pool();
      const error = await failed(
        inTransaction(readOnly, 1000, (inside) => inside.query('update kpipe.consumer_offset set epoch = epoch')),
      );
      await readOnly.end();
      expect(error).toMatchObject({ code: '25006' });
      expect([kindOfFailure(error), sink.classify(error)]).toEqual(['sink', 'retry']);
    } finally {
      await superuser.query(`alter database ${database.name} reset default_transaction_read_only`);
      await superuser.end();
    }
    expect(await sink.write(held, batch(0, [{ id: 'a' }]))).toEqual(stored(1));
  });

  test('a connection that is cut in the middle of a transaction is a pause; the next write succeeds', async () => {
    const { sink, batch, claim } = await eventSink();
    const held = await claim();
    const ours = await pool();
    const error = await failed(
      inTransaction(ours, 5000, async (inside) => {
        await inside.query('select pg_terminate_backend(pg_backend_pid())');
      }),
    );
    await ours.end();
    expect(sink.classify(error)).toBe('retry');
    expect(await sink.write(held, batch(0, [{ id: 'a' }]))).toEqual(stored(1));
  });

  test.each([
    ['a statement that takes too long', 'select pg_sleep(5)', '57014', 'sink'],
    ['a missing table', 'select * from nowhere', '42P01', 'configuration'],
    ['a missing right', "select pg_read_file('postgresql.conf')", '42501', 'configuration'],
    ['a bad number', `select 'x'::integer`, '22P02', 'record'],
    ['division by zero', 'select 1 / 0', '22012', 'record'],
    ['a lock that is not free', `do $$ begin raise exception 'x' using errcode = '55P03'; end $$`, '55P03', 'sink'],
    ['a serialization failure', `do $$ begin raise exception 'x' using errcode = '40001'; end $$`, '40001', 'sink'],
    ['a deadlock', `do $$ begin raise exception 'x' using errcode = '40P01'; end $$`, '40P01', 'sink'],
    ['a full disk', `do $$ begin raise exception 'x' using errcode = '53100'; end $$`, '53100', 'sink'],
    ['a shutdown', `do $$ begin raise exception 'x' using errcode = '57P01'; end $$`, '57P01', 'sink'],
    [
      'an index entry that is too long',
      `do $$ begin raise exception 'x' using errcode = '54000'; end $$`,
      '54000',
      'record',
    ],
  ])('%s: SQLSTATE decides', async (_what, sql, state, kind) => {
    const ours = await pool();
    const error = await failed(inTransaction(ours, 200, (inside) => inside.query(sql)));
    await ours.end();
    expect(error).toMatchObject({ code: state });
    expect(kindOfFailure(error)).toBe(kind);
  });

  test('a COMMIT that answers ROLLBACK is a failure', async () => {
    const ours = await pool();
    const error = await failed(
      inTransaction(ours, 1000, (inside) => inside.query('select 1 / 0').catch(() => undefined)),
    );
    await ours.end();
    expect(error).toMatchObject({
      code: 'KPIPE_POSTGRES_FAILED',
      message: expect.stringContaining('ROLLBACK') as string,
    });
  });

  test('what the operator is told quotes no row', async () => {
    const { sink } = await eventSink();
    const ours = await pool();
    const error = await failed(inTransaction(ours, 1000, (inside) => inside.query(`select 'SECRET'::integer`)));
    await ours.end();
    expect(sink.describe(error)).toMatchObject({ message: 'PostgreSQL refused a value (SQLSTATE 22P02)' });
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

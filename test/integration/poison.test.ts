import { beforeAll, describe, expect, test, vi } from 'vitest';

import type { OutgoingRecord } from '../../src/lib/ports.ts';
import { createEventEncoder, openEventSink } from '../../src/lib/postgres/event-sink.ts';
import { openPool } from '../../src/lib/postgres/pool.ts';
import { createEventDecoder } from '../../src/lib/records/event.ts';
import { rolePipelines, type RolePipeline, type StoredDeadLetter } from '../support/role-pipeline.ts';
import { seeded } from '../support/seeded.ts';

/**
 * What PostgreSQL refuses, by class, at every place in a batch, through Kafka: the good records are stored once, the bad
 * ones are dead letters. Partition p is place p; each class has `count` records there, so that a batch holds one class.
 */
const pipelines = await rolePipelines();
const count = 50;
const places: readonly (readonly [string, (index: number) => boolean])[] = [
  ['the first', (index) => index === 0],
  ['a middle one', (index) => index === 25],
  ['the last', (index) => index === count - 1],
  ['one in ten', (index) => index % 10 === 3],
  ['all of them', () => true],
];

interface Poison {
  readonly name: string;
  /** The record's value; `id` says where it is from. */
  readonly bad: (id: string) => Buffer;
  readonly reason: string;
  readonly sqlstate?: string;
}

const time = '2026-11-01T12:00:00Z';
const random = seeded(5);
/** An index entry holds 2,704 bytes, compressed. */
const incompressible = Array.from({ length: 9000 }, () => String.fromCharCode(0x4e00 + random.below(20_000))).join('');
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const event = (id: string, more: object = {}): Buffer => json({ id, type: 'plain', time, ...more });
const strict = (id: string, data: object): Buffer => event(id, { type: 'strict.changed', data: { id, n: 1, ...data } });
const withText = (text: string) => (id: string) => Buffer.from(`{"id":"${id}","type":"plain","data":${text}}`);

const ofEvents: readonly Poison[] = [
  { name: 'U+0000 in an object key (22P05)', bad: withText('{"a\\u0000":1}'), reason: 'unstorable_text' },
  {
    name: 'bytes that are not UTF-8 (22021)',
    bad: (id) => Buffer.concat([event(id), Buffer.from([0xff])]),
    reason: 'invalid_utf8',
  },
  { name: 'a lone surrogate in a key (22P02)', bad: withText('{"\\ud800":1}'), reason: 'unstorable_text' },
  {
    name: 'a number past numeric (22003)',
    bad: withText(`0.${'1'.repeat(16_384)}`),
    reason: 'number_range',
    sqlstate: '22003',
  },
  { name: 'a time that is none (22007)', bad: (id) => event(id, { time: 'soon' }), reason: 'invalid_timestamp' },
  {
    name: 'a day that is none (22008)',
    bad: (id) => event(id, { time: '2026-02-30T00:00:00Z' }),
    reason: 'invalid_timestamp',
  },
  {
    name: 'a zone that is none (22009)',
    bad: (id) => event(id, { time: '2026-02-03T00:00:00+19:00' }),
    reason: 'invalid_timestamp',
  },
  {
    name: 'a check (23514)',
    bad: (id) => event(id, { subject: 'refused by check' }),
    reason: 'sink_rejected',
    sqlstate: '23514',
  },
  {
    name: 'an index entry that is too long (54000)',
    bad: (id) => event(id, { data: { long: incompressible } }),
    reason: 'too_large',
    sqlstate: '54000',
  },
  {
    name: 'a trigger before the row (P0001)',
    bad: (id) => event(id, { subject: 'refused before' }),
    reason: 'sink_rejected',
    sqlstate: 'P0001',
  },
  {
    name: 'a trigger after the row, no line is named (23000)',
    bad: (id) => event(id, { subject: 'refused after' }),
    reason: 'sink_rejected',
    sqlstate: '23000',
  },
  {
    name: 'a deferred constraint, at COMMIT (23503)',
    bad: (id) => event(id, { subject: 'refused at commit' }),
    reason: 'sink_rejected',
    sqlstate: '23503',
  },
  {
    name: 'null where the operational table has none (23502)',
    bad: (id) => strict(id, { n: null }),
    reason: 'sink_rejected',
    sqlstate: '23502',
  },
  {
    name: 'a row that its foreign key does not find (23503)',
    bad: (id) => strict(id, { parent: 'nobody' }),
    reason: 'sink_rejected',
    sqlstate: '23503',
  },
  {
    name: 'a repeat in another unique column (23505)',
    bad: (id) => strict(id, { code: 'taken' }),
    reason: 'sink_rejected',
    sqlstate: '23505',
  },
  {
    name: 'a check of the operational table (23514)',
    bad: (id) => strict(id, { n: -1 }),
    reason: 'sink_rejected',
    sqlstate: '23514',
  },
  { name: 'a value of another type', bad: (id) => strict(id, { n: 'many' }), reason: 'projection_type' },
];

const ofLogs: readonly Poison[] = [
  {
    name: 'bytes that are not UTF-8 (22021)',
    bad: (id) => Buffer.concat([Buffer.from(`${id} `), Buffer.from([0xc3])]),
    reason: 'invalid_utf8',
  },
  {
    name: 'a number past numeric (22003)',
    bad: (id) => Buffer.from(`{"message":"${id}","n":0.${'1'.repeat(16_384)}}`),
    reason: 'number_range',
    sqlstate: '22003',
  },
  {
    name: 'a check (23514)',
    bad: (id) => json({ message: `${id} refused by check` }),
    reason: 'sink_rejected',
    sqlstate: '23514',
  },
  {
    name: 'a trigger before the row (P0001)',
    bad: (id) => json({ message: `${id} refused before` }),
    reason: 'sink_rejected',
    sqlstate: 'P0001',
  },
  {
    name: 'a deferred constraint, at COMMIT (23503)',
    bad: (id) => json({ message: `${id} refused at commit` }),
    reason: 'sink_rejected',
    sqlstate: '23503',
  },
  { name: 'a time that is none', bad: (id) => json({ time: 'soon', message: id }), reason: 'invalid_timestamp' },
];

const refusals = `
  create function public.refuse() returns trigger language plpgsql as $$
  begin
    raise exception 'refused' using errcode = tg_argv[0];
  end $$;
  alter table kpipe.events add constraint poison_check check (subject <> 'refused by check');
  create index poison_index on kpipe.events ((data->>'long'));
  create trigger poison_before before insert on kpipe.events for each row
    when (new.subject = 'refused before') execute function public.refuse('P0001');
  create trigger poison_after after insert on kpipe.events for each row
    when (new.subject = 'refused after') execute function public.refuse('23000');
  create constraint trigger poison_commit after insert on kpipe.events deferrable initially deferred for each row
    when (new.subject = 'refused at commit') execute function public.refuse('23503');
  alter table kpipe.logs add constraint poison_check check (body not like '% refused by check');
  create trigger poison_before before insert on kpipe.logs for each row
    when (new.body like '% refused before') execute function public.refuse('P0001');
  create constraint trigger poison_commit after insert on kpipe.logs deferrable initially deferred for each row
    when (new.body like '% refused at commit') execute function public.refuse('23503');
  create table public.parents (id text primary key);
  alter table public.strict
    alter column n set not null,
    add check (n >= 0),
    add unique (code),
    add foreign key (parent) references public.parents;
  insert into public.strict (id, n, code, kpipe_partition, kpipe_offset) values ('first', 1, 'taken', -1, -1);`;

const projections = [
  {
    match: { type: 'strict.*' },
    table: 'public.strict',
    key: { id: { from: 'data.id', type: 'text' } },
    columns: {
      n: { from: 'data.n', type: 'bigint' },
      parent: { from: 'data.parent', type: 'text' },
      code: { from: 'data.code', type: 'text' },
    },
  },
];
const batch = { maxRows: count, maxWait: '50ms' };

interface Sent {
  readonly id: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly record: OutgoingRecord;
  readonly poison: Poison | null;
}

/** Every class at every place, among good records. */
function matrix(classes: readonly Poison[], good: (id: string) => Buffer): readonly Sent[] {
  return places.flatMap(([, isBad], partition) =>
    classes.flatMap((poison, number) =>
      Array.from({ length: count }, (_, index): Sent => {
        const id = `${partition}-${number}-${index}`;
        const value = isBad(index) ? poison.bad(id) : good(id);
        return {
          id,
          partition,
          offset: BigInt(number * count + index),
          record: { partition, key: Buffer.from(id), value, headers: [['trace', Buffer.from([0, 255])]] },
          poison: isBad(index) ? poison : null,
        };
      }),
    ),
  );
}

const tell = (letter: StoredDeadLetter): string =>
  [
    letter.key?.toString(),
    letter.partition,
    letter.offset,
    letter.headers['kpipe.reason'],
    letter.headers['kpipe.sqlstate'] ?? '-',
  ].join(' ');

function expectBuried(letters: readonly StoredDeadLetter[], sent: readonly Sent[]): void {
  const bad = sent.filter(({ poison }) => poison !== null);
  expect(letters.map(tell).toSorted()).toEqual(
    bad
      .map(({ id, partition, offset, poison }) =>
        [id, partition, offset, poison?.reason, poison?.sqlstate ?? '-'].join(' '),
      )
      .toSorted(),
  );
  const valueOf = new Map(sent.map(({ id, record }) => [id, record.value]));
  const changed = letters.filter(
    ({ key, value }) => valueOf.get(String(key))?.equals(value ?? Buffer.alloc(0)) !== true,
  );
  expect(changed.map(tell)).toEqual([]);
}

const addsUp = (topic: string): Promise<Record<string, unknown>[]> =>
  pipelines.query(
    `select partition, next_offset::int as next, stored::int, dead_letters::int as dead,
            next_offset - first_offset = stored + duplicates + dead_letters + skipped + gaps as adds_up
       from kpipe.consumer_offset where topic = $1 order by partition`,
    [topic],
  );

const breakerOff = { share: 1, of: 1_000_000 };
let events: RolePipeline;

beforeAll(async () => {
  events = await pipelines.open({
    role: 'events',
    partitions: places.length,
    settings: { batch, projections, deadLetterBreaker: breakerOff },
  });
  await pipelines.query(refusals);
});

describe('records that are refused, at the first, a middle and the last place, one in ten, and all', () => {
  test(`role events: ${ofEvents.length} classes`, { timeout: 300_000 }, async () => {
    const sent = matrix(ofEvents, (id) => (id.endsWith('7') ? strict(id, { code: id }) : event(id)));
    await events.send(sent.map(({ record }) => record));
    await events.consume();
    const rows = await pipelines.query('select id, partition, kafka_offset from kpipe.events where topic = $1', [
      events.topic,
    ]);
    const good = sent.filter(({ poison }) => poison === null);
    expect(rows.map(({ id }) => String(id)).toSorted()).toEqual(good.map(({ id }) => id).toSorted());
    const projected = await pipelines.query(`select id from public.strict where id <> 'first'`);
    expect(projected.map(({ id }) => String(id)).toSorted()).toEqual(
      good.flatMap(({ id }) => (id.endsWith('7') ? [id] : [])).toSorted(),
    );
    expectBuried(await events.deadLetters(), sent);
    expect(await addsUp(events.topic)).toEqual(
      places.map((_, partition) => {
        const ours = sent.filter((each) => each.partition === partition);
        const dead = ours.filter(({ poison }) => poison !== null).length;
        return { partition, next: ours.length, stored: ours.length - dead, dead, adds_up: true };
      }),
    );
  });

  test(`role logs: ${ofLogs.length} classes`, { timeout: 300_000 }, async () => {
    const logs = await pipelines.open({
      role: 'logs',
      partitions: places.length,
      settings: { batch, deadLetterBreaker: breakerOff },
    });
    const sent = matrix(ofLogs, (id) => json({ message: id }));
    await logs.send(sent.map(({ record }) => record));
    await logs.consume();
    const rows = await pipelines.query('select body from kpipe.logs where topic = $1', [logs.topic]);
    const good = sent.filter(({ poison }) => poison === null);
    expect(rows.map(({ body }) => String(body)).toSorted()).toEqual(good.map(({ id }) => id).toSorted());
    expectBuried(await logs.deadLetters(), sent);
    expect((await addsUp(logs.topic)).every(({ adds_up: holds }) => holds)).toBe(true);
  });
});

describe('what it costs', () => {
  test.each([
    ['one', 1, 2],
    ['a tenth', 20, 22],
    ['a tenth, the last among them', 20, 21],
  ])('%s of 200 records refused with their line: that many attempts and one or two more', async (what, bad, copies) => {
    const topic = `cost-${what.replaceAll(/\W/g, '')}`;
    const pool = await openPool(events.config.postgres!, { applicationName: 'test-cost', max: 1 });
    let copied = 0;
    pool.on('connect', (client) => {
      const query = client.query.bind(client) as (...args: unknown[]) => unknown;
      client.query = ((...args: unknown[]) => {
        const [first] = args;
        copied +=
          typeof first === 'object' && first !== null && 'text' in first && String(first.text).startsWith('copy kpipe')
            ? 1
            : 0;
        return query(...args);
      }) as typeof client.query;
    });
    const sink = await openEventSink({
      role: topic,
      topicId: '1',
      acceptRecreated: false,
      pool,
      statementTimeoutMs: 10_000,
      projections: [],
      startPosition: () => Promise.resolve(0n),
      onProjected: () => Promise.resolve(),
    });
    const decode = createEventDecoder({
      defaultSource: topic,
      limits: { maxValueBytes: 1_000_000, maxHeaders: 10, maxDepth: 10 },
    });
    const encode = createEventEncoder();
    const isBad = (index: number): boolean =>
      bad === 1 ? index === 60 : index % 10 === (what.includes('last') ? 9 : 3);
    const rows = Array.from({ length: 200 }, (_, index) => {
      const value = event(`e${index}`, isBad(index) ? { subject: 'refused by check' } : {});
      const decoded = decode({ offset: BigInt(index), timestampMs: 0, key: null, value, headers: [] });
      if (decoded.kind === 'dead') {
        throw new Error(decoded.message);
      }
      return encode(decoded.row, { topic, partition: 0 }, []);
    });
    const claim = await sink.claim({ topic, partition: 0, active: true, commit: () => Promise.resolve() });
    const all = { topic, partition: 0, position: 0n, nextPosition: 200n, rows, deadLetters: 0, skipped: 0, gaps: 0 };
    const refused = await sink.write(claim, all);
    const offsets = refused.kind === 'rejected' ? refused.rejections.map(({ offset }) => Number(offset)) : [];
    expect(offsets).toEqual(Array.from({ length: 200 }, (_, index) => index).filter(isBad));
    const kept = rows.filter((_, index) => !isBad(index));
    expect(await sink.write(claim, { ...all, rows: kept, deadLetters: bad })).toEqual({
      kind: 'written',
      stored: 200 - bad,
      duplicates: 0,
    });
    await sink.close();
    expect(copied).toBeLessThanOrEqual(copies + 1);
    expect(copied).toBeGreaterThan(bad);
  });

  test('two records of one batch to one row that only PostgreSQL knows to be one (21000): both take effect, the last wins', async () => {
    await pipelines.query(
      `create collation public.anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
    );
    const of = [{ ...projections[0], table: 'public.anycase', key: { id: { from: 'data.id', type: 'text' } } }];
    const role = await pipelines.open({ role: 'events', settings: { batch, projections: of } });
    await pipelines.query('alter table public.anycase alter column id type text collate public.anycase');
    await role.send(
      ['a', 'A', 'b', 'B', 'b'].map((id, index) => ({ key: null, value: strict(`any-${index}`, { id, n: index }) })),
    );
    const result = await role.consume();
    expect(result.totals).toMatchObject({ stored: 5, deadLetters: 0 });
    expect(await pipelines.query('select lower(id) as id, n::int from public.anycase order by 1')).toEqual([
      { id: 'a', n: 1 },
      { id: 'b', n: 4 },
    ]);
  });

  test('a flood that only PostgreSQL sees ends the role before it fills the dead letters; the other partitions are drained', async () => {
    const role = await pipelines.open({
      role: 'events',
      partitions: 2,
      settings: { batch, deadLetterBreaker: { share: 0.5, of: 200 } },
    });
    const records = (partition: number, more: object): OutgoingRecord[] =>
      Array.from({ length: 400 }, (_, index) => ({
        partition,
        key: null,
        value: event(`${partition}-${index}`, more),
      }));
    await role.send([...records(0, { subject: 'refused before' }), ...records(1, {})]);
    await expect(role.consume()).rejects.toMatchObject({
      code: 'KPIPE_DEAD_LETTER_FLOOD',
      exitCode: 1,
      where: { partition: 0 },
    });
    const [flooded] = await addsUp(role.topic);
    expect(flooded).toMatchObject({ adds_up: true });
    expect((await role.deadLetters()).length).toBeLessThan(400);
    const rows = await pipelines.query(
      'select count(*)::int as n from kpipe.events where topic = $1 and partition = 1',
      [role.topic],
    );
    const [, other] = await addsUp(role.topic);
    expect([rows[0]?.['n'], other?.['stored']]).toEqual([other?.['next'], other?.['next']]);
  });
});

describe('what is not the record’s fault', () => {
  const states = ['08006', '53100', '53300', '57P01', '57P03', '57014', '40001', '40P01', '25006', '55P03'];

  test(`${states.join(', ')}: waited out, never a dead letter`, async () => {
    await pipelines.query(`
      create function public.trouble() returns trigger language plpgsql as $$
      begin
        if nextval('public.trouble_' || new.partition) <= 2 then
          raise exception 'trouble' using errcode = (string_to_array(tg_argv[0], ','))[new.partition + 1];
        end if;
        return new;
      end $$;
      ${states.map((_, partition) => `create sequence public.trouble_${partition};`).join('\n')}
      create trigger trouble before insert on kpipe.events for each row
        when (new.subject = 'trouble') execute function public.trouble('${states.join(',')}');`);
    const role = await pipelines.open({ role: 'events', partitions: states.length, settings: { batch } });
    await role.send(
      states.map((state, partition) => ({ partition, key: null, value: event(state, { subject: 'trouble' }) })),
    );
    const notices: string[] = [];
    const result = await role.consume({ notice: (text) => notices.push(text) });
    expect(result.totals).toMatchObject({ records: states.length, stored: states.length, deadLetters: 0 });
    expect(notices[0]).toMatch(/^waiting: KPIPE_POSTGRES_(UNREACHABLE|FAILED) /);
    const raised = await pipelines.query(
      `select last_value::int as calls from pg_sequences where sequencename like 'trouble%'`,
    );
    expect(raised.map(({ calls }) => calls)).toEqual(states.map(() => 3));
    expect(await role.deadLetters()).toEqual([]);
  });

  test('a backend that is terminated, a lock that is held, a database that turns read-only: waited out', async () => {
    const role = await pipelines.open({
      role: 'events',
      settings: { batch },
      postgres: { pool: { max: 2, statementTimeout: '500ms' } },
    });
    const stop = new AbortController();
    const notices: string[] = [];
    const running = role.consume({ untilDrained: false, signal: stop.signal, notice: (text) => notices.push(text) });
    running.catch(() => undefined);
    const send = (id: string): Promise<void> => role.send([{ key: null, value: event(id) }]);
    const storedCount = async (): Promise<unknown> =>
      (await pipelines.query('select count(*)::int as n from kpipe.events where topic = $1', [role.topic]))[0]?.['n'];
    const stored = (n: number): Promise<boolean> =>
      vi.waitUntil(async () => (await storedCount()) === n, { timeout: 30_000, interval: 20 });
    const waits = (): number => notices.filter((text) => text.startsWith('waiting')).length;
    const isWaiting = (times: number): Promise<boolean> =>
      vi.waitUntil(() => waits() >= times, { timeout: 30_000, interval: 20 });
    await send('a');
    await stored(1);

    await pipelines.query('begin; lock table kpipe.events in share mode');
    await send('b');
    await isWaiting(1);
    await pipelines.query('rollback');
    await stored(2);

    await pipelines.query('begin; lock table kpipe.events in share mode');
    await send('c');
    await vi.waitUntil(
      async () =>
        (
          await pipelines.query(
            `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
                and application_name like 'kpipe:events%' and wait_event_type = 'Lock'`,
          )
        ).length > 0,
      { timeout: 30_000, interval: 10 },
    );
    await isWaiting(2);
    await pipelines.query('rollback');
    await stored(3);

    const name = (await pipelines.query('select current_database() as name'))[0]?.['name'];
    await pipelines.query(`alter database ${String(name)} set default_transaction_read_only = on`);
    await pipelines.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'kpipe:events%'`,
    );
    await send('d');
    await isWaiting(3);
    await pipelines.query(`alter database ${String(name)} reset default_transaction_read_only`);
    await pipelines.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name like 'kpipe:events%'`,
    );
    await stored(4);
    stop.abort();
    await expect(running).resolves.toMatchObject({ totals: { records: 4, stored: 4, deadLetters: 0 } });
    expect(await role.deadLetters()).toEqual([]);
  });

  test('a schema that is no more what the role writes (class 42) ends it, at its start and while it runs: exit 1, and nothing is buried', async () => {
    const role = await pipelines.open({ role: 'events', settings: { batch } });
    const running = role.consume({ untilDrained: false });
    running.catch(() => undefined);
    await role.send([{ key: null, value: event('a') }]);
    await vi.waitUntil(async () => (await addsUp(role.topic))[0]?.['next'] === 1, { timeout: 30_000, interval: 20 });
    await pipelines.query('alter table kpipe.events rename column extensions to renamed');
    try {
      await role.send([{ key: null, value: event('b') }]);
      await expect(running).rejects.toMatchObject({ code: 'KPIPE_SCHEMA_MISSING', exitCode: 1 });
      await expect(role.consume()).rejects.toMatchObject({
        code: 'KPIPE_SCHEMA_MISSING',
        message: 'role events needs kpipe.events.extensions, which is not there',
      });
    } finally {
      await pipelines.query('alter table kpipe.events rename column renamed to extensions');
    }
    expect(await role.deadLetters()).toEqual([]);
    expect(await addsUp(role.topic)).toEqual([{ partition: 0, next: 1, stored: 1, dead: 0, adds_up: true }]);
  });

  test('a child that comes before its parent, under a deferred foreign key, is no poison, also beside one that is', async () => {
    await pipelines.query(`
      create table public.known (id text primary key);
      create function public.know() returns trigger language plpgsql as $$
      begin
        insert into public.known values (new.id) on conflict do nothing;
        return null;
      end $$;
      create trigger know after insert on kpipe.events for each row when (new.type = 'family') execute function public.know();
      create table public.children (id text primary key, of text references public.known deferrable initially deferred);
      create function public.bear() returns trigger language plpgsql as $$
      begin
        insert into public.children values (new.id, new.subject);
        return null;
      end $$;
      create trigger bear after insert on kpipe.events for each row
        when (new.type = 'family' and new.subject is not null) execute function public.bear();`);
    const role = await pipelines.open({ role: 'events', settings: { batch } });
    const member = (id: string, subject?: string): OutgoingRecord => ({
      key: Buffer.from(id),
      value: event(id, { type: 'family', ...(subject === undefined ? {} : { subject }) }),
    });
    await role.send([member('child', 'parent'), member('orphan', 'nobody'), member('other'), member('parent')]);
    const result = await role.consume();
    expect(result.totals).toMatchObject({ stored: 3, deadLetters: 1 });
    expect((await role.deadLetters()).map(tell)).toEqual(['orphan 0 1 sink_rejected 23503']);
    expect(await pipelines.query('select id, of from public.children')).toEqual([{ id: 'child', of: 'parent' }]);
  });
});

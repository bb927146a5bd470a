import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from 'vitest';

import { connectBigQuery, type BigQueryConnection } from '../../src/lib/bigquery/connection.ts';
import { ensureTable } from '../../src/lib/bigquery/table.ts';
import { compileTypedColumns } from '../../src/lib/bigquery/typed-columns.ts';
import { applyWarehousePlan, drawUpWarehousePlan } from '../../src/lib/bigquery/warehouse-tables.ts';
import type { BigQueryConfig, WarehouseColumns } from '../../src/lib/config/schema.ts';
import {
  analyticsBatch,
  analyticsRow,
  GenerationGroup,
  hookedLoadSink,
  hookedSink,
  writeUntilTold,
  type HookedSink,
} from '../support/analytics-batches.ts';
import { startFakeBigQuery, type FakeBigQuery } from '../support/fake-bigquery.ts';
import { startFakeWriteApi, type FakeWriteApi } from '../support/fake-write-api.ts';
import { uniqueTopic } from '../support/servers.ts';

const { bigquery } = inject('servers');
const base: BigQueryConfig = {
  project: 'kpipe-local',
  dataset: uniqueTopic('columns').replaceAll('-', '_'),
  table: 'events',
  write: 'storage',
  loadInterval: 60_000,
};
const nothing = (): void => undefined;

/** One column of each type that the stand-in can keep; it has no decimals of 76 digits. */
const declared: WarehouseColumns = {
  'page.*': {
    url: { from: 'data.page.url', type: 'STRING' },
    visitor: { from: 'data.visitor', type: 'INT64' },
    price: { from: 'data.price', type: 'NUMERIC' },
    ratio: { from: 'data.ratio', type: 'FLOAT64' },
    signed_in: { from: 'data.signedIn', type: 'BOOL' },
    seen_at: { from: 'data.seenAt', type: 'TIMESTAMP' },
    day: { from: 'data.day', type: 'DATE' },
    raw: { from: 'data.raw', type: 'JSON' },
    tags: { from: 'data.tags', type: 'ARRAY<STRING>' },
    ids: { from: 'data.ids', type: 'ARRAY<INT64>' },
  },
};
const full = `{"page":{"url":"/ü?a=\\"b\\""},"visitor":9007199254740993,"price":1234567890.123456789,"ratio":0.1,"signedIn":false,
  "seenAt":"2026-11-23T08:00:00.000001+01:00","day":"2026-11-23","raw":{"n":1.10},"tags":["a","b"],"ids":[-1,9223372036854775807]}`;

/** Three records: all values, none of them, another event type. */
const rows = [
  analyticsRow(0, { data: Buffer.from(full) }),
  analyticsRow(1, { data: Buffer.from('{"visitor":null,"tags":[]}') }),
  analyticsRow(2, { type: Buffer.from('order.placed'), data: Buffer.from(full) }),
];

async function writeRows(member: HookedSink, topic: string): Promise<void> {
  const claim = await member.claim(topic);
  const batch = { ...analyticsBatch(topic, 0, 3), rows };
  expect(await writeUntilTold(member, claim, batch)).toMatchObject({ kind: 'written', stored: 3 });
}

const seenColumns = `
  kafka_offset, url, CAST(visitor AS STRING) AS visitor, CAST(price AS STRING) AS price, ratio, signed_in,
  UNIX_MICROS(seen_at) AS seen_micros, CAST(day AS STRING) AS day, TO_JSON_STRING(raw) AS raw, tags,
  ARRAY_LENGTH(ids) AS id_count, CAST(data AS STRING) AS data`;

describe.skipIf(bigquery === null)('declared columns, by the emulator', () => {
  const config: BigQueryConfig = { ...base, ...bigquery, columns: declared };
  let connection: BigQueryConnection;
  beforeAll(async () => {
    connection = await connectBigQuery(config);
  });
  afterAll(async () => {
    await connection.rest.dataset(config.dataset).delete({ force: true });
    await connection.close();
  });

  async function seen(table: string, topic: string): Promise<readonly Record<string, unknown>[]> {
    const [found] = await connection.rest.query({
      query: `SELECT ${seenColumns} FROM \`${config.project}.${config.dataset}.${table}\`
        WHERE kafka_topic = '${topic}' ORDER BY kafka_offset`,
      parseJSON: false,
      wrapIntegers: true,
    });
    return found as readonly Record<string, unknown>[];
  }

  const none = { url: null, visitor: null, price: null, ratio: null, signed_in: null, seen_micros: null };

  test('each type lands exactly in the table and in its view; what is absent is NULL', async () => {
    const applied = await applyWarehousePlan(config, await drawUpWarehousePlan(config));
    expect(applied).toMatchObject({ failed: null, obstacles: [] });
    const topic = uniqueTopic('types');
    const typed = compileTypedColumns(declared, 100);
    await writeRows(
      hookedSink(connection, new GenerationGroup().join(), nothing, undefined, () => typed),
      topic,
    );
    for (const table of ['events', 'events_unique']) {
      const found = await seen(table, topic);
      expect(found).toMatchObject([
        {
          url: '/ü?a="b"',
          visitor: '9007199254740993',
          price: '1234567890.123456789',
          ratio: 0.1,
          signed_in: false,
          seen_micros: { value: '1795417200000001' },
          day: '2026-11-23',
          tags: ['a', 'b'],
          data: full,
        },
        { ...none, day: null, raw: null, tags: [] },
        { ...none, day: null, raw: null, tags: [], data: full },
      ]);
      expect(JSON.parse(String(found[0]?.['raw']))).toEqual({ n: 1.1 });
    }
  });

  test('columns are added to a table with rows, and the role that runs fills them from then on', async () => {
    const table = uniqueTopic('grown').replaceAll('-', '_');
    const before: BigQueryConfig = { ...config, table, columns: {} };
    expect((await applyWarehousePlan(before, await drawUpWarehousePlan(before))).failed).toBeNull();
    let typed = compileTypedColumns({}, 100);
    const topic = uniqueTopic('grown');
    const own = await connectBigQuery(before);
    const member = hookedSink(own, new GenerationGroup().join(), nothing, undefined, () => typed);
    const claim = await member.claim(topic);
    expect(await member.sink.write(claim, { ...analyticsBatch(topic, 0, 1), rows: rows.slice(0, 1) })).toMatchObject({
      kind: 'written',
    });

    const after: BigQueryConfig = { ...config, table };
    const plan = await drawUpWarehousePlan(after);
    expect(plan.changes.map((change) => (change.kind === 'add-column' ? change.column : change.kind))).toEqual([
      ...Object.keys(declared['page.*'] ?? {}),
      'replace-view',
    ]);
    expect(await applyWarehousePlan(after, plan)).toMatchObject({ failed: null, notDone: [] });
    expect(await drawUpWarehousePlan(after)).toMatchObject({ changes: [], obstacles: [] });

    typed = compileTypedColumns(declared, 100);
    const next = { ...analyticsBatch(topic, 1, 2), rows: [analyticsRow(1, { data: Buffer.from(full) })] };
    expect(await writeUntilTold(member, claim, next)).toMatchObject({ kind: 'written', stored: 1 });
    await own.close();
    for (const name of [table, `${table}_unique`]) {
      expect(await seen(name, topic)).toMatchObject([
        { url: null, visitor: null, data: full },
        { url: '/ü?a="b"', visitor: '9007199254740993', price: '1234567890.123456789', tags: ['a', 'b'], data: full },
      ]);
    }
  });

  test('a table without the declared columns is refused when a role starts, with what adds them', async () => {
    const table = uniqueTopic('older').replaceAll('-', '_');
    await ensureTable({ ...connection, config: { ...config, table, columns: {} } });
    await expect(ensureTable({ ...connection, config: { ...config, table } })).rejects.toMatchObject({
      code: 'KPIPE_SCHEMA_MISSING',
      message: expect.stringMatching(/no column url/),
      next: expect.stringMatching(/kpipe warehouse apply.*ADD COLUMN tags ARRAY<STRING>/),
    });
  });
});

describe('declared columns, by our own servers', () => {
  const typed = compileTypedColumns(declared, 100);
  const url = compileTypedColumns({ '*': { url: { from: 'data.page.url', type: 'STRING' } } }, 100);
  let fake: FakeBigQuery;
  let api: FakeWriteApi;
  let connection: BigQueryConnection;
  beforeEach(async () => {
    fake = await startFakeBigQuery();
    api = await startFakeWriteApi();
    connection = await connectBigQuery({
      ...base,
      columns: declared,
      endpoint: fake.endpoint,
      grpcEndpoint: api.endpoint,
    });
    await ensureTable(connection);
  });
  afterEach(async () => {
    await connection.close();
    await fake.close();
    api.close();
  });

  const ways = {
    storage: (columns: () => typeof typed) =>
      hookedSink(connection, new GenerationGroup().join(), nothing, () => Promise.resolve(0), columns),
    load: (columns: () => typeof typed) =>
      hookedLoadSink(connection, new GenerationGroup().join(), nothing, 0, columns),
  } as const;

  test('a load job gets each value as it was, numbers as strings, and takes the rows', async () => {
    const topic = uniqueTopic('load');
    await writeRows(
      ways.load(() => typed),
      topic,
    );
    const lines = fake.rows.map(({ line }) => line);
    expect(lines[0]).toContain(
      ',"url":"/ü?a=\\"b\\"","visitor":"9007199254740993","price":"1234567890.123456789","ratio":0.1,"signed_in":false' +
        ',"seen_at":"2026-11-23 07:00:00.000001 UTC","day":"2026-11-23","raw":{"n":1.10},"tags":["a","b"]' +
        ',"ids":["-1","9223372036854775807"]}',
    );
    expect(lines.slice(1).filter((line) => line.includes('"url":') || line.includes('"tags":[]}'))).toHaveLength(2);
    expect(Object.keys(JSON.parse(lines[1] ?? '') as object)).not.toContain('url');
  });

  test.each(['storage', 'load'] as const)(
    'write: %s: a value that its column cannot hold is named; its record has no row, the others have one',
    async (write) => {
      const topic = uniqueTopic('unfit');
      const member = ways[write](() => typed);
      const claim = await member.claim(topic);
      const batch = analyticsBatch(topic, 0, 4);
      const bad = new Map([
        [1n, '{"visitor":9223372036854775808}'],
        [2n, '{"tags":["a",null]}'],
      ]);
      const all = batch.rows.map((row) => ({ ...row, data: Buffer.from(bad.get(row.offset) ?? full) }));
      expect(await member.sink.write(claim, { ...batch, rows: all })).toEqual({
        kind: 'rejected',
        rejections: [
          { offset: 1n, reason: 'bq_schema', message: 'data.visitor is no INT64: column visitor' },
          { offset: 2n, reason: 'bq_schema', message: 'data.tags is no ARRAY<STRING>: column tags' },
        ],
      });
      const good = all.filter(({ offset }) => !bad.has(offset));
      expect(await member.sink.write(claim, { ...batch, rows: good })).toMatchObject({ kind: 'written', stored: 2 });
      expect(write === 'storage' ? api.visible.length : fake.rows.length).toBe(2);
    },
  );

  test('the Storage Write API does not know a new column yet: the batch waits, and has the value when it lands', async () => {
    const topic = uniqueTopic('lag');
    const own = typed.descriptor.field.map(({ name }) => name).filter((name) => name !== 'url');
    let columns = compileTypedColumns({}, 100);
    api.columns = own;
    const member = ways.storage(() => columns);
    const claim = await member.claim(topic);
    const first = { ...analyticsBatch(topic, 0, 1), rows: rows.slice(0, 1) };
    expect(await member.sink.write(claim, first)).toMatchObject({ kind: 'written' });

    columns = url;
    const next = { ...analyticsBatch(topic, 1, 2), rows: [analyticsRow(1, { data: Buffer.from(full) })] };
    const early = await member.sink.write(claim, next).catch((error: unknown) => error);
    expect(early).toMatchObject({ code: 'KPIPE_BIGQUERY_UNREACHABLE', message: expect.stringMatching(/columns.*yet/) });
    expect(member.sink.classify(early)).toBe('retry');
    expect(api.visible).toHaveLength(1);
    api.columns = [...own, 'url'];
    expect(await member.sink.write(claim, next)).toMatchObject({ kind: 'written', stored: 1 });
    expect(api.visible.map((row) => row.includes('/ü?a="b"'))).toEqual([false, true]);
  });

  test('a row that is refused while the columns are new is still found, and it alone becomes a dead letter', async () => {
    const topic = uniqueTopic('doubt');
    const member = ways.storage(() => typed);
    const claim = await member.claim(topic);
    const poison = Buffer.from('{"poison":1}');
    api.onAppend = (_request, sent) =>
      sent.some((row) => row.includes(poison)) ? { error: { code: 3, message: 'a row' } } : undefined;
    const batch = analyticsBatch(topic, 0, 4);
    const all = batch.rows.map((row) => ({ ...row, data: row.offset === 2n ? poison : Buffer.from(full) }));
    expect(await member.sink.write(claim, { ...batch, rows: all })).toMatchObject({
      kind: 'rejected',
      rejections: [{ offset: 2n, reason: 'bq_schema' }],
    });
  });

  test('load jobs do not know a new column yet: no row is blamed for it, and the next job takes them', async () => {
    const topic = uniqueTopic('late');
    const table = connection.rest.dataset(base.dataset).table(base.table);
    const [metadata] = await table.getMetadata();
    const { fields } = (metadata as { schema: { fields: object[] } }).schema;
    await table.setMetadata({ schema: { fields: [...fields, { name: 'note', type: 'STRING', mode: 'NULLABLE' }] } });
    fake.schemaLag = 2;
    const note = compileTypedColumns({ '*': { note: { from: 'data.page.url', type: 'STRING' } } }, 100);
    const member = ways.load(() => note);
    const claim = await member.claim(topic);
    const batch = { ...analyticsBatch(topic, 0, 3), rows };
    const early = await member.sink.write(claim, batch).catch((error: unknown) => error);
    expect(early).toMatchObject({ code: 'KPIPE_BIGQUERY_UNREACHABLE', message: expect.stringMatching(/columns.*yet/) });
    expect(await writeUntilTold(member, claim, batch)).toMatchObject({ kind: 'written', stored: 3 });
    expect(fake.rows.map(({ offset, line }) => [offset, line.includes('"note":')])).toEqual([
      [0, true],
      [1, false],
      [2, true],
    ]);
    expect(fake.jobs.filter(({ kind }) => kind === 'load')).toHaveLength(3);
  });
});

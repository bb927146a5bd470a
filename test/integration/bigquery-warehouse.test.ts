import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { connectBigQuery, type BigQueryConnection } from '../../src/lib/bigquery/connection.ts';
import { warehouseStatus } from '../../src/lib/bigquery/warehouse-status.ts';
import { applyWarehousePlan, drawUpWarehousePlan } from '../../src/lib/bigquery/warehouse-tables.ts';
import type { BigQueryConfig } from '../../src/lib/config/schema.ts';
import {
  analyticsBatch,
  analyticsRow,
  GenerationGroup,
  hookedLoadSink,
  hookedSink,
  writeAll,
} from '../support/analytics-batches.ts';
import { startFakeBigQuery, type FakeBigQuery } from '../support/fake-bigquery.ts';
import { uniqueTopic } from '../support/servers.ts';

const { bigquery } = inject('servers');
const dayMs = 86_400_000;
const base: BigQueryConfig = {
  project: 'kpipe-local',
  dataset: uniqueTopic('warehouse').replaceAll('-', '_'),
  table: 'events',
  write: 'storage',
  loadInterval: 60_000,
  expiry: 30 * dayMs,
};

async function apply(config: BigQueryConfig): Promise<readonly string[]> {
  const applied = await applyWarehousePlan(config, await drawUpWarehousePlan(config));
  expect(applied).toMatchObject({ failed: null, notDone: [] });
  return applied.done.map(({ kind }) => kind);
}

describe.skipIf(bigquery === null)('the warehouse, by the emulator', () => {
  const config = { ...base, ...bigquery };
  let connection: BigQueryConnection;
  beforeAll(async () => {
    connection = await connectBigQuery(config);
  });
  afterAll(async () => {
    await connection.rest.dataset(config.dataset).delete({ force: true });
    await connection.close();
  });

  test('is made once, is then in sync, and its view shows each event once', async () => {
    expect(await apply(config)).toEqual(['create-dataset', 'create-table', 'create-view']);
    expect(await drawUpWarehousePlan(config)).toMatchObject({ changes: [], obstacles: [] });
    const topic = uniqueTopic('repeats');
    const member = hookedSink(connection, new GenerationGroup().join(), () => undefined);
    const claim = await member.claim(topic);
    const again = analyticsRow(5, { id: Buffer.from('view-1') });
    const batch = analyticsBatch(topic, 0, 5);
    await member.sink.write(claim, { ...batch, nextPosition: 6n, rows: [...batch.rows, again] });
    const [rows] = await connection.rest.query(
      `SELECT id, kafka_offset FROM \`${config.project}.${config.dataset}.events_unique\` ORDER BY id`,
    );
    expect(rows).toEqual([0, 1, 2, 3, 4].map((offset) => ({ id: `view-${offset}`, kafka_offset: offset })));
    expect(await warehouseStatus(config, Date.now() + 1000)).toMatchObject({
      exists: true,
      rows: 6,
      lastDay: { rows: 6, events: 5 },
      changes: [],
    });
  });
});

describe('the warehouse, by our own server', () => {
  let fake: FakeBigQuery;
  let config: BigQueryConfig;
  let connection: BigQueryConnection;
  beforeAll(async () => {
    fake = await startFakeBigQuery();
    config = { ...base, write: 'load', endpoint: fake.endpoint };
    connection = await connectBigQuery(config);
  });
  afterAll(async () => {
    await connection.close();
    await fake.close();
  });

  test('is made, and changed without taking anything away', async () => {
    expect(await apply(config)).toEqual(['create-dataset', 'create-table', 'create-view']);
    expect(await apply(config)).toEqual([]);
    const table = connection.rest.dataset(config.dataset).table(config.table);
    const longer = { ...config, expiry: 60 * dayMs };
    expect(await apply(longer)).toEqual(['set-expiry']);
    expect((await table.getMetadata())[0]).toMatchObject({ timePartitioning: { expirationMs: String(60 * dayMs) } });
    expect(await drawUpWarehousePlan(config)).toMatchObject({
      changes: [],
      obstacles: [{ what: expect.stringMatching(/deletes/) }],
    });
    const { expiry: _, ...unlimited } = config;
    expect(await apply(unlimited)).toEqual(['set-expiry']);
  });

  test('a change that fails ends the apply, and says what was not tried', async () => {
    const other = { ...config, dataset: `${config.dataset}_2` };
    const plan = await drawUpWarehousePlan(other);
    fake.onRequest = ({ kind, name }) =>
      kind === 'table' && name === 'events' ? { status: 403, reason: 'accessDenied' } : undefined;
    const applied = await applyWarehousePlan(other, plan);
    fake.onRequest = () => undefined;
    expect(applied).toMatchObject({
      done: [{ kind: 'create-dataset' }],
      failed: { change: { kind: 'create-table' }, reason: expect.stringMatching(/accessDenied/) },
      notDone: [{ kind: 'create-view' }],
    });
  });

  test('a column is added while a role writes, also where load jobs see it late', async () => {
    const table = 'older';
    const older = { ...config, table };
    await apply(older);
    const reference = connection.rest.dataset(config.dataset).table(table);
    const [metadata] = await reference.getMetadata();
    const fields = (metadata as { schema: { fields: object[] } }).schema.fields;
    const topic = uniqueTopic('column');
    const own = await connectBigQuery(older);
    const group = new GenerationGroup();
    await writeAll(
      hookedLoadSink(own, group.join(), () => undefined),
      topic,
      10,
      5,
    );
    await reference.setMetadata({ schema: { fields: [...fields, { name: 'note', type: 'STRING' }] } });
    fake.schemaLag = 1;
    await writeAll(
      hookedLoadSink(own, group.join(), () => undefined),
      topic,
      30,
      5,
    );
    await own.close();
    expect(fake.rows.filter((row) => row.topic === topic).map(({ offset }) => offset)).toEqual(
      Array.from({ length: 30 }, (_, offset) => offset),
    );
    expect(await drawUpWarehousePlan(older)).toMatchObject({ changes: [], obstacles: [] });
  });
});

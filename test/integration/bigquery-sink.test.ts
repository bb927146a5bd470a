import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

import { connectBigQuery, type BigQueryConnection } from '../../src/lib/bigquery/connection.ts';
import { formatIntent, parseIntent, type Intent, type StreamIntent } from '../../src/lib/bigquery/intent.ts';
import { openAnalyticsSink } from '../../src/lib/bigquery/open-analytics-sink.ts';
import { ensureTable } from '../../src/lib/bigquery/table.ts';
import { countRows, readRows } from '../../src/lib/bigquery/warehouse.ts';
import { pendingStreams } from '../../src/lib/bigquery/writer.ts';
import type { BigQueryConfig } from '../../src/lib/config/schema.ts';
import {
  analyticsBatch,
  analyticsRow,
  GenerationGroup,
  hookedSink,
  writeAll,
  type Step,
} from '../support/analytics-batches.ts';
import { uniqueTopic } from '../support/servers.ts';

const { bigquery } = inject('servers');
const config: BigQueryConfig = {
  project: 'kpipe-local',
  ...bigquery,
  dataset: uniqueTopic('sink').replaceAll('-', '_'),
  table: 'events',
  write: 'storage',
  loadInterval: 60_000,
  expiry: 30 * 86_400_000,
};

/** Every record of [0, end) is in the table once, with its own contents. */
async function expectOnce(topic: string, end: number): Promise<void> {
  expect(await countRows(config, { topic })).toEqual({ rows: end, records: end, events: end });
  const rows = await readRows(config, { topic }, end + 1);
  expect(rows.map(({ offset, id, data, timeMicros }) => ({ offset, id, data, timeMicros }))).toEqual(
    Array.from({ length: end }, (_, offset) => {
      const row = analyticsRow(offset);
      return { offset: BigInt(offset), id: String(row.id), data: String(row.data), timeMicros: row.timeMicros };
    }),
  );
}

function streamOf(intent: Intent | null): string {
  expect(intent).toHaveProperty('stream');
  return intent !== null && 'stream' in intent ? intent.stream : '';
}

describe.skipIf(bigquery === null)('analytics into BigQuery', () => {
  let connection: BigQueryConnection;

  beforeAll(async () => {
    connection = await connectBigQuery(config);
    await ensureTable(connection);
  });

  afterAll(async () => {
    await connection.rest.dataset(config.dataset).delete({ force: true });
    await connection.close();
  });

  test('a batch is stored column by column, and the group is past it', async () => {
    const topic = uniqueTopic('plain');
    const group = new GenerationGroup();
    const member = hookedSink(connection, group.join(), () => undefined);
    const claim = await member.claim(topic, 3);
    const row = analyticsRow(17, {
      id: Buffer.from('ünï'),
      subject: Buffer.from('customer-9'),
      timeMicros: 1_795_000_000_123_456n,
      data: Buffer.from('{"n":9007199254740993,"price":1.10,"huge":1e400}'),
      extensions: Buffer.from('{"traceparent":"00-ab"}'),
      ingestedAtMs: 1_795_000_001_000,
    });
    const batch = { ...analyticsBatch(topic, 0, 0), partition: 3, nextPosition: 20n, rows: [row] };
    expect(claim).toMatchObject({ topic, partition: 3, position: 0n });
    expect(await member.sink.write(claim, batch)).toEqual({ kind: 'written', stored: 1, duplicates: 0 });
    expect(await readRows(config, { topic })).toEqual([
      {
        id: 'ünï',
        source: '/shop/worker',
        type: 'page.viewed',
        subject: 'customer-9',
        timeMicros: 1_795_000_000_123_456n,
        topic,
        partition: 3,
        offset: 17n,
        ingestedAtMicros: 1_795_000_001_000_000n,
        data: '{"n":9007199254740993,"price":1.10,"huge":1e400}',
        extensions: '{"traceparent":"00-ab"}',
      },
    ]);
    expect(group.commits.get(`${topic}-3`)).toEqual({ offset: 20n, metadata: '' });
  });

  test('a batch of many requests arrives whole', async () => {
    const topic = uniqueTopic('large');
    const member = hookedSink(connection, new GenerationGroup().join(), () => undefined);
    const claim = await member.claim(topic);
    const data = Buffer.from(JSON.stringify({ text: 'x'.repeat(900_000) }));
    const rows = Array.from({ length: 12 }, (_, offset) => analyticsRow(offset, { data }));
    expect(await member.sink.write(claim, { ...analyticsBatch(topic, 0, 12), rows })).toMatchObject({
      kind: 'written',
      stored: 12,
    });
    expect(await countRows(config, { topic })).toEqual({ rows: 12, records: 12, events: 12 });
  });

  test('a batch whose records all became dead letters moves the position and makes no stream', async () => {
    const topic = uniqueTopic('empty');
    const group = new GenerationGroup();
    const seen: Step[] = [];
    const member = hookedSink(connection, group.join(), (step) => void seen.push(step));
    const claim = await member.claim(topic);
    await member.sink.write(claim, { ...analyticsBatch(topic, 0, 9), rows: [] });
    expect(group.commits.get(`${topic}-0`)).toEqual({ offset: 9n, metadata: '' });
    expect(new Set(seen)).toEqual(new Set(['position']));
  });

  test('rows that BigQuery cannot hold are named; the others are written once without them', async () => {
    const topic = uniqueTopic('reject');
    const member = hookedSink(connection, new GenerationGroup().join(), () => undefined);
    const claim = await member.claim(topic);
    const batch = analyticsBatch(topic, 0, 4);
    const bad = [
      analyticsRow(1, { timeMicros: 300_000_000_000_000_000n }),
      analyticsRow(2, { data: Buffer.alloc(10_000_000, '1') }),
    ];
    const [first, , , last] = batch.rows;
    const rows = [first, ...bad, last].filter((row) => row !== undefined);
    const outcome = await member.sink.write(claim, { ...batch, rows });
    expect(outcome).toMatchObject({
      kind: 'rejected',
      rejections: [
        { offset: 1n, reason: 'bq_schema' },
        { offset: 2n, reason: 'too_large' },
      ],
    });
    expect(await countRows(config, { topic })).toMatchObject({ rows: 0 });
    await member.sink.write(claim, { ...batch, rows: rows.filter((row) => !bad.includes(row)) });
    expect((await readRows(config, { topic })).map(({ offset }) => offset)).toEqual([0n, 3n]);
  });

  test('a partition that comes back to the same process finds what the write before still did', async () => {
    const topic = uniqueTopic('return');
    const asleep = Promise.withResolvers<void>();
    const wake = Promise.withResolvers<void>();
    const member = hookedSink(connection, new GenerationGroup().join(), async (at, moment) => {
      if (at === 'intent' && moment === 'before') {
        asleep.resolve();
        await wake.promise;
      }
    });
    const claim = await member.claim(topic);
    const writing = member.sink.write(claim, analyticsBatch(topic, 0, 20));
    await asleep.promise;
    const again = member.claim(topic);
    wake.resolve();
    expect(await writing).toEqual({ kind: 'fenced' });
    const second = await again;
    expect(second).toMatchObject({ position: 20n, epoch: claim.epoch + 1n });
    expect(await member.sink.write(claim, analyticsBatch(topic, 20, 40))).toEqual({ kind: 'fenced' });
    await member.sink.write(second, analyticsBatch(topic, 20, 40));
    await expectOnce(topic, 40);
  });

  describe('an intent whose stream BigQuery has forgotten', () => {
    /** Leaves the partition as a crash after the intent would, with the stream's name replaced by an unknown one. */
    async function forget(topic: string, crashAt: 'before' | 'after'): Promise<GenerationGroup> {
      const group = new GenerationGroup();
      const dying = hookedSink(connection, group.join(), (step, when) => {
        if (step === 'batch-commit' && when === crashAt) {
          throw new Error('killed here');
        }
      });
      await expect(writeAll(dying, topic, 20, 20)).rejects.toThrow('killed here');
      const committed = group.commits.get(`${topic}-0`);
      const intent = parseIntent(committed?.metadata ?? '', 0n);
      expect(intent).not.toBeNull();
      const stream = streamOf(intent).replace(/[^/]+$/, 'feedfacefeedface');
      group.commits.set(`${topic}-0`, { offset: 0n, metadata: formatIntent({ ...(intent as StreamIntent), stream }) });
      return group;
    }

    test('and whose rows are in the table is done', async () => {
      const topic = uniqueTopic('forgotten');
      const group = await forget(topic, 'after');
      const member = hookedSink(connection, group.join(), () => undefined);
      expect(await member.claim(topic)).toMatchObject({ position: 20n });
      expect(group.commits.get(`${topic}-0`)).toEqual({ offset: 20n, metadata: '' });
      await expectOnce(topic, 20);
    });

    test('and whose rows are not there is read again', async () => {
      const topic = uniqueTopic('forgotten');
      const group = await forget(topic, 'before');
      const member = hookedSink(connection, group.join(), () => undefined);
      expect(await member.claim(topic)).toMatchObject({ position: 0n });
      await writeAll(member, topic, 20, 20);
      await expectOnce(topic, 20);
    });

    test('rows of an earlier life of the topic do not pass for its own', async () => {
      const topic = uniqueTopic('forgotten');
      await writeAll(
        hookedSink(connection, new GenerationGroup().join(), () => undefined),
        topic,
        20,
        20,
      );
      const group = await forget(topic, 'before');
      const member = hookedSink(connection, group.join(), () => undefined);
      expect(await member.claim(topic)).toMatchObject({ position: 0n });
    });
  });

  test('metadata of other tools is left alone: reading goes on at the committed offset', async () => {
    const topic = uniqueTopic('foreign');
    const group = new GenerationGroup();
    group.commits.set(`${topic}-0`, { offset: 42n, metadata: '{"intent":"drop everything"}' });
    const member = hookedSink(connection, group.join(), () => undefined);
    expect(await member.claim(topic)).toMatchObject({ position: 42n });
  });

  test('a stream is committed once, however often it is asked for', async () => {
    const topic = uniqueTopic('twice');
    const streams = pendingStreams(connection);
    const group = new GenerationGroup();
    const dying = hookedSink(connection, group.join(), (step, when) => {
      if (step === 'batch-commit' && when === 'before') {
        throw new Error('killed here');
      }
    });
    await expect(writeAll(dying, topic, 5, 5)).rejects.toThrow('killed here');
    const stream = streamOf(parseIntent(group.commits.get(`${topic}-0`)?.metadata ?? '', 0n));
    expect(await streams.commit(stream)).toBe('committed');
    // The stand-in does not tell "committed already" from other states; Google does.
    expect(['committed', 'undetermined']).toContain(await streams.commit(stream));
    expect(await streams.commit(stream.replace(/[^/]+$/, 'feedfacefeedface'))).toBe('not-found');
    expect(await countRows(config, { topic })).toMatchObject({ rows: 5 });
  });

  describe('opening', () => {
    const options = {
      group: new GenerationGroup().join(),
      startPosition: (): Promise<bigint> => Promise.resolve(0n),
      partitionCount: (): Promise<number> => Promise.resolve(1),
      maxDepth: 100,
    };

    test('makes the dataset and the table once, with their options', async () => {
      const fresh = { ...config, dataset: `${config.dataset}_fresh` };
      const first = await openAnalyticsSink({ ...options, config: fresh });
      const second = await openAnalyticsSink({ ...options, config: fresh });
      const [metadata] = await connection.rest.dataset(fresh.dataset).table(fresh.table).getMetadata();
      await Promise.all([first.close(), second.close()]);
      await connection.rest.dataset(fresh.dataset).delete({ force: true });
      expect(first.ready.created).toEqual({ dataset: true, table: true });
      expect(second.ready.created).toEqual({ dataset: false, table: false });
      expect(metadata.timePartitioning).toMatchObject({
        type: 'DAY',
        field: 'time',
        expirationMs: String(config.expiry),
      });
      expect(metadata.clustering).toEqual({ fields: ['type', 'source'] });
    });

    test('a table that lacks columns is refused with the statement that adds them', async () => {
      const table = 'other';
      await connection.rest
        .dataset(config.dataset)
        .createTable(table, { schema: { fields: [{ name: 'id', type: 'INT64' }] } });
      await expect(openAnalyticsSink({ ...options, config: { ...config, table } })).rejects.toMatchObject({
        code: 'KPIPE_SCHEMA_MISSING',
        message: expect.stringMatching(/id is NULLABLE INT64, not STRING; no column source/),
        next: expect.stringContaining('ADD COLUMN kafka_offset INT64'),
      });
    });

    test('a server that is not there is told', async () => {
      const gone = { ...config, endpoint: 'http://127.0.0.1:9', grpcEndpoint: '127.0.0.1:9' };
      await expect(openAnalyticsSink({ ...options, config: gone })).rejects.toMatchObject({
        code: 'KPIPE_BIGQUERY_UNREACHABLE',
      });
    });

    test('a Storage Write API that is not there is told, too', async () => {
      const gone = { ...config, grpcEndpoint: '127.0.0.1:9' };
      await expect(openAnalyticsSink({ ...options, config: gone })).rejects.toMatchObject({
        code: 'KPIPE_BIGQUERY_UNREACHABLE',
      });
    });
  });
});

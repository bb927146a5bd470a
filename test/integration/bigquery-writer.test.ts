import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { AnalyticsSink } from '../../src/lib/bigquery/analytics-sink.ts';
import { connectBigQuery, type BigQueryConnection } from '../../src/lib/bigquery/connection.ts';
import { UsageMeter } from '../../src/lib/bigquery/cost.ts';
import { StorageWriter } from '../../src/lib/bigquery/storage-writer.ts';
import { pendingStreams, type PendingStreams } from '../../src/lib/bigquery/writer.ts';
import { analyticsBatch, GenerationGroup, noTypedColumns } from '../support/analytics-batches.ts';
import { startFakeWriteApi, type FakeWriteApi } from '../support/fake-write-api.ts';

const { descriptor } = noTypedColumns;

/** Answers of the Storage Write API that the stand-in does not give, over real gRPC. */
describe('the Storage Write API at its worst', () => {
  let api: FakeWriteApi;
  let connection: BigQueryConnection;
  let streams: PendingStreams;

  beforeEach(async () => {
    api = await startFakeWriteApi();
    connection = await connectBigQuery({
      project: 'shop-test',
      dataset: 'analytics',
      table: 'events',
      write: 'storage',
      loadInterval: 60_000,
      endpoint: 'http://127.0.0.1:9',
      grpcEndpoint: api.endpoint,
    });
    streams = pendingStreams(connection);
  });

  afterEach(async () => {
    await connection.close();
    api.close();
  });

  const megabytes = (...sizes: readonly number[]): readonly Buffer[] =>
    sizes.map((size, index) => Buffer.alloc(size * 1_000_000, index));

  function sinkOf(group: GenerationGroup): {
    readonly sink: AnalyticsSink;
    claim(): ReturnType<AnalyticsSink['claim']>;
  } {
    const member = group.join();
    const sink = new AnalyticsSink({
      group: member,
      writer: new StorageWriter({
        streams,
        columns: () => Promise.resolve(noTypedColumns),
        countBatch: () => Promise.resolve(0),
        close: () => Promise.resolve(),
      }),
      usage: () => new UsageMeter('storage', 0).read(),
      startPosition: () => Promise.resolve(0n),
    });
    return { sink, claim: () => sink.claim(member.assign('analytics')) };
  }

  test('a large batch goes as several requests with their offsets, the schema with the first', async () => {
    const rows = megabytes(0.4, 0.4, 0.4, 2, 9.9, 0.1);
    const stream = await streams.create();
    expect(await streams.append(stream, rows, descriptor)).toEqual({ kind: 'appended' });
    const seen = api.appends.map((request) => ({
      offset: Number(request.offset?.value),
      rows: request.protoRows?.rows?.serializedRows?.length,
      schema: request.protoRows?.writerSchema?.protoDescriptor?.field?.length ?? 0,
    }));
    expect(seen).toEqual([
      { offset: 0, rows: 3, schema: 11 },
      { offset: 3, rows: 1, schema: 0 },
      { offset: 4, rows: 1, schema: 0 },
      { offset: 5, rows: 1, schema: 0 },
    ]);
    await streams.finalize(stream, 6);
    expect(await streams.commit(stream)).toBe('committed');
    expect(api.visible.map((row) => row.length)).toEqual(rows.map((row) => row.length));
  });

  test('rows that are named are the ones that are rejected, also behind the first request', async () => {
    api.onAppend = (request) =>
      Number(request.offset?.value) === 2
        ? {
            error: { code: status.INVALID_ARGUMENT, message: 'Errors found while processing rows' },
            rowErrors: [{ index: 1, code: 'FIELDS_ERROR', message: 'bad value 4111 1111' }],
          }
        : undefined;
    const outcome = await streams.append(await streams.create(), megabytes(0.6, 0.6, 0.6, 0.6), descriptor);
    expect(outcome).toEqual({ kind: 'row-errors', rows: [{ index: 3, message: 'BigQuery: FIELDS_ERROR' }] });
  });

  test('rows that are refused without being named are found, and the others written once', async () => {
    const group = new GenerationGroup();
    const { sink, claim } = sinkOf(group);
    const isBad = (row: Buffer): boolean => row.includes('/p/17"') || row.includes('/p/40"');
    api.onAppend = (_request, rows) =>
      rows.some(isBad) ? { error: { code: status.INVALID_ARGUMENT, message: 'cannot convert' } } : undefined;
    const claimed = await claim();
    const batch = analyticsBatch('analytics', 0, 64);
    const outcome = await sink.write(claimed, batch);
    expect(outcome).toMatchObject({
      kind: 'rejected',
      rejections: [
        { offset: 17n, reason: 'bq_schema' },
        { offset: 40n, reason: 'bq_schema' },
      ],
    });
    expect(api.visible).toEqual([]);
    const rows = batch.rows.filter(({ offset }) => offset !== 17n && offset !== 40n);
    expect(await sink.write(claimed, { ...batch, rows })).toMatchObject({ kind: 'written', stored: 62 });
    expect(api.visible).toHaveLength(62);
    expect(group.commits.get('analytics-0')).toEqual({ offset: 64n, metadata: '' });
  });

  test('a table that refuses everything ends the role, and blames no record', async () => {
    const { sink, claim } = sinkOf(new GenerationGroup());
    api.onAppend = () => ({ error: { code: status.INVALID_ARGUMENT, message: 'schema mismatch' } });
    const failure: unknown = await sink
      .write(await claim(), analyticsBatch('analytics', 0, 200))
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'KPIPE_BIGQUERY_FAILED' });
    expect(sink.classify(failure)).toBe('fatal');
  });

  test('an offset that is there already is a success', async () => {
    api.onAppend = () => ({ error: { code: status.ALREADY_EXISTS, message: 'offset' } });
    expect(await streams.append(await streams.create(), megabytes(0.1), descriptor)).toEqual({ kind: 'appended' });
  });

  test.each([
    ['a connection that is cut', 'cut' as const, 'retry'],
    ['a quota', { error: { code: status.RESOURCE_EXHAUSTED, message: 'quota' } }, 'retry'],
    ['a missing right', { error: { code: status.PERMISSION_DENIED, message: 'no' } }, 'fatal'],
  ])('%s fails the append, and the next attempt writes once', async (_what, answer, expected) => {
    const { sink, claim } = sinkOf(new GenerationGroup());
    api.onAppend = () => answer;
    const claimed = await claim();
    const failure: unknown = await sink
      .write(claimed, analyticsBatch('analytics', 0, 10))
      .catch((error: unknown) => error);
    expect(sink.classify(failure)).toBe(expected);
    api.onAppend = () => undefined;
    expect(await sink.write(claimed, analyticsBatch('analytics', 0, 10))).toMatchObject({
      kind: 'written',
      stored: 10,
    });
    expect(api.visible).toHaveLength(10);
  });

  test('a stream that lost rows is not committed', async () => {
    const stream = await streams.create();
    await streams.append(stream, megabytes(0.1, 0.1), descriptor);
    await expect(streams.finalize(stream, 3)).rejects.toMatchObject({ code: 'KPIPE_BIGQUERY_UNREACHABLE' });
  });

  describe('a commit', () => {
    async function staged(): Promise<string> {
      const stream = await streams.create();
      await streams.append(stream, megabytes(0.1), descriptor);
      await streams.finalize(stream, 1);
      return stream;
    }

    test('that was made already is a success, and changes nothing', async () => {
      const stream = await staged();
      expect(await streams.commit(stream)).toBe('committed');
      expect(await streams.commit(stream)).toBe('committed');
      expect(api.visible).toHaveLength(1);
    });

    test.each(['NOT_FOUND', 'STREAM_NOT_FOUND', 'TABLE_NOT_FOUND'] as const)(
      'of a stream that is gone, by %s',
      async (told) => {
        const stream = await staged();
        api.onCommit = () => told;
        expect(await streams.commit(stream)).toBe('not-found');
      },
    );

    test('of a stream in another state is a success when BigQuery knows when it was committed', async () => {
      const stream = await staged();
      await streams.commit(stream);
      api.onCommit = () => 'INVALID_STREAM_STATE';
      expect(await streams.commit(stream)).toBe('committed');
    });

    test('of a stream that was not finalized finalizes it', async () => {
      const stream = await streams.create();
      await streams.append(stream, megabytes(0.1), descriptor);
      expect(await streams.commit(stream)).toBe('committed');
      expect(api.visible).toHaveLength(1);
    });

    test('that is answered UNAVAILABLE once is repeated', async () => {
      const stream = await staged();
      let asked = 0;
      api.onCommit = () => {
        asked += 1;
        return asked === 1 ? 'UNAVAILABLE' : undefined;
      };
      expect(await streams.commit(stream)).toBe('committed');
      expect(asked).toBe(2);
    });
  });
});

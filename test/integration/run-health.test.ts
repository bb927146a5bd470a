import { createServer, type AddressInfo } from 'node:net';

import { describe, expect, test, vi } from 'vitest';

import type { ConsumeReport } from '../../src/lib/roles/reports.ts';
import { rolePipelines, type RolePipeline } from '../support/role-pipeline.ts';

/** What a running role tells those who watch it: probes, Prometheus, and the reports of a terminal. */
const pipelines = await rolePipelines();
const batch = { maxRows: 20, maxWait: '50ms' };
const host = '127.0.0.1';

interface Watched {
  readonly url: string;
  readonly get: (path: string, method?: string) => Promise<{ status: number; text: string }>;
  readonly stop: () => Promise<unknown>;
  readonly reports: ConsumeReport[];
}

async function watched(role: RolePipeline): Promise<Watched> {
  const stop = new AbortController();
  const url = Promise.withResolvers<string>();
  const reports: ConsumeReport[] = [];
  const running = role.consume({
    untilDrained: false,
    metrics: { host, port: 0 },
    signal: stop.signal,
    reportEveryMs: 100,
    onReport: (report) => reports.push(report),
    notice: (text) => {
      const found = /http:\/\/[\d.:]+/.exec(text)?.[0];
      if (found !== undefined) {
        url.resolve(found);
      }
    },
  });
  running.catch((error: unknown) => url.reject(error));
  const base = await url.promise;
  return {
    url: base,
    get: async (path, method = 'GET') => {
      const response = await fetch(`${base}${path}`, { method });
      return { status: response.status, text: await response.text() };
    },
    stop: () => {
      stop.abort();
      return running;
    },
    reports,
  };
}

const values = (count: number, bad: number): { key: null; value: Buffer; timestampMs: number }[] =>
  Array.from({ length: count }, (_, index) => ({
    key: null,
    value: Buffer.from(index < bad ? '{broken' : JSON.stringify({ id: `e${index}`, type: 't' })),
    timestampMs: Date.now() - 5000,
  }));

/** Samples of the Prometheus text format, by name and labels in a fixed order. */
function samples(text: string): ReadonlyMap<string, number> {
  return new Map(
    text.split('\n').flatMap((line): [string, number][] => {
      const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null) {
        return [];
      }
      const labels = (match[2] ?? '').split(',').filter((label) => label !== '' && !/^(role|topic)=/.test(label));
      return [
        [`${match[1]}{${labels.toSorted((left, right) => (left < right ? -1 : 1)).join(',')}}`, Number(match[3])],
      ];
    }),
  );
}

describe('a running role', () => {
  test('is live and ready once it is a member, and counts what it did in Prometheus’ format', async () => {
    const role = await pipelines.open({ role: 'events', settings: { batch } });
    await role.send([...values(50, 3), ...values(50, 0)]);
    const run = await watched(role);
    await vi.waitFor(async () => expect(await run.get('/readyz')).toEqual({ status: 200, text: 'ok\n' }), 90_000);
    expect(await run.get('/livez')).toEqual({ status: 200, text: 'ok\n' });
    await vi.waitUntil(
      async () => samples((await run.get('/metrics')).text).get('kpipe_position{partition="0"}') === 100,
      90_000,
    );
    const { text } = await run.get('/metrics');
    const found = samples(text);
    const ofPartition = (name: string): number | undefined => found.get(`${name}{partition="0"}`);
    expect([
      ofPartition('kpipe_records_total'),
      ofPartition('kpipe_records_stored_total'),
      ofPartition('kpipe_records_duplicate_total'),
      found.get('kpipe_dead_letters_total{partition="0",reason="malformed_json"}'),
      ofPartition('kpipe_lag_records'),
      found.get('kpipe_assigned_partitions{}'),
      found.get('kpipe_claimed_partitions{}'),
      found.get('kpipe_rebalances_total{}'),
    ]).toEqual([100, 50, 47, 3, 0, 1, 1, 1]);
    const batches = found.get('kpipe_batch_duration_seconds_count{}') ?? 0;
    expect(batches).toBeGreaterThanOrEqual(5);
    expect(found.get('kpipe_end_to_end_latency_seconds_count{}')).toBe(batches);
    // Every record was five seconds old when it was sent.
    expect(found.get('kpipe_end_to_end_latency_seconds_bucket{le="2.5"}')).toBe(0);
    expect(found.get('process_resident_memory_bytes{}')).toBeGreaterThan(10_000_000);
    const declared = [...text.matchAll(/^# TYPE (\S+) (counter|gauge|histogram|summary)$/gm)].map(([, name]) => name);
    const described = [...text.matchAll(/^# HELP (\S+) \S/gm)].map(([, name]) => name);
    expect(declared).toEqual(described);
    expect(declared.filter((name) => name?.startsWith('kpipe_'))).toHaveLength(18);
    await run.stop();
    await expect(fetch(`${run.url}/livez`)).rejects.toThrow('fetch failed');
  });

  test('answers nothing else', async () => {
    const role = await pipelines.open({ role: 'logs', settings: { batch } });
    const run = await watched(role);
    expect([
      (await run.get('/')).status,
      (await run.get('/metrics/../livez')).status,
      (await run.get('/livez', 'POST')).status,
      (await run.get('/livez?verbose')).status,
      await run.get('/readyz', 'HEAD').then(({ text }) => text),
    ]).toEqual([404, 200, 405, 200, '']);
    await run.stop();
  });

  test('waits for its store: live, not ready, with the reason; and its report tells why and how far it is behind', async () => {
    const role = await pipelines.open({
      role: 'events',
      settings: { batch },
      postgres: { pool: { statementTimeout: '300ms' } },
    });
    const run = await watched(role);
    await vi.waitFor(async () => expect((await run.get('/readyz')).status).toBe(200), 90_000);
    await pipelines.query('begin; lock table kpipe.events in share mode');
    await role.send(values(10, 0));
    await vi.waitFor(async () => {
      const { status, text } = await run.get('/readyz');
      expect([status, text]).toEqual([
        503,
        expect.stringMatching(/^waiting: KPIPE_POSTGRES_FAILED PostgreSQL: /) as string,
      ]);
    }, 90_000);
    expect((await run.get('/livez')).status).toBe(200);
    expect(samples((await run.get('/metrics')).text).get('kpipe_paused{code="KPIPE_POSTGRES_FAILED"}')).toBe(1);
    await vi.waitFor(
      () =>
        expect(run.reports.at(-1)).toMatchObject({
          lagRecords: 10,
          paused: expect.stringMatching(/^KPIPE_POSTGRES_FAILED /) as string,
        }),
      90_000,
    );
    await pipelines.query('rollback');
    await vi.waitFor(async () => expect(await run.get('/readyz')).toEqual({ status: 200, text: 'ok\n' }), 90_000);
    await vi.waitFor(
      () => expect(run.reports.at(-1)).toMatchObject({ lagRecords: 0, paused: null, totals: { stored: 10 } }),
      90_000,
    );
    expect(run.reports.some(({ batchMs }) => batchMs !== null && batchMs > 250)).toBe(true);
    expect(samples((await run.get('/metrics')).text).has('kpipe_paused{code="KPIPE_POSTGRES_FAILED"}')).toBe(false);
    await run.stop();
  });

  test('does not start on a port that is taken, and leaves nothing open', async () => {
    const role = await pipelines.open({ role: 'events', settings: { batch } });
    const taken = createServer().listen(0, host);
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as AddressInfo;
    await expect(role.consume({ metrics: { host, port } })).rejects.toMatchObject({
      code: 'KPIPE_USAGE',
      exitCode: 2,
      message: `no metrics on ${host}:${port}: something else listens there`,
    });
    await new Promise((resolve) => taken.close(resolve));
  });
});

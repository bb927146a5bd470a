import { expect, test, vi } from 'vitest';

import { verifyRole } from '../../src/lib/verify/verify-role.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';
import { rolePipelines } from '../support/role-pipeline.ts';

/** A PostgreSQL of this file's own, which is stopped under a running role and started again. */
const pipelines = await rolePipelines();
const cluster = await clusterOfFile({ standby: false });
const outageMs = 15_000;
const partitions = 3;

const records = (from: number, count: number) =>
  Array.from({ length: count }, (_, index) => {
    const id = from + index;
    const value = id % 50 === 0 ? '{broken' : JSON.stringify({ id: `e${id}`, type: 'order.changed', data: { id } });
    return { partition: id % partitions, key: Buffer.from(String(id)), value: Buffer.from(value) };
  });

test.each([
  ['stopped', 'SIGINT'],
  ['crashed', 'SIGQUIT'],
] as const)(`PostgreSQL is %s for ${outageMs / 1000} s: it costs time, and nothing else`, async (_what, how) => {
  const role = await pipelines.open({
    role: 'events',
    partitions,
    settings: { batch: { maxRows: 40, maxWait: '50ms' } },
    postgres: { primary: cluster.primary.url },
  });
  const stop = new AbortController();
  const url = Promise.withResolvers<string>();
  const notices: string[] = [];
  const running = role.consume({
    untilDrained: false,
    metrics: { host: '127.0.0.1', port: 0 },
    signal: stop.signal,
    notice: (text) => {
      notices.push(text);
      url.resolve(/http:\/\/[\d.:]+/.exec(text)?.[0] ?? '');
    },
  });
  running.catch((error: unknown) => url.reject(error));
  const base = await url.promise;
  const status = async (path: string): Promise<number> => (await fetch(`${base}${path}`)).status;
  const storedCount = async (): Promise<number> => {
    const sql = `select count(*)::int as n from kpipe.events where topic = '${role.topic}'`;
    const [row] = await cluster.sql<{ n: number }>(sql, { database: 'app' });
    return row?.n ?? 0;
  };
  await role.send(records(0, 500));
  await vi.waitUntil(async () => (await storedCount()) === 490, { timeout: 90_000, interval: 50 });
  await vi.waitUntil(async () => (await status('/readyz')) === 200, { timeout: 90_000, interval: 50 });

  await cluster.stopPrimary(how);
  const stoppedAt = performance.now();
  await role.send(records(500, 3000));
  await vi.waitUntil(async () => (await status('/readyz')) === 503, { timeout: 90_000, interval: 50 });
  await vi.waitUntil(
    async () => {
      expect([await status('/livez'), await status('/readyz')]).toEqual([200, 503]);
      return performance.now() - stoppedAt > outageMs;
    },
    { timeout: outageMs + 60_000, interval: 500 },
  );
  await cluster.startPrimary();
  await vi.waitUntil(async () => (await storedCount()) === 3430, { timeout: 120_000, interval: 50 });
  await vi.waitUntil(async () => (await status('/readyz')) === 200, { timeout: 90_000, interval: 50 });
  stop.abort();

  const { totals } = await running;
  expect(totals).toEqual({ records: 3500, stored: 3430, duplicates: 0, deadLetters: 70, skipped: 0 });
  expect(notices.filter((text) => text.startsWith('waiting: KPIPE_POSTGRES_UNREACHABLE'))).not.toEqual([]);
  expect(notices.at(-1)).toBe('going on');
  const letters = await role.deadLetters();
  expect(letters.map(({ key }) => Number(key)).toSorted((left, right) => left - right)).toEqual(
    Array.from({ length: 70 }, (_, index) => index * 50),
  );
  const verified = await verifyRole(role.config, 'events', {
    deep: true,
    signal: new AbortController().signal,
    now: Date.now,
    onProgress: () => undefined,
  });
  expect(verified).toMatchObject({ balanced: true });
  expect(verified.stretches.reduce((sum, { compared }) => sum + compared, 0)).toBe(3430);
});

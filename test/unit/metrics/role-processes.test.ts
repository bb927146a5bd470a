import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, describe, expect, test } from 'vitest';

import { createRoleMetrics } from '../../../src/lib/metrics/role-metrics.ts';
import { ProcessWatch } from '../../../src/lib/metrics/role-processes.ts';
import { bucketsBetween, mergeBuckets, quantileOf, readRoleMetrics } from '../../../src/lib/metrics/scrape.ts';

const state = {
  assigned: 6,
  held: 5,
  isDraining: false,
  failure: null,
  paused: new Map([['KPIPE_POSTGRES_UNREACHABLE', 'away']] as const),
  isBusy: false,
  stillMs: 0,
};

/** What a role's process serves. */
async function servedMetrics(): Promise<string> {
  const metrics = await createRoleMetrics('events');
  metrics.observe({ state: () => state, backlog: () => Promise.resolve([]) });
  return (await metrics.read()).text;
}

describe('the metrics of a role’s process', () => {
  test('given what a role serves, when it is read back, then the role and its partitions are known', async () => {
    expect(readRoleMetrics(await servedMetrics())).toMatchObject({
      role: 'events',
      assigned: 6,
      claimed: 5,
      paused: ['KPIPE_POSTGRES_UNREACHABLE'],
      records: 0,
      deadLetters: 0,
    });
  });

  test('given counters and a histogram, then they are summed, and the buckets stand in order', () => {
    const read = readRoleMetrics(
      [
        '# HELP kpipe_records_total records',
        'kpipe_records_total{topic="events",partition="0",role="events"} 10',
        'kpipe_records_total{topic="a\\"b}",partition="1",role="events"} 5',
        'kpipe_end_to_end_latency_seconds_bucket{le="+Inf",role="events"} 4',
        'kpipe_end_to_end_latency_seconds_bucket{le="0.25",role="events"} 3',
        'kpipe_assigned_partitions{role="events"} 6',
      ].join('\n'),
    );
    expect(read?.records).toBe(15);
    expect(read?.latencyBuckets).toEqual([
      { upToSeconds: 0.25, count: 3 },
      { upToSeconds: Number.POSITIVE_INFINITY, count: 4 },
    ]);
  });

  test('given something else, then it is no role’s', () => {
    expect(readRoleMetrics('<html>')).toBeNull();
    expect(readRoleMetrics('process_cpu_seconds_total 1')).toBeNull();
  });
});

describe('latencies between two readings', () => {
  const bucket = (upToSeconds: number, count: number) => ({ upToSeconds, count });
  const before = [bucket(0.1, 10), bucket(1, 10), bucket(Number.POSITIVE_INFINITY, 10)];
  const now = [bucket(0.1, 59), bucket(1, 109), bucket(Number.POSITIVE_INFINITY, 110)];

  test('given both, then only what came between counts', () => {
    const between = bucketsBetween(before, now);
    expect(between.map(({ count }) => count)).toEqual([49, 99, 100]);
    expect(quantileOf(between, 0.5)).toEqual({ upToMs: 1000 });
    expect(quantileOf(between, 0.49)).toEqual({ upToMs: 100 });
    expect(quantileOf(between, 1)).toEqual({ upToMs: Number.POSITIVE_INFINITY });
  });

  test('given a process that started again, then all of its counts are new', () => {
    expect(bucketsBetween(now, before)).toEqual(before);
  });

  test('given no batch, then there is no latency', () => {
    expect(quantileOf(bucketsBetween(now, now), 0.5)).toBeNull();
    expect(quantileOf([], 0.5)).toBeNull();
  });

  test('given two processes, then their counts are one', () => {
    expect(mergeBuckets([before, now]).map(({ count }) => count)).toEqual([69, 119, 120]);
  });
});

describe('processes over HTTP', () => {
  const servers: Server[] = [];

  afterEach(() => {
    servers.splice(0).forEach((server) => server.close());
  });

  async function serve(text: () => string, ready: boolean): Promise<string> {
    const server = createServer((request, response) => {
      const isReady = request.url === '/readyz';
      response.writeHead(isReady && !ready ? 503 : 200).end(isReady ? (ready ? 'ok\n' : 'draining\n') : text());
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const metrics = (records: number, batches: number): string =>
    [
      'kpipe_assigned_partitions{role="events"} 3',
      `kpipe_records_total{topic="t",partition="0",role="events"} ${records}`,
      `kpipe_end_to_end_latency_seconds_bucket{le="0.5",role="events"} ${batches}`,
      `kpipe_end_to_end_latency_seconds_bucket{le="+Inf",role="events"} ${batches}`,
    ].join('\n');

  test('given two looks at two processes, one of them away, then rates and latencies are of the one that answers', async () => {
    let records = 100;
    let now = 0;
    const well = await serve(() => metrics(records, records / 10), true);
    const gone = await serve(() => '', true);
    servers.pop()?.close();
    const draining = await serve(() => metrics(0, 0), false);
    const watch = new ProcessWatch([well, gone, draining], () => now);
    const { signal } = new AbortController();

    const [first] = (await watch.look(signal)).roles;
    expect(first).toMatchObject({ overMs: 0, recordsPerSec: null, p50UpToMs: null, processes: 2, ready: 1 });

    records = 300;
    now = 10_000;
    const second = await watch.look(signal);
    expect(second.roles).toEqual([
      expect.objectContaining({ role: 'events', overMs: 10_000, recordsPerSec: 20, batches: 20, p50UpToMs: 500 }),
    ]);
    expect(second.processes.map(({ ready }) => ready)).toEqual([true, null, false]);
    expect(second.processes[1]?.reasons[0]).toMatch(/ECONNREFUSED/);
    expect(second.processes[2]?.reasons).toEqual(['draining']);
  });
});

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, inject, test, vi } from 'vitest';

import { parseConfig, type RedisConfig } from '../../src/lib/config/load.ts';
import type { ProjectionConfig } from '../../src/lib/config/schema.ts';
import type { ProjectionChange } from '../../src/lib/records/projection.ts';
import { openRedis, type Redis } from '../../src/lib/redis/client.ts';
import { createEntityCache, entityKey } from '../../src/lib/redis/entity-cache.ts';
import { findRedis, isMissing } from '../../src/lib/sandbox/tools.ts';
import { freePort } from '../support/free-port.ts';
import { uniqueTopic } from '../support/servers.ts';

const { redisUrl } = inject('servers');
const tool = findRedis(process.env);
const redisServer = isMissing(tool) ? 'redis-server' : tool.server;
const ttlMs = 60_000;

function redisConfig(url: string): RedisConfig {
  const text = JSON.stringify({ pipeline: 't', kafka: { brokers: ['localhost:1'] }, redis: { url } });
  return parseConfig(text, '/dev/null/kpipe.yaml', process.env).redis!;
}

const projectionOf = (table: string): ProjectionConfig => ({
  match: { type: '*' },
  table: `public.${table}`,
  key: { order_id: { from: 'data.orderId', type: 'text' } },
  columns: { status: { from: 'data.status', type: 'text' } },
  deleteOn: [],
});

const upsert = (key: string, offset: number | bigint, status: string | null = `at ${offset}`): ProjectionChange => ({
  projection: 0,
  kind: 'upsert',
  key: [key],
  columns: [status],
  offset: BigInt(offset),
});
const deletion = (key: string, offset: number): ProjectionChange => ({
  projection: 0,
  kind: 'delete',
  key: [key],
  columns: [],
  offset: BigInt(offset),
});

let redis: Redis;
beforeAll(async () => {
  redis = await openRedis(redisConfig(redisUrl), () => undefined);
  await vi.waitUntil(() => redis.status === 'ready', { timeout: 30_000, interval: 20 });
});
afterAll(() => redis.disconnect());

/** A cache of one test's own table, deleted after it. */
function cacheOf(random = () => 0) {
  const table = uniqueTopic('orders').replace('-', '_');
  const cache = createEntityCache({
    redis,
    projections: [projectionOf(table), { ...projectionOf('other'), table: 'public.other' }],
    entities: [table],
    ttlMs,
    random,
  });
  const keys = new Set<string>();
  const entry = async (key: string): Promise<Record<string, string>> => {
    keys.add(entityKey(table, [key]));
    return redis.hgetall(entityKey(table, [key]));
  };
  const forget = async (): Promise<void> => {
    await cache.close();
    await redis.unlink(...keys);
  };
  return { cache, table, entry, forget };
}

describe('an entry', () => {
  test('is the row by column names, with its position; a delete leaves a mark without a row', async () => {
    const { cache, entry, forget } = cacheOf();
    expect(
      await cache.apply(3, [
        upsert('a', 7),
        upsert('b', 8, null),
        deletion('c', 9),
        { ...upsert('x', 1), projection: 1 },
      ]),
    ).toBe(3);
    expect(await entry('a')).toEqual({ p: '3', o: '7', row: '{"order_id":"a","status":"at 7"}' });
    expect(await entry('b')).toEqual({ p: '3', o: '8', row: '{"order_id":"b","status":null}' });
    expect(await entry('c')).toEqual({ p: '3', o: '9', row: '' });
    await forget();
  });

  test.each([
    [
      'the next offset',
      [
        [0, 5],
        [0, 6],
      ],
      '0:6',
    ],
    [
      'an older offset',
      [
        [0, 6],
        [0, 5],
      ],
      '0:6',
    ],
    [
      'the same offset',
      [
        [0, 6],
        [0, 6],
      ],
      '0:6',
    ],
    [
      'one digit more',
      [
        [0, 9],
        [0, 10],
      ],
      '0:10',
    ],
    [
      'one digit less',
      [
        [0, 10],
        [0, 9],
      ],
      '0:10',
    ],
    [
      'beyond 2^53',
      [
        [0, 9_007_199_254_740_992n],
        [0, 9_007_199_254_740_993n],
      ],
      '0:9007199254740993',
    ],
    [
      'back across 2^53',
      [
        [0, 9_007_199_254_740_993n],
        [0, 9_007_199_254_740_992n],
      ],
      '0:9007199254740993',
    ],
    [
      'a higher partition',
      [
        [2, 100],
        [10, 1],
      ],
      '10:1',
    ],
    [
      'a lower partition',
      [
        [10, 1],
        [2, 100],
      ],
      '10:1',
    ],
  ] as const)('keeps the later version: %s', async (_what, writes, version) => {
    const { cache, entry, forget } = cacheOf();
    const written: number[] = [];
    for (const [partition, offset] of writes) {
      written.push(await cache.apply(partition, [upsert('a', offset)]));
    }
    const { p, o, row } = await entry('a');
    expect(`${p}:${o}`).toBe(version);
    expect(row).toContain(`at ${o}`);
    const [, second] = writes;
    expect(written).toEqual([1, `${second[0]}:${second[1]}` === version && writes[0][1] !== second[1] ? 1 : 0]);
    await forget();
  });

  test('of a table in another schema is not that of its namesake', async () => {
    const table = uniqueTopic('orders').replace('-', '_');
    const inSales = `sales.${table}`;
    const projections = [projectionOf(table), { ...projectionOf(table), table: inSales }];
    const cache = createEntityCache({ redis, projections, entities: [table], ttlMs, random: () => 0 });
    expect(await cache.apply(0, [upsert('a', 1, 'public'), { ...upsert('a', 2, 'sales'), projection: 1 }])).toBe(2);
    const statusAt = async (key: string): Promise<unknown> =>
      JSON.parse((await redis.hget(key, 'row')) ?? 'null') as unknown;
    expect(await statusAt(`kpipe:entity:v1:${table}:a`)).toEqual({ order_id: 'a', status: 'public' });
    expect(await statusAt(`kpipe:entity:v1:sales.${table}:a`)).toEqual({ order_id: 'a', status: 'sales' });
    cache.invalidate();
    await vi.waitUntil(async () => (await redis.exists(entityKey(table, ['a']), entityKey(inSales, ['a']))) === 0, {
      timeout: 30_000,
      interval: 20,
    });
    await cache.close();
  });

  test('of a table that two projections write holds the columns of both, also where one event changes both', async () => {
    const { cache, entry, forget } = cacheOf();
    const row = (status: string, paid: string | null): Pick<ProjectionChange, 'row'> => ({
      row: { order_id: 'a', status, paid },
    });
    await cache.apply(0, [{ ...upsert('a', 1, 'new'), ...row('new', null) }]);
    await cache.apply(0, [
      { ...upsert('a', 2, 'paid'), ...row('paid', null) },
      { ...upsert('a', 2, 'paid'), ...row('paid', '7') },
    ]);
    expect(await entry('a')).toEqual({ p: '0', o: '2', row: '{"order_id":"a","status":"paid","paid":"7"}' });
    await forget();
  });

  test('an older row does not come back over a delete, a newer one does', async () => {
    const { cache, entry, forget } = cacheOf();
    await cache.apply(0, [deletion('a', 9)]);
    expect(await cache.apply(0, [upsert('a', 5)])).toBe(0);
    expect(await entry('a')).toMatchObject({ o: '9', row: '' });
    expect(await cache.apply(0, [upsert('a', 10)])).toBe(1);
    expect(await entry('a')).toMatchObject({ o: '10' });
    await forget();
  });

  test('lives for the TTL at most, and up to a tenth less', async () => {
    for (const [random, share] of [
      [0, 1],
      [0.999, 0.9],
    ] as const) {
      const { cache, table, entry, forget } = cacheOf(() => random);
      await cache.apply(0, [upsert('a', 1)]);
      await entry('a');
      const left = await redis.pttl(entityKey(table, ['a']));
      expect(left).toBeLessThanOrEqual(ttlMs * share + 60);
      expect(left).toBeGreaterThan(ttlMs * share - 5000);
      await forget();
    }
  });

  test('of 1,200 in one batch none is missing', async () => {
    const { cache, entry, forget } = cacheOf();
    const changes = Array.from({ length: 1200 }, (_, index) => upsert(`k${index}`, index));
    await vi.waitFor(async () => {
      await cache.apply(0, changes);
      const entries = await Promise.all(changes.map((change) => entry(change.key[0]!)));
      expect(entries.map(({ o }) => Number(o))).toEqual(changes.map(({ offset }) => Number(offset)));
    }, 60_000);
    await forget();
  });

  test('has a key that no other row of its table can have', () => {
    expect(entityKey('orders', ['a:b'])).toBe('kpipe:entity:v1:orders:a:b');
    expect(entityKey('orders', ['a', 'b,"c'])).not.toBe(entityKey('orders', ['a,"b', 'c']));
  });
});

describe('a Redis that is away', () => {
  const started: ChildProcess[] = [];
  const directories: string[] = [];
  afterAll(async () => {
    for (const server of started.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    }
    directories.forEach((directory) => rmSync(directory, { recursive: true, force: true }));
  });

  async function ownRedis(): Promise<{
    readonly server: ChildProcess;
    readonly url: string;
    readonly start: () => ChildProcess;
  }> {
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), 'kpipe-redis-'));
    directories.push(directory);
    const start = (): ChildProcess => {
      const server = spawn(
        redisServer,
        ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', directory],
        { stdio: 'ignore' },
      );
      started.push(server);
      return server;
    };
    return { server: start(), url: `redis://127.0.0.1:${port}/0`, start };
  }

  test('throws nothing, holds up nobody for good, and is written to again when it is back', async () => {
    const { server, url, start } = await ownRedis();
    const client = await openRedis(redisConfig(url), () => undefined);
    const cache = createEntityCache({
      redis: client,
      projections: [projectionOf('orders')],
      entities: ['orders'],
      ttlMs,
      random: () => 0,
    });
    const applied = async (offset: number): Promise<{ written: number }> => ({
      written: await cache.apply(0, [upsert('a', offset)]),
    });
    await vi.waitFor(async () => {
      expect((await applied(1)).written + (await client.exists(entityKey('orders', ['a'])))).toBeGreaterThan(0);
    }, 60_000);

    server.kill('SIGSTOP');
    const stopped = await applied(2);
    expect(stopped.written).toBe(0);
    const resting = await applied(3);
    expect(resting.written).toBe(0);

    server.kill('SIGCONT');
    await vi.waitFor(async () => {
      await applied(4);
      expect(await client.hget(entityKey('orders', ['a']), 'o')).toBe('4');
    }, 60_000);

    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
    expect((await applied(5)).written).toBe(0);
    const dead = await applied(6);
    expect(dead.written).toBe(0);

    start();
    await vi.waitFor(async () => {
      await applied(7);
      expect(await client.hget(entityKey('orders', ['a']), 'o')).toBe('7');
    }, 60_000);
    await cache.close();
    client.disconnect();
  });

  /** A cache on a Redis of its own that has entries of the rows a and b, each at offset 1. */
  async function filled() {
    const own = await ownRedis();
    const client = await openRedis(redisConfig(own.url), () => undefined);
    const cache = createEntityCache({
      redis: client,
      projections: [projectionOf('orders')],
      entities: ['orders'],
      ttlMs,
      random: () => 0,
    });
    const offsets = (): Promise<readonly (string | null)[]> =>
      Promise.all(['a', 'b', 'c'].map((key) => client.hget(entityKey('orders', [key]), 'o')));
    const become = (expected: readonly (string | null)[]): Promise<void> =>
      vi.waitFor(async () => expect(await offsets()).toEqual(expected), { timeout: 60_000, interval: 20 });
    await cache.apply(0, [upsert('a', 1), upsert('b', 1)]);
    await become(['1', '1', null]);
    const end = async (): Promise<void> => {
      await cache.close();
      client.disconnect();
    };
    return { ...own, client, cache, become, end };
  }

  test('is told what it missed when it answers again, though nothing more comes: of each entry the newest', async () => {
    const { server, cache, become, end } = await filled();
    server.kill('SIGSTOP');
    expect(await cache.apply(0, [upsert('a', 2), upsert('b', 2)])).toBe(0);
    expect(await cache.apply(0, [upsert('a', 4), upsert('c', 5)])).toBe(0);
    expect(await cache.apply(0, [deletion('b', 6)])).toBe(0);
    server.kill('SIGCONT');
    await become(['4', '6', '5']);
    await end();
  });

  test('that missed more than is remembered loses every entry, and no other key', async () => {
    const { server, client, cache, become, end } = await filled();
    await client.set('kpipe:entity:v1:orders_of_others:a', 'stays');
    server.kill('SIGSTOP');
    const long = 'x'.repeat(1_000_000);
    for (let offset = 2; offset < 12; offset += 1) {
      expect(await cache.apply(0, [upsert(`long-${offset}`, offset, long)])).toBe(0);
    }
    server.kill('SIGCONT');
    await become([null, null, null]);
    expect(await client.get('kpipe:entity:v1:orders_of_others:a')).toBe('stays');
    await vi.waitFor(async () => {
      expect(await cache.apply(0, [upsert('a', 20)])).toBe(1);
    }, 60_000);
    await end();
  });

  test('that comes back with the entries of a snapshot loses them: they may be older than their rows', async () => {
    const { server, client, cache, become, end, start } = await filled();
    await client.save();
    await vi.waitFor(async () => {
      await cache.apply(0, [upsert('a', 2)]);
      expect(await client.hget(entityKey('orders', ['a']), 'o')).toBe('2');
    }, 60_000);
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
    start();
    await become([null, null, null]);
    await end();
  });

  test('from the start is no failure either', async () => {
    const client = await openRedis(redisConfig('redis://127.0.0.1:1/0'), () => undefined);
    const cache = createEntityCache({
      redis: client,
      projections: [projectionOf('orders')],
      entities: ['orders'],
      ttlMs,
      random: () => 0,
    });
    expect(await cache.apply(0, [upsert('a', 1)])).toBe(0);
    await cache.close();
    client.disconnect();
  });
});

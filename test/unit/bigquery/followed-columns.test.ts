import { describe, expect, test } from 'vitest';

import { FollowedColumns } from '../../../src/lib/bigquery/followed-columns.ts';
import { compileTypedColumns } from '../../../src/lib/bigquery/typed-columns.ts';
import type { WarehouseColumns } from '../../../src/lib/config/schema.ts';
import { KpipeError } from '../../../src/lib/errors.ts';

const compile = (declared: WarehouseColumns): ReturnType<typeof compileTypedColumns> =>
  compileTypedColumns(declared, 100);
const url: WarehouseColumns = { '*': { url: { from: 'data.url', type: 'STRING' } } };
const ms: WarehouseColumns = { '*': { ms: { from: 'data.ms', type: 'INT64' } } };

/** A role that begins with `url`, in a world that a test changes. */
function follow() {
  const world = {
    nowMs: 0,
    declared: (): Promise<WarehouseColumns | null> => Promise.resolve(null),
    problems: (): Promise<readonly string[]> => Promise.resolve([]),
    looks: 0,
    notices: [] as string[],
  };
  const followed = new FollowedColumns({
    initial: compile(url),
    declared: () => world.declared(),
    compile,
    problems: () => {
      world.looks += 1;
      return world.problems();
    },
    notice: (text) => void world.notices.push(text),
    nowMs: () => world.nowMs,
  });
  const names = async (afterMs = 5000): Promise<string> => {
    world.nowMs += afterMs;
    return (await followed.current()).columns.map(({ name }) => name).join();
  };
  return { world, names };
}

describe('the columns of a role that runs', () => {
  test('stay while kpipe.yaml says the same, and nobody is asked', async () => {
    const { world, names } = follow();
    expect(await names()).toBe('url');
    world.declared = () => Promise.resolve(url);
    expect(await names()).toBe('url');
    expect(world).toMatchObject({ looks: 0, notices: [] });
  });

  test('are the new ones once the table can take them, which is told', async () => {
    const { world, names } = follow();
    let calls = 0;
    world.declared = () => Promise.resolve((calls += 1) === 1 ? { ...url, ...ms } : null);
    world.problems = () => Promise.resolve(['no column ms']);
    expect(await names()).toBe('url');
    expect(await names()).toBe('url');
    expect(world.notices).toEqual([expect.stringMatching(/no column ms.*kpipe warehouse apply/)]);
    world.problems = () => Promise.resolve([]);
    expect(await names()).toBe('ms');
    expect(world.notices.at(-1)).toBe('declared columns in use: ms');
    const { looks } = world;
    expect(await names()).toBe('ms');
    expect(world.looks).toBe(looks);
  });

  test('are not looked after more often than every five seconds', async () => {
    const { world, names } = follow();
    let calls = 0;
    world.declared = () => {
      calls += 1;
      return Promise.resolve(null);
    };
    await names();
    await names(1000);
    await names(3999);
    expect(calls).toBe(1);
    await names(1);
    expect(calls).toBe(2);
  });

  test('stay while BigQuery does not answer, and change when it does', async () => {
    const { world, names } = follow();
    let calls = 0;
    world.declared = () => Promise.resolve((calls += 1) === 1 ? ms : null);
    world.problems = () => Promise.reject(new KpipeError('KPIPE_BIGQUERY_UNREACHABLE', 'away'));
    expect(await names()).toBe('url');
    expect(world.notices).toEqual([]);
    world.problems = () => Promise.resolve([]);
    expect(await names()).toBe('ms');
  });

  test('stay when kpipe.yaml cannot be read any more, which is told once', async () => {
    const { world, names } = follow();
    world.declared = () => Promise.reject(new KpipeError('KPIPE_CONFIG_INVALID', 'kpipe.yaml:3:1: not YAML'));
    expect(await names()).toBe('url');
    expect(await names()).toBe('url');
    expect(world.notices).toEqual(['the columns stay as they are: kpipe.yaml:3:1: not YAML']);
  });

  test('stay when a change is taken back before the table had it', async () => {
    const { world, names } = follow();
    world.declared = () => Promise.resolve(ms);
    world.problems = () => Promise.resolve(['no column ms']);
    expect(await names()).toBe('url');
    world.declared = () => Promise.resolve(url);
    world.problems = () => Promise.resolve([]);
    expect(await names()).toBe('url');
    expect(await names()).toBe('url');
  });

  test('batches that come while somebody looks wait for the same look', async () => {
    const { world, names } = follow();
    let calls = 0;
    const answer = Promise.withResolvers<WarehouseColumns | null>();
    world.declared = () => {
      calls += 1;
      return answer.promise;
    };
    const both = Promise.all([names(), names(0)]);
    answer.resolve(ms);
    expect(await both).toEqual(['ms', 'ms']);
    expect(calls).toBe(1);
  });
});

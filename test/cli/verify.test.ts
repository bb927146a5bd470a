import { chmodSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';

import { describe, expect, test } from 'vitest';

import { strayMembers } from '../support/documents.ts';
import { pipelineDirectory } from '../support/pipeline-file.ts';
import { rolePipelines } from '../support/role-pipeline.ts';
import { kpipe, runProgram, root, type Ended } from '../support/run-kpipe.ts';

/** What a supervisor and a script get of `kpipe consume` and `kpipe verify`: exit codes, one document, probes. */
const pipelines = await rolePipelines();
const directory = pipelineDirectory();
const event = (id: string) => ({ key: null, value: Buffer.from(JSON.stringify({ id, type: 't' })) });
const broken = { key: null, value: Buffer.from('{broken') };

/** The database's URL has its password: nobody else may read the file. */
function written(text: string, name: string): string {
  const file = directory.write(text, name);
  chmodSync(file, 0o600);
  return file;
}

async function role(settings: Readonly<Record<string, unknown>> = {}) {
  const made = await pipelines.open({
    role: 'events',
    settings: { batch: { maxRows: 50, maxWait: '50ms' }, ...settings },
  });
  const file = written(made.text, `${made.topic}.yaml`);
  return { ...made, run: (...args: string[]): Promise<Ended> => kpipe([...args, '-c', file], directory.options), file };
}

describe('kpipe verify', () => {
  test('exit 0 and one document when everything balances; exit 3, with partition and offsets, when it does not', async () => {
    const { topic, send, run } = await role();
    await send([event('a'), broken, event('b'), event('a')]);
    expect((await run('consume', 'events', '--until-drained')).code).toBe(0);
    const good = await run('verify', 'events', '--json');
    expect(strayMembers('verify', JSON.parse(good.stdout))).toEqual([]);
    expect([good.code, JSON.parse(good.stdout)]).toEqual([
      0,
      expect.objectContaining({
        role: 'events',
        topic,
        balanced: true,
        findings: [],
        stretches: [expect.objectContaining({ nextOffset: '4', stored: 2, duplicates: 1, deadLetters: 1 }) as unknown],
      }),
    ]);
    const table = await run('verify', 'events', '--deep');
    expect([table.code, table.stdout]).toEqual([
      0,
      expect.stringMatching(
        /✓ role events: all of 4 offsets are accounted for, 2 rows held against their record/,
      ) as string,
    ]);
    await pipelines.query('delete from kpipe.events where topic = $1 and kafka_offset = 2', [topic]);
    const bad = await run('verify', 'events');
    expect([bad.code, bad.stdout]).toEqual([
      3,
      expect.stringContaining(
        `✗ ${topic}-0: counted as stored, and without a row: 1 (offsets 2)  rows-missing`,
      ) as string,
    ]);
  });

  test('exit 2 for what is no role, exit 1 when a store is away', async () => {
    const { run, text } = await role();
    expect((await run('verify', 'orders')).code).toBe(2);
    const away = text.replace(/postgres:\/\/[^"]+/, 'postgres://kpipe:x@127.0.0.1:1/none');
    const { code, stderr } = await kpipe(['verify', 'events', '-c', written(away, 'away.yaml')], directory.options);
    expect([code, stderr]).toEqual([1, expect.stringContaining('KPIPE_POSTGRES_UNREACHABLE') as string]);
  });
});

describe('kpipe consume', () => {
  test('exit 1 for a flood of dead letters, and for a schema that is not there', async () => {
    const flooded = await role({ deadLetterBreaker: { share: 0.5, of: 100 } });
    await flooded.send(Array.from({ length: 300 }, () => broken));
    const { code, stderr } = await flooded.run('consume', 'events', '--until-drained');
    expect([code, stderr]).toEqual([1, expect.stringContaining('KPIPE_DEAD_LETTER_FLOOD') as string]);
    const without = await role();
    await without.send([event('x')]);
    await pipelines.query('alter table kpipe.events rename column raw to rough');
    const ended = await without.run('consume', 'events', '--until-drained');
    await pipelines.query('alter table kpipe.events rename column rough to raw');
    expect([ended.code, ended.stderr]).toEqual([1, expect.stringContaining('KPIPE_SCHEMA_MISSING') as string]);
  });

  test('exit 2 for a port that is taken, and for a host without a port', async () => {
    const { run } = await role();
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as AddressInfo;
    const { code, stderr } = await run('consume', 'events', '--metrics-port', String(port));
    await new Promise((resolve) => taken.close(resolve));
    expect([code, stderr]).toEqual([2, expect.stringContaining('something else listens there') as string]);
    expect((await run('consume', 'events', '--metrics-host', '0.0.0.0')).code).toBe(2);
  });

  test('serves its probes until a SIGTERM drains it: exit 0', async () => {
    const { file, send } = await role();
    await send([event('a')]);
    const consumer = runProgram(
      process.execPath,
      [`${root}bin/run.js`, 'consume', 'events', '-c', file, '--metrics-port', '0', '--report-every', '100ms'],
      directory.options,
    );
    consumer.child.stdin.end();
    const [url] = await consumer.shows(/http:\/\/127\.0\.0\.1:\d+/);
    await consumer.shows(/"records":1,.*"lagRecords":0/);
    const ready = await fetch(`${url}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([200, 'ok\n']);
    consumer.child.kill('SIGTERM');
    expect((await consumer.ended).code).toBe(0);
    await expect(fetch(`${url}/livez`)).rejects.toThrow('fetch failed');
  });
});

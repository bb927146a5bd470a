/** Backups in a bucket, end to end: real PostgreSQL, a real S3 server, and a proxy between that refuses. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';

import { findBackup, listBackups } from '../../src/lib/backup/catalogue.ts';
import { generateEncryptionKey } from '../../src/lib/backup/keys.ts';
import { parseLsn, segmentAt, segmentName } from '../../src/lib/backup/lsn.ts';
import type { BackupPlace } from '../../src/lib/backup/place.ts';
import { pruneBackups } from '../../src/lib/backup/prune.ts';
import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { showBackup } from '../../src/lib/backup/show.ts';
import { backupDirectory, codesOf, create, receiving, verify } from '../support/backup-place.ts';
import { clusterOfFile, flipByte } from '../support/postgres-cluster.ts';
import { root, runProgram, type Ended, type Running } from '../support/run-kpipe.ts';
import { s3FaultsOfFile, s3ServerOfFile } from '../support/s3-server.ts';
import { s3Store } from '../support/s3-store.ts';

const bucket = 'backups-of-the-shop';
const prefix = 'production/postgres';
const [cluster, server] = await Promise.all([clusterOfFile(), s3ServerOfFile()]);
const faults = await s3FaultsOfFile(server);
server.bucket(bucket);
process.env['KPIPE_TEST_S3_SECRET'] = server.secretAccessKey;
const access = { endpoint: faults.endpoint, region: 'us-east-1', giveUp: '20s' };
const directory = await backupDirectory(cluster, {
  repository: `s3://${bucket}/${prefix}`,
  local: './local',
  s3: { ...access, accessKeyId: server.accessKeyId, secretAccessKey: '${env:KPIPE_TEST_S3_SECRET}' },
  keep: { full: 1, window: '1s' },
});
const config = join(directory.path, 'kpipe.yaml');
/** As the server has it, without what a test does in between. */
const store = s3Store(server.endpoint, bucket, `${prefix}/`);
const keysOf = async (begin: string): Promise<readonly string[]> => (await store.list(begin)).map(({ key }) => key);
const undo: (() => void)[] = [];
let place: BackupPlace;
let id: string;

beforeAll(async () => {
  // Bytes that no compression makes fewer: the copy is larger than one part.
  await cluster.sql(
    `create table public.blob as select i as id, string_agg(md5(random()::text), '') as bytes
       from generate_series(1, 1000) i, generate_series(1, 500) group by i;
     create table public.account (id bigint primary key, note text not null);
     insert into public.account select i, 'before' from generate_series(1, 500) i`,
    { database: 'app' },
  );
  writeFileSync(config, directory.configText(), { mode: 0o600 });
  place = directory.place();
});

afterEach(() => {
  undo.splice(0).forEach((each) => each());
});

function kpipeBackup(...args: string[]): Running {
  const running = runProgram(process.execPath, [`${root}bin/run.js`, 'backup', ...args, '--config', config], {
    cwd: directory.path,
  });
  running.child.stdin.end();
  return running;
}

/** Until the copy is being uploaded, and its second part cannot be stored. */
async function stuckInUpload(): Promise<{ readonly creating: Running; readonly lift: () => void }> {
  const before = faults.requests.length;
  const lift = faults.refuse(/^PUT .*partNumber=2/, 503, Number.MAX_SAFE_INTEGER);
  undo.push(lift);
  const creating = kpipeBackup('create', '--json');
  const isStuck = (): boolean => faults.requests.slice(before).some((line) => /partNumber=2/.test(line));
  await vi.waitUntil(isStuck, { timeout: 120_000, interval: 25 });
  return { creating, lift };
}

const account = (database: string, port: number): Promise<object[]> =>
  cluster.sql('select note, count(*)::int from public.account group by 1 order by 1', { database, port });

test('given a backup in a bucket and records after it, when it is proven and restored to an LSN in between, then the server holds exactly what it held there', async () => {
  const archive = receiving(place);
  ({ id } = await create(place));
  const report = await verify(directory, place, 'full', id);
  await cluster.sql(`insert into public.account select i, 'wanted' from generate_series(501, 900) i`, {
    database: 'app',
  });
  const [position] = await cluster.sql<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  await cluster.sql(
    `insert into public.account select i, 'too late' from generate_series(901, 1000) i; select pg_switch_wal()`,
    { database: 'app' },
  );
  await archive.stop();

  const restored = join(cluster.directory, `restored-${id}`);
  const result = await restoreBackup(
    place,
    {
      id,
      directory: restored,
      target: { kind: 'lsn', lsn: position!.lsn },
      promote: true,
      scratchRoot: directory.scratch,
      environment: process.env,
      signal: new AbortController().signal,
      report: () => undefined,
    },
    () => Promise.resolve(true),
  );
  await cluster.stopPrimary();
  try {
    await cluster.startOn('restored', restored, cluster.primary.port);
    expect(await account('app', cluster.primary.port)).toEqual([
      { note: 'before', count: 500 },
      { note: 'wanted', count: 400 },
    ]);
  } finally {
    await cluster.stop('restored');
    await cluster.startPrimary();
  }

  expect(report.checks.filter(({ ok }) => ok !== true)).toEqual([]);
  expect(report).toMatchObject({ ok: true, level: 'full' });
  expect(result.done).toBe(true);
  expect(await listBackups(place, Date.now())).toMatchObject([
    { id, signatureValid: true, encrypted: true, provenAt: expect.any(String), problem: null },
  ]);
  expect((await showBackup(place, undefined, Date.now())).entry.files.length).toBeGreaterThan(2);
  expect(await keysOf('unpublished/')).toEqual([]);
  expect(await keysOf('wal/')).not.toEqual([]);
});

describe('damage in the bucket', () => {
  const stored = async (name: string): Promise<string> => {
    const { entry } = await findBackup(place, id);
    const file = entry.files.find((each) => each.name.startsWith(name))!;
    return server.fileOf(bucket, `${prefix}/backups/${id}/${file.name}`);
  };
  const away = (path: string): void => {
    const aside = join(directory.path, 'aside');
    renameSync(path, aside);
    undo.push(() => renameSync(aside, path));
  };
  const flipped = (path: string): void => {
    flipByte(path, -1);
    undo.push(() => flipByte(path, -1));
  };
  const lastNeededSegment = async (): Promise<string> => {
    const { entry } = await findBackup(place, id);
    const first = segmentName(
      segmentAt(entry.timeline, parseLsn(entry.endLsn)!, entry.segmentBytes),
      entry.segmentBytes,
    );
    const [key] = await keysOf(`wal/${first}`);
    return server.fileOf(bucket, `${prefix}/${key!}`);
  };

  test.each([
    ['a flipped byte in an object', async () => flipped(await stored('base')), 'MANIFEST'],
    ['a missing object', async () => away(await stored('base')), 'MANIFEST'],
    ['a missing segment of the log', async () => away(await lastNeededSegment()), 'WAL_GAP'],
    ['a flipped byte in a segment of the log', async () => flipped(await lastNeededSegment()), 'WAL_CORRUPT'],
  ])('given %s, when it is verified, then its own code', async (_what, damage, code) => {
    await damage();

    const report = await verify(directory, place, 'manifest', id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual([code]);
  });

  test('given another encryption key, then KEY; given nothing broken any more, then it is good', async () => {
    writeFileSync(join(directory.path, 'other.key'), generateEncryptionKey());
    const other = directory.place({ backups: { encryption: { key: '${file:./other.key}' } } });

    expect(codesOf(await verify(directory, other, 'manifest', id))).toEqual(['KEY']);
    expect(await verify(directory, place, 'manifest', id)).toMatchObject({ ok: true });
  });

  test('given the store is away, when it is verified, then that is told, and nothing is said of the backup', async () => {
    const { provenAt, verified } = (await listBackups(place, Date.now()))[0]!;
    undo.push(faults.refuse(/^GET .*\/base/, 503, Number.MAX_SAFE_INTEGER));
    const impatient = directory.place({
      backups: {
        s3: { ...access, giveUp: '1s', accessKeyId: server.accessKeyId, secretAccessKey: server.secretAccessKey },
      },
    });

    await expect(verify(directory, impatient, 'manifest', id)).rejects.toMatchObject({ code: 'KPIPE_S3_UNREACHABLE' });

    expect((await listBackups(place, Date.now()))[0]).toMatchObject({ provenAt, verified: { at: verified!.at } });
  });
});

describe('an end in the middle of an upload', () => {
  test('given the store goes away and stays away, when a backup is taken, then KPIPE_S3_UNREACHABLE, no backup, and no secret in what is said', async () => {
    const before = await place.repository.listBackups();
    writeFileSync(
      config,
      directory.configText({
        backups: {
          s3: {
            ...access,
            giveUp: '2s',
            accessKeyId: server.accessKeyId,
            secretAccessKey: '${env:KPIPE_TEST_S3_SECRET}',
          },
        },
      }),
    );
    const { creating } = await stuckInUpload();
    undo.push(faults.refuse(/./, 503, Number.MAX_SAFE_INTEGER));

    const { code, stdout, stderr }: Ended = await creating.ended;
    undo.splice(0).forEach((each) => each());
    writeFileSync(config, directory.configText());

    expect(code, `stderr: ${stderr}`).toBe(1);
    expect(stdout + stderr).toContain('KPIPE_S3_UNREACHABLE');
    expect(stdout + stderr).not.toContain(server.secretAccessKey);
    expect(await place.repository.listBackups()).toEqual(before);
  });

  test('given kpipe is killed, when the next backup is taken, then nothing false was there, and parts, objects and marks of it are cleared', async () => {
    const before = await place.repository.listBackups();
    const { creating, lift } = await stuckInUpload();
    creating.child.kill('SIGKILL');
    await creating.ended;
    lift();
    expect(await place.repository.listBackups()).toEqual(before);
    const marks = await keysOf('unpublished/');
    expect(marks).not.toEqual([]);

    const made = await create(place);

    // A standby that it had paused meanwhile is told of, too.
    expect(made.repaired).toEqual(
      expect.arrayContaining(
        marks.map((key) => expect.stringContaining(key.slice('unpublished/'.length, -'.json'.length))),
      ),
    );
    expect(await place.repository.listBackups()).toEqual([...before, made.id]);
    expect(await store.abortUploads('')).toBe(0);
    expect(new Set((await keysOf('backups/')).map((key) => key.split('/')[1]))).toEqual(new Set([...before, made.id]));
    expect(await keysOf('unpublished/')).toEqual([]);
    expect(await verify(directory, place, 'manifest', made.id)).toMatchObject({ ok: true });
  });
});

test('given more backups than are kept, when the bucket is pruned, then the objects of what is not kept are gone, and what is proven stays', async () => {
  const proven = (await place.repository.listBackups())[0]!;
  const newest = (await create(place)).id;

  const result = await pruneBackups(place, false, Date.now() + 60_000);

  expect(result.decisions.filter(({ keep }) => keep).map((decision) => decision.id)).toEqual(
    expect.arrayContaining([proven, newest]),
  );
  const left = await place.repository.listBackups();
  expect(left).toEqual([proven, newest]);
  expect(new Set((await keysOf('backups/')).map((key) => key.split('/')[1]))).toEqual(new Set(left));
  const said = await kpipeBackup('list', '--json').ended;
  expect(JSON.parse(said.stdout)).toMatchObject({
    repository: `s3://${bucket}/${prefix}`,
    backups: left.map((each) => ({ id: each })),
  });
});

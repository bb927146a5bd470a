import { join } from 'node:path';

import { Client } from 'pg';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';

import { listBackups } from '../../src/lib/backup/catalogue.ts';
import { pruneBackups } from '../../src/lib/backup/prune.ts';
import type { BackupPlace } from '../../src/lib/backup/place.ts';
import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { runBackups, type RunEvent, type RunOptions } from '../../src/lib/backup/run.ts';
import { backupDirectory, create, receiving, verify } from '../support/backup-place.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';

const cluster = await clusterOfFile();
const directory = await backupDirectory(cluster);
let place: BackupPlace;

beforeAll(async () => {
  await cluster.sql('create table public.tick (id bigint primary key)', { database: 'app' });
  place = directory.place();
});

const stops: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(stops.splice(0).map((stop) => stop()));
});

/** `kpipe backup run` in this process, until the test stops it. */
function running(at: BackupPlace, options: Partial<RunOptions> = {}) {
  const events: RunEvent[] = [];
  const over = new AbortController();
  const ended = runBackups(at, {
    everyMs: null,
    prune: false,
    verify: null,
    signal: over.signal,
    environment: process.env,
    archiveDeadlineMs: 120_000,
    onEvent: (event) => events.push(event),
    ...options,
  });
  ended.catch(() => undefined);
  const stop = async () => {
    over.abort();
    return ended;
  };
  stops.push(() => stop().catch(() => undefined));
  return { events, ended, stop, kinds: () => events.map(({ kind }) => kind) };
}

describe('kpipe backup run', () => {
  test('given no backup yet, when it runs, then it takes one at once, proves it, and the next when it is due', async () => {
    const run = running(place, {
      everyMs: 4000,
      prune: true,
      verify: { level: 'manifest', scratchRoot: directory.scratch },
    });

    await expect.poll(() => run.kinds().filter((kind) => kind === 'pruned').length, { timeout: 90_000 }).toBe(2);
    const report = await run.stop();

    expect(report).toMatchObject({ failures: 0, created: await place.repository.listBackups() });
    expect(report.created).toHaveLength(2);
    expect(run.events.filter((event) => event.kind === 'verified')).toEqual(
      report.created.map((id) => ({ kind: 'verified', id, ok: true })),
    );
  });

  test('given one runs, when a second begins, then KPIPE_LOCKED', async () => {
    const first = running(place);
    await expect.poll(first.kinds, { timeout: 60_000 }).toContain('receiving');

    await expect(running(place).ended).rejects.toMatchObject({ code: 'KPIPE_LOCKED' });
  });

  test('given backups are begun in the instant in which the log begins to be received, when all is over, then no receiver is left', async () => {
    for (let round = 0; round < 3; round += 1) {
      const archive = receiving(place);
      stops.push(archive.stop);
      await create(place);
      await archive.stop();

      const holder = () =>
        cluster.sql<{ pid: number | null }>(
          `select active_pid as pid from pg_replication_slots where slot_name = 'kpipe_wal'`,
        );
      await expect.poll(holder, { timeout: 60_000 }).toEqual([{ pid: null }]);
    }
  });

  test('given the primary goes away and comes back, then it is received again, without a hole', async () => {
    const run = running(place);
    const active = () =>
      cluster.sql<{ active: boolean }>(`select active from pg_replication_slots where slot_name = 'kpipe_wal'`);
    // The slot alone may still be active for the receiver before.
    await expect.poll(run.kinds, { timeout: 60_000 }).toContain('receiving');
    await expect.poll(active, { timeout: 60_000 }).toEqual([{ active: true }]);

    await cluster.stopPrimary('SIGKILL');
    await expect.poll(run.kinds, { timeout: 60_000 }).toContain('trouble');
    await cluster.startPrimary();
    await cluster.sql('insert into public.tick select -1; select pg_switch_wal()', { database: 'app' });
    await expect.poll(run.kinds, { timeout: 90_000 }).toContain('sealed');
    await run.stop();

    expect(await verify(directory, place, 'manifest')).toMatchObject({ ok: true });
  });

  test('given every run fails, when an interval has passed, then it ends with KPIPE_BACKUP_MISSED', async () => {
    await cluster.stopStandby();
    try {
      // The newest backup of this repository is old enough by then: it is due at once.
      const run = running(place, { everyMs: 2000 });

      await expect(run.ended).rejects.toMatchObject({ code: 'KPIPE_BACKUP_MISSED' });
      expect(run.kinds()).toContain('failed');
    } finally {
      await cluster.startStandby();
    }
  });
});

describe('restoring to the latest', () => {
  test('given a primary that is killed while it commits, then what was received of the unfinished segment is restored, without a hole', async () => {
    const archive = receiving(place);
    stops.push(archive.stop);
    await create(place);
    await cluster.sql('select pg_switch_wal()');
    const client = new Client({ connectionString: cluster.superuser(cluster.primary.port, 'app') });
    client.on('error', () => undefined);
    await client.connect();
    let acked = 0;
    const inserting = (async () => {
      for (;;) {
        await client.query('insert into public.tick values ($1)', [acked + 1]);
        acked += 1;
      }
    })().catch(() => undefined);
    await expect.poll(() => acked, { timeout: 90_000 }).toBeGreaterThan(300);
    await cluster.stopPrimary('SIGKILL');
    await inserting;
    await client.end().catch(() => undefined);
    await archive.stop();

    const restored = join(cluster.directory, 'latest');
    const result = await restoreBackup(
      place,
      {
        id: 'latest',
        directory: restored,
        target: { kind: 'latest' },
        promote: true,
        scratchRoot: directory.scratch,
        environment: process.env,
        signal: new AbortController().signal,
        report: () => undefined,
      },
      () => Promise.resolve(true),
    );

    expect(result).toMatchObject({ done: true, plan: { target: { kind: 'latest', lsn: expect.any(String) } } });
    await cluster.startOn('primary', restored, cluster.primary.port);
    const [row] = await cluster.sql<{ count: number; last: number }>(
      'select count(*)::int as count, coalesce(max(id), 0)::int as last from public.tick where id > 0',
      { database: 'app' },
    );
    expect(row!.count).toBe(row!.last);
    expect(row!.count).toBeGreaterThan(0);
    // Committed and not yet acked when the server died: one at most.
    expect(row!.count).toBeLessThanOrEqual(acked + 1);
  });

  test('given a directory with something in it, or an LSN before the backup, then it is refused', async () => {
    const request = {
      id: 'latest',
      directory: directory.path,
      target: { kind: 'latest' as const },
      promote: false,
      scratchRoot: directory.scratch,
      environment: process.env,
      signal: new AbortController().signal,
      report: () => undefined,
    };
    const confirm = () => Promise.resolve(true);

    await expect(restoreBackup(place, request, confirm)).rejects.toMatchObject({ code: 'KPIPE_REFUSED' });
    const elsewhere = { ...request, directory: join(cluster.directory, 'never') };
    await expect(
      restoreBackup(place, { ...elsewhere, target: { kind: 'lsn', lsn: '0/28' } }, confirm),
    ).rejects.toMatchObject({
      code: 'KPIPE_REFUSED',
    });
    await expect(
      restoreBackup(place, { ...elsewhere, target: { kind: 'time', time: '2020-01-01T00:00:00Z' } }, confirm),
    ).rejects.toMatchObject({ code: 'KPIPE_REFUSED' });
  });
});

describe('kpipe backup prune', () => {
  test('given more backups than are kept, then the oldest go, with the archive before them, and what is proven stays', async () => {
    const before = (await listBackups(place, Date.now())).map(({ id }) => id);
    expect(before.length).toBeGreaterThanOrEqual(3);
    const proven = await verify(directory, place, 'full', before[1]);
    const strict = directory.place({ backups: { keep: { full: 1, window: '1ms' } } });

    const planned = await pruneBackups(strict, true, Date.now());
    expect((await listBackups(place, Date.now())).map(({ id }) => id)).toEqual(before);
    const done = await pruneBackups(strict, false, Date.now());

    const after = (await listBackups(place, Date.now())).map(({ id }) => id);
    expect(done.decisions).toEqual(planned.decisions);
    expect(after).toContain(before.at(-1));
    expect(after.includes(before[1]!)).toBe(proven.ok);
    expect(after).not.toContain(before[0]);
    expect(done.removedWal).toBeGreaterThan(0);
    expect(await verify(directory, strict, 'manifest', after[0])).toMatchObject({
      checks: expect.arrayContaining([expect.objectContaining({ name: 'wal', ok: true })]),
    });
  });
});

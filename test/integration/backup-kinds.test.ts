/** Clusters of other kinds than the usual: with tablespaces, and without a standby. */
import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, expect, test } from 'vitest';

import { findBackup } from '../../src/lib/backup/catalogue.ts';
import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { migrateDatabase } from '../../src/lib/postgres/migrate.ts';
import { postgresUser } from '../../src/lib/sandbox/postgres.ts';
import { backupDirectory, codesOf, create, verify } from '../support/backup-place.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';
import { resigned } from '../support/tamper.ts';

const cluster = await clusterOfFile({ standby: false });
const directory = await backupDirectory(cluster);
const space = join(cluster.directory, 'space');
const alone = {
  postgres: { replicas: [] },
  backups: { verify: { queries: [`select count(*) = 3000 and sum(id) = 4501500 from public.far`] } },
};

beforeAll(async () => {
  mkdirSync(space);
  chmodSync(space, 0o700);
  const user = postgresUser();
  if (user !== undefined) {
    chownSync(space, user.uid, user.gid);
  }
  await cluster.sql(`create tablespace far location '${space}'`);
  await cluster.sql(
    `create table public.far (id bigint primary key, note text not null) tablespace far;
     insert into public.far select i, repeat(md5(i::text), 3) from generate_series(1, 3000) i`,
    { database: 'app' },
  );
  await migrateDatabase(directory.config(alone).postgres!, {
    projections: [],
    logRetentionMs: 86_400_000,
    nowMs: Date.now(),
    planOnly: false,
  });
  await cluster.sql(
    `insert into kpipe.consumer_offset (role, topic, topic_id, partition, next_offset, epoch, first_offset)
       values ('events', 'shop', 'topic-id', 0, 40, 1, 0), ('events', 'shop', 'topic-id', 1, 0, 1, 0);
     insert into kpipe.events (time, kafka_timestamp, source, id, type, data, topic, partition, kafka_offset)
       select now(), now(), 'test', 'e' || i, 'order.placed', jsonb_build_object('n', i), 'shop', 0, i
       from generate_series(0, 49) i`,
    { database: 'app' },
  );
});

test('given a tablespace and no standby, when a backup is proven and restored, then its tables are there, and the primary’s own are untouched', async () => {
  const place = directory.place(alone);
  const { id, entry } = await create(place);
  expect(entry.files.map(({ name }) => name.split('.')[0])).toEqual([
    expect.stringMatching(/^\d+$/),
    'base',
    'pg_wal',
    'backup_manifest',
  ]);
  // Rows past the position of a partition are not its own: a consumer reads them again.
  expect(entry.fingerprint).toMatchObject({
    method: 'watermark',
    partitions: [
      { table: 'kpipe.events', topic: 'shop', partition: 0, nextOffset: '40', rows: '40' },
      { table: 'kpipe.events', topic: 'shop', partition: 1, nextOffset: '0', rows: '0' },
    ],
  });

  expect(await verify(directory, place, 'full', id)).toMatchObject({ ok: true });

  const to = join(cluster.directory, 'restored');
  const restored = await restoreBackup(
    place,
    {
      id,
      directory: to,
      target: { kind: 'latest' },
      promote: true,
      scratchRoot: directory.scratch,
      environment: process.env,
      signal: new AbortController().signal,
      report: () => undefined,
    },
    () => Promise.resolve(true),
  );
  expect(restored.gap).toMatchObject([{ role: 'events', partitions: '0:40, 1:0' }]);
  await cluster.stopPrimary();
  await cluster.startOn('restored', to, cluster.primary.port);
  const [row] = await cluster.sql(
    `select count(*)::int as rows, sum(id)::int as sum,
            (select pg_tablespace_location(oid) from pg_tablespace where spcname = 'far') like '${to}-tablespaces/%' as beside
     from public.far`,
    { database: 'app' },
  );
  expect(row).toEqual({ rows: 3000, sum: 4_501_500, beside: true });
  await cluster.stop('restored');
  await cluster.startPrimary();
});

test('given a row below a position is lost in the backup only, then the watermark’s comparison names its partition', async () => {
  const place = directory.place(alone);
  const { id } = await create(place);
  const known = (await findBackup(place, id)).entry;
  // As if one row more had been there when it was counted than the copy holds.
  const fingerprint = known.fingerprint as Extract<typeof known.fingerprint, { method: 'watermark' }>;
  const partitions = fingerprint.partitions.map((each) => (each.partition === 0 ? { ...each, rows: '41' } : each));
  resigned(place, directory.path, { ...known, fingerprint: { ...fingerprint, partitions } });

  const report = await verify(directory, place, 'full', id);

  expect(report.ok).toBe(false);
  expect(codesOf(report)).toEqual(['CONTENT_DIFFERS']);
  expect(report.checks.find(({ name }) => name === 'content')?.detail).toContain('kpipe.events, shop-0');
});

test('given a server that takes no incremental backups, when one is asked for, then it is refused with what to do', async () => {
  const place = directory.place(alone);
  const before = await place.repository.listBackups();

  const asked = create(place, { incremental: { base: undefined } });

  // The machine's own PostgreSQL may be older than 17, or a newer one without summaries.
  await expect(asked).rejects.toMatchObject({
    code: 'KPIPE_REFUSED',
    message: expect.stringMatching(/takes no incremental backups: 17 and later do|summarize_wal is off/),
    next: expect.stringContaining('kpipe backup create'),
  });
  expect(await place.repository.listBackups()).toEqual(before);
});

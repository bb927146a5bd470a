/**
 * Backups of a PostgreSQL 18, whose initdb switches data checksums on by itself and whose manifests have a version of their
 * own; the other tests of backups run on the machine's PostgreSQL.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import { listBackups } from '../../src/lib/backup/catalogue.ts';
import type { BackupCreated } from '../../src/lib/backup/create.ts';
import type { BackupPlace } from '../../src/lib/backup/place.ts';
import { pruneBackups } from '../../src/lib/backup/prune.ts';
import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { showBackup } from '../../src/lib/backup/show.ts';
import { checksOfLevel } from '../../src/lib/backup/verdict.ts';
import { backupDirectory, create, verify } from '../support/backup-place.ts';
import { ifSkipped, postgres18, versionOf18 } from '../support/postgres-18.ts';
import { clusterOfFile, makeOwned, type TestCluster } from '../support/postgres-cluster.ts';

describe.skipIf(postgres18 === undefined)('backups of PostgreSQL 18', async () => {
  test(`given set-up has brought it, then it is one${ifSkipped}`, () => {
    expect(versionOf18()).toMatch(/^postgres \(PostgreSQL\) 18\./);
  });
  if (postgres18 === undefined) {
    return;
  }
  const cluster = await clusterOfFile({ postgres: postgres18, checksums: 'default', settings: 'summarize_wal = on' });
  const { environment } = cluster;
  const directory = await backupDirectory(cluster);
  const alone = await clusterOfFile({ postgres: postgres18, standby: false, settings: 'summarize_wal = on' });
  const ofAlone = await backupDirectory(alone);
  const app = { database: 'app' };

  const accounts = 'select count(*)::int as rows, sum(id)::int as sum, min(note) as least from public.account';

  const place = directory.place();
  let full: BackupCreated;

  beforeAll(async () => {
    await cluster.sql(
      `create table public.account (id bigint primary key, note text not null);
       insert into public.account select i, repeat(md5(i::text), 4) from generate_series(1, 3000) i`,
      app,
    );
    full = await create(place, { environment });
  }, 600_000);

  /** What a query finds in the restored cluster, started for it. */
  const restored = async (
    of: TestCluster,
    from: BackupPlace,
    id: string,
    query: string,
  ): Promise<readonly object[]> => {
    const to = join(of.directory, `restored-${id}`);
    const request = {
      id,
      directory: to,
      target: { kind: 'latest' },
      promote: true,
      scratchRoot: directory.scratch,
      environment,
      signal: new AbortController().signal,
      report: () => undefined,
    } as const;
    await restoreBackup(from, request, () => Promise.resolve(true));
    expect(readdirSync(of.directory).filter((name) => name.includes('.kpipe-restore'))).toEqual([]);
    await of.startOn('restored', to, of.restoredPort);
    try {
      return await of.sql(query, { port: of.restoredPort, ...app });
    } finally {
      await of.stop('restored');
    }
  };

  test('given a full one, when it is verified, then every check of a full one holds', async () => {
    expect(full.entry).toMatchObject({
      kind: 'full',
      increment: null,
      postgresVersion: expect.stringMatching(/^18\./),
      dataChecksums: true,
      fingerprint: { method: 'standby', standby: 'replica1' },
    });
    expect(full.entry.warnings.join()).not.toContain('checksums');

    const report = await verify(directory, place, 'full', full.id);

    expect(report.checks.map(({ name, ok }) => [name, ok])).toEqual(checksOfLevel('full').map((name) => [name, true]));
    expect(report.ok).toBe(true);
  }, 600_000);

  test('given increments of it, when the newest is verified and restored, then all links are one cluster with every row', async () => {
    await cluster.sql(`update public.account set note = 'a first change' where id <= 300`, app);
    const first = await create(place, { environment, incremental: { base: undefined } });
    await cluster.sql(`delete from public.account where id between 301 and 400`, app);
    const second = await create(place, { environment, incremental: { base: first.id } });

    expect(first.entry).toMatchObject({
      kind: 'incremental',
      increment: { parent: full.id, parentStartLsn: full.entry.startLsn },
    });
    expect(second.entry).toMatchObject({ kind: 'incremental', increment: { parent: first.id } });
    expect(first.entry.storedBytes).toBeLessThan(full.entry.storedBytes / 2);
    const shown = await showBackup(place, second.id, Date.now());
    expect(shown).toMatchObject({ chain: [full.id, first.id, second.id], line: { parent: first.id, problem: null } });

    const report = await verify(directory, place, 'full', second.id);
    expect(report.checks.map(({ name, ok }) => [name, ok])).toEqual(
      checksOfLevel('full', 'incremental').map((name) => [name, true]),
    );
    expect(report.checks.find(({ name }) => name === 'combine')?.detail).toContain('3 links made one cluster');
    expect(report.ok).toBe(true);

    expect(await restored(cluster, place, second.id, accounts)).toEqual(await cluster.sql(accounts, app));

    // Only the newest is within the policy; what it is an increment of stays with it.
    const policy = { backups: { keep: { full: 1, window: '1ms' } } };
    await pruneBackups(directory.place(policy), false, Date.now());
    const left = (await listBackups(place, Date.now())).slice(-3);
    expect(left.map(({ id, problem }) => [id, problem])).toEqual([full, first, second].map(({ id }) => [id, null]));
  }, 600_000);

  test('given a tablespace, when an increment is restored, then its tables are beside the others, old and new rows', async () => {
    const far = join(alone.directory, 'far');
    makeOwned(far);
    const placeOfAlone = ofAlone.place({ postgres: { replicas: [] } });
    await alone.sql(`create tablespace far location '${far}'`);
    await alone.sql(
      `create table public.away (id bigint, note text) tablespace far;
       insert into public.away select i, 'old' from generate_series(1, 3000) i`,
      app,
    );
    await create(placeOfAlone, { environment });
    await alone.sql(`update public.away set note = 'new' where id % 500 = 0`, app);
    const { id } = await create(placeOfAlone, { environment, incremental: { base: undefined } });
    const query = `select note, count(*)::int as rows from public.away group by note order by note`;

    const rows = await restored(alone, placeOfAlone, id, query);

    expect(rows).toEqual([
      { note: 'new', rows: 6 },
      { note: 'old', rows: 2994 },
    ]);
    expect(readdirSync(join(alone.directory, `restored-${id}-tablespaces`))).toHaveLength(1);
  }, 600_000);
});

/**
 * Backups of a PostgreSQL 18, whose initdb switches data checksums on by itself and whose manifests have a version of their
 * own; the other tests of backups run on the machine's PostgreSQL.
 */
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { backupDirectory, create, verify } from '../support/backup-place.ts';
import { ifSkipped, postgres18, versionOf18 } from '../support/postgres-18.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';

describe.skipIf(postgres18 === undefined)('backups of PostgreSQL 18', async () => {
  test(`given set-up has brought it, then it is one${ifSkipped}`, () => {
    expect(versionOf18()).toMatch(/^postgres \(PostgreSQL\) 18\./);
  });
  if (postgres18 === undefined) {
    return;
  }
  const cluster = await clusterOfFile({ postgres: postgres18, checksums: 'default' });
  const { environment } = cluster;
  const directory = await backupDirectory(cluster);
  const app = { database: 'app' };

  beforeAll(async () => {
    await cluster.sql(
      `create table public.account (id bigint primary key, note text not null);
       insert into public.account select i, repeat(md5(i::text), 4) from generate_series(1, 3000) i`,
      app,
    );
  });

  test('given one, when it is verified, then every check holds; restored to its latest, it has what was written since', async () => {
    const place = directory.place();
    const { id, entry } = await create(place, { environment });
    expect(entry).toMatchObject({
      kind: 'full',
      postgresVersion: expect.stringMatching(/^18\./),
      dataChecksums: true,
      fingerprint: { method: 'standby', standby: 'replica1' },
    });
    expect(entry.warnings.join()).not.toContain('checksums');

    const report = await verify(directory, place, 'full', id);
    expect(report.checks.filter(({ ok }) => ok !== true)).toEqual([]);
    expect(report.ok).toBe(true);

    await cluster.sql(`insert into public.account select i, 'since' from generate_series(3001, 3100) i`, app);
    // The log of it comes into the archive with the next backup.
    await create(place, { environment });
    const to = join(cluster.directory, `restored-${id}`);
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
    await restoreBackup(place, request, () => Promise.resolve(true));
    await cluster.startOn('restored', to, cluster.restoredPort);
    const held = { port: cluster.restoredPort, ...app };
    const rows = await cluster.sql('select count(*)::int as rows, sum(id)::int as sum from public.account', held);
    await cluster.stop('restored');
    expect(rows).toEqual(
      await cluster.sql('select count(*)::int as rows, sum(id)::int as sum from public.account', app),
    );
  });
});

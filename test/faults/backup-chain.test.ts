/**
 * Each way in which a chain of incremental backups can be broken, on PostgreSQL 18: each must end in its own code, and never
 * in "ok". pg_combinebackup itself looks at no checksum of what it combines.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { join } from 'node:path';

import { afterEach, beforeAll, describe, expect, test } from 'vitest';

import { findBackup, listBackups } from '../../src/lib/backup/catalogue.ts';
import type { BackupEntry } from '../../src/lib/backup/entry.ts';
import type { BackupPlace } from '../../src/lib/backup/place.ts';
import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { showBackup } from '../../src/lib/backup/show.ts';
import { backupDirectory, codesOf, create, verify } from '../support/backup-place.ts';
import { ifSkipped, postgres18, versionOf18 } from '../support/postgres-18.ts';
import { clusterOfFile, flipByte, snapshot } from '../support/postgres-cluster.ts';
import { flippedInTar, resealed, resigned } from '../support/tamper.ts';

describe.skipIf(postgres18 === undefined)('a chain of incremental backups', async () => {
  test(`given set-up has brought PostgreSQL 18, then it is one${ifSkipped}`, () => {
    expect(versionOf18()).toMatch(/^postgres \(PostgreSQL\) 18\./);
  });
  if (postgres18 === undefined) {
    return;
  }
  const cluster = await clusterOfFile({ postgres: postgres18, settings: 'summarize_wal = on' });
  const { environment } = cluster;
  const directory = await backupDirectory(cluster);
  const app = { database: 'app' };
  const increment = { environment, incremental: { base: undefined } };
  let place: BackupPlace;
  let full: BackupEntry;
  let first: BackupEntry;
  let second: BackupEntry;
  let other: BackupEntry;
  let restore: () => void;

  const backup = (id: string): string => join(directory.repository, 'backups', id);
  const stored = (id: string, name: string): string =>
    join(
      backup(id),
      readdirSync(backup(id)).find((file) => file.startsWith(name))!,
    );
  const change = (from: number): Promise<unknown> =>
    cluster.sql(`update public.account set note = 'changed ' || id where id between ${from} and ${from + 200}`, app);
  const restoring = (id: string): Promise<unknown> =>
    restoreBackup(
      place,
      {
        id,
        directory: join(cluster.directory, 'restored'),
        target: { kind: 'latest' },
        promote: false,
        scratchRoot: directory.scratch,
        environment,
        signal: new AbortController().signal,
        report: () => undefined,
      },
      () => Promise.resolve(true),
    );

  beforeAll(async () => {
    await cluster.sql(
      `create table public.account (id bigint primary key, note text not null);
       insert into public.account select i, repeat(md5(i::text), 5) from generate_series(1, 4000) i`,
      app,
    );
    place = directory.place();
    full = (await create(place, { environment })).entry;
    await change(100);
    first = (await create(place, increment)).entry;
    await change(500);
    second = (await create(place, increment)).entry;
    other = (await create(place, { environment })).entry;
    restore = snapshot(directory.repository);
  });

  afterEach(() => {
    restore();
  });

  test.each([
    ['the full backup', () => full.id],
    ['the increment in the middle', () => first.id],
  ])(
    'given %s was removed by hand, then PARENT_MISSING wherever one looks, and nothing is built on it',
    async (_what, which) => {
      const gone = which();
      rmSync(backup(gone), { recursive: true });

      const report = await verify(directory, place, 'full', second.id);
      expect(report.ok).toBe(false);
      expect(codesOf(report)).toEqual(['PARENT_MISSING']);
      expect(report.checks.find(({ name }) => name === 'chain')?.detail).toContain(gone);
      const lines = await listBackups(place, Date.now());
      expect(lines.find(({ id }) => id === second.id)?.problem).toBe('PARENT_MISSING');
      expect(lines.find(({ id }) => id === other.id)?.problem).toBeNull();
      expect((await showBackup(place, second.id, Date.now())).chain[0]).toBeNull();

      await expect(restoring(second.id)).rejects.toMatchObject({
        code: 'KPIPE_BACKUP_FAILED',
        message: expect.stringMatching(/^PARENT_MISSING: /),
      });
      expect(readdirSync(cluster.directory).filter((name) => name.startsWith('restored'))).toEqual([]);
      await expect(create(place, { environment, incremental: { base: second.id } })).rejects.toMatchObject({
        code: 'KPIPE_REFUSED',
        message: expect.stringContaining('PARENT_MISSING'),
      });
    },
  );

  test.each([
    ['the full backup', () => full.id],
    ['the increment in the middle', () => first.id],
  ])('given a byte of %s turned over, then MANIFEST names the parent', async (_what, which) => {
    flipByte(stored(which(), 'base'), 5000);

    const report = await verify(directory, place, 'manifest', second.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['MANIFEST']);
    expect(report.checks.find(({ name }) => name === 'files')?.detail).toContain(`parent ${which()}: base`);
  });

  test('given a block of an increment was wrong when it was sealed and signed, then MANIFEST names the file, before anything is combined', async () => {
    await resealed(place, directory.path, first.id, 'base', (tar) =>
      flippedInTar(tar, /^base\/\d+\/INCREMENTAL\.\d+$/),
    );

    const report = await verify(directory, place, 'restore', second.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['MANIFEST']);
    expect(report.checks.find(({ name }) => name === 'files')?.detail).toMatch(
      /not as written: base\/\d+\/INCREMENTAL/,
    );
    expect(report.checks.find(({ name }) => name === 'combine')?.ok).toBeNull();
  });

  test('given a changed entry of a parent, then SIGNATURE', async () => {
    const path = join(backup(full.id), 'entry.json');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"pipeline": "', '"pipeline": "x'));

    const report = await verify(directory, place, 'manifest', second.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['SIGNATURE']);
    expect(report.checks.find(({ name }) => name === 'chain')?.detail).toContain(full.id);
  });

  test.each([
    ['of another cluster', { systemIdentifier: '7000000000000000001' }, /is of another cluster/],
    ['of another timeline', { timeline: 2 }, /is of timeline 2/],
    ['that begins elsewhere', { startLsn: '0/1000028' }, /begins at 0\/1000028/],
  ])('given a parent %s, signed with the same key, then PARENT_MISMATCH', async (_what, wrong, evidence) => {
    resigned(place, directory.path, { ...full, ...wrong });

    const report = await verify(directory, place, 'manifest', second.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['PARENT_MISMATCH']);
    expect(report.checks.find(({ name }) => name === 'chain')?.detail).toMatch(evidence);
  });

  test('given another backup of the same cluster in the place of the parent, said to begin where it did, then PARENT_MISMATCH', async () => {
    rmSync(backup(full.id), { recursive: true });
    cpSync(backup(other.id), backup(full.id), { recursive: true });
    resigned(place, directory.path, { ...other, id: full.id, startLsn: full.startLsn });

    const report = await verify(directory, place, 'manifest', second.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['PARENT_MISMATCH']);
    expect(report.checks.find(({ name }) => name === 'files')?.detail).toContain(`taken against`);
  });

  test('given an increment that says that it is one of another moment, its manifest with it, then COMBINE_FAILED', async () => {
    const label = { before: '', after: '' };
    await resealed(place, directory.path, second.id, 'base', (tar) => {
      const changed = Buffer.from(tar);
      const at = tar.indexOf('INCREMENTAL FROM LSN: ') + 'INCREMENTAL FROM LSN: 0/'.length;
      const header = tar.indexOf('backup_label');
      const bytes = Number.parseInt(tar.toString('latin1', header + 124, header + 135), 8);
      const content = (of: Buffer): string =>
        createHash('sha256')
          .update(of.subarray(header + 512, header + 512 + bytes))
          .digest('hex');
      label.before = content(tar);
      changed[at] = tar[at] === 0x31 ? 0x32 : 0x31;
      label.after = content(changed);
      return changed;
    });
    await resealed(place, directory.path, second.id, 'backup_manifest', (plain) => {
      const text = plain.toString('utf8').replace(label.before, label.after);
      const head = text.slice(0, text.lastIndexOf('"Manifest-Checksum"'));
      return Buffer.from(`${head}"Manifest-Checksum": "${createHash('sha256').update(head).digest('hex')}"}\n`);
    });

    const report = await verify(directory, place, 'restore', second.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['COMBINE_FAILED']);
    expect(report.checks.find(({ name }) => name === 'combine')?.detail).toContain('LSN');
    expect(readdirSync(directory.scratch)).toEqual([]);
  });

  test('given another encryption key, then no increment is taken: one chain is read with one key', async () => {
    const plain = directory.place({ backups: { encryption: undefined } });

    await expect(create(plain, increment)).rejects.toMatchObject({
      code: 'KPIPE_REFUSED',
      message: expect.stringContaining('none of this cluster, timeline and key'),
    });
    await expect(create(plain, { environment, incremental: { base: full.id } })).rejects.toMatchObject({
      code: 'KPIPE_REFUSED',
      message: expect.stringContaining('is encrypted with key'),
    });
  });

  test('given the primary lost its summaries, or makes none, then an increment is refused, and there is no backup more', async () => {
    const before = await place.repository.listBackups();
    const summaries = join(cluster.data, 'pg_wal', 'summaries');
    readdirSync(summaries).forEach((name) => rmSync(join(summaries, name)));

    await expect(create(place, { environment, incremental: { base: full.id } })).rejects.toMatchObject({
      code: 'KPIPE_REFUSED',
      message: expect.stringContaining('WAL summaries are required'),
      next: expect.stringContaining('kpipe backup create'),
    });
    await cluster.sql('alter system set summarize_wal = off');
    await cluster.sql('select pg_reload_conf()');
    await expect.poll(() => cluster.sql('show summarize_wal'), { timeout: 60_000 }).toEqual([{ summarize_wal: 'off' }]);
    await expect(create(place, increment)).rejects.toMatchObject({
      code: 'KPIPE_REFUSED',
      message: expect.stringContaining('summarize_wal is off'),
    });

    expect(await place.repository.listBackups()).toEqual(before);
    expect((await findBackup(place, second.id)).signatureValid).toBe(true);
  });
});

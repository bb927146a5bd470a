/**
 * Each way in which a backup can be broken, on real servers: each must end in its own code, and never in "ok". The same
 * damage done to other tools' backups is measured by bench/backup-breakage.mjs.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterEach, beforeAll, describe, expect, test } from 'vitest';

import { findBackup, listBackups } from '../../src/lib/backup/catalogue.ts';
import { generateEncryptionKey } from '../../src/lib/backup/keys.ts';
import { formatLsn, parseLsn } from '../../src/lib/backup/lsn.ts';
import type { BackupPlace } from '../../src/lib/backup/place.ts';
import { openWorkspace } from '../../src/lib/backup/programs.ts';
import { checkReport } from '../../src/lib/backup/show.ts';
import { backupDirectory, codesOf, create, receiving, verify } from '../support/backup-place.ts';
import { clusterOfFile, flipByte, snapshot } from '../support/postgres-cluster.ts';
import { flippedInTar, missingInTar, resealed, resealedWal, resigned, rot, truncatedInTar } from '../support/tamper.ts';

const cluster = await clusterOfFile({ checksums: false });
const directory = await backupDirectory(cluster);
let place: BackupPlace;
let id: string;
let restore: () => void;

const stored = (name: string): string => {
  const found = readdirSync(join(directory.repository, 'backups', id)).find((file) => file.startsWith(name));
  return join(directory.repository, 'backups', id, found!);
};
const walFiles = (): string[] => readdirSync(join(directory.repository, 'wal')).toSorted();
const wal = (name: string): string => join(directory.repository, 'wal', name);
const aTable = /^base\/\d+\/\d+$/;

beforeAll(async () => {
  await cluster.sql(
    `create table public.account (id bigint primary key, owner text not null, note text not null);
     insert into public.account select i, 'owner-' || i, repeat(md5(i::text), 5) from generate_series(1, 4000) i;
     create index account_owner on public.account (owner);
     checkpoint`,
    { database: 'app' },
  );
  place = directory.place();
  const archive = receiving(place);
  ({ id } = await create(place));
  // History after the backup: some segments of 1 MB.
  for (let round = 0; round < 4; round += 1) {
    await cluster.sql(`update public.account set note = note || '.' where id % 4 = ${round}; select pg_switch_wal()`, {
      database: 'app',
    });
  }
  await archive.stop();
  restore = snapshot(directory.repository);
});

afterEach(() => {
  restore();
});

test('given nothing broken, while the primary holds its port, when it is verified, then every check of the level is made and holds', async () => {
  const report = await verify(directory, place);

  expect(report.checks.map(({ name, ok }) => [name, ok])).toEqual(
    ['signature', 'key', 'wal', 'rpo', 'files', 'start', 'recover', 'content', 'queries', 'amcheck'].map((name) => [
      name,
      true,
    ]),
  );
  expect(report).toMatchObject({ ok: true, level: 'full', kept: null });
  expect(report.rtoMs).toBeGreaterThan(0);
  expect(report.rpoMs).not.toBeNull();
  expect(readdirSync(directory.scratch)).toEqual([]);
});

describe('a stored file', () => {
  test.each([
    ['flipped', () => flipByte(stored('base'), 5000)],
    ['flipped in its last byte', () => flipByte(stored('base'), -1)],
    ['truncated', () => truncateSync(stored('base'), 100_000)],
    ['truncated to nothing', () => truncateSync(stored('base'), 0)],
    ['missing', () => rmSync(stored('base'))],
    ['flipped, of the log', () => flipByte(stored('pg_wal'), 5000)],
    ['flipped, of the manifest', () => flipByte(stored('backup_manifest'), 200)],
    ['missing, of the manifest', () => rmSync(stored('backup_manifest'))],
  ])('given it is %s, when it is verified, then MANIFEST', async (_what, damage) => {
    damage();

    const report = await verify(directory, place, 'manifest');

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['MANIFEST']);
    expect(report.checks.find(({ name }) => name === 'files')?.detail).toMatch(/base|pg_wal|backup_manifest/);
  });

  test.each([
    ['flipped', flippedInTar, /not as written: base\/\d+\/\d+/],
    ['truncated', truncatedInTar, /not as written: base\/\d+\/\d+/],
    ['missing', missingInTar, /missing: base\/\d+\/\d+/],
  ])(
    'given a data file in it was %s before it was sealed and signed, then MANIFEST names the file',
    async (_what, damage, evidence) => {
      await resealed(place, directory.path, id, 'base', (tar) => damage(tar, aTable));

      const report = await verify(directory, place, 'restore');

      expect(report.ok).toBe(false);
      expect(codesOf(report)).toEqual(['MANIFEST']);
      expect(report.checks.find(({ name }) => name === 'files')?.detail).toMatch(evidence);
    },
  );

  test('given one byte of the manifest was changed before it was sealed and signed, then MANIFEST', async () => {
    await resealed(place, directory.path, id, 'backup_manifest', (text) => {
      const changed = Buffer.from(text);
      changed[text.indexOf('"Size": ') + 8] = '7'.charCodeAt(0);
      return changed;
    });

    const report = await verify(directory, place, 'manifest');

    expect(codesOf(report)).toEqual(['MANIFEST']);
    expect(report.checks.find(({ name }) => name === 'files')?.detail).toContain('does not match its own checksum');
  });
});

describe('keys and signatures', () => {
  test('given another encryption key, then KEY', async () => {
    writeFileSync(join(directory.path, 'other.key'), generateEncryptionKey());
    const other = directory.place({ backups: { encryption: { key: '${file:./other.key}' } } });

    const report = await verify(directory, other, 'full');

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['KEY']);
  });

  test('given a changed entry, then SIGNATURE, and nothing of it is believed', async () => {
    const { entry } = await findBackup(place, id);
    writeFileSync(
      join(directory.repository, 'backups', id, 'entry.json'),
      JSON.stringify({ ...entry, fingerprint: null, signature: { keyId: 'x', algorithm: 'ed25519', value: 'AAAA' } }),
    );

    const report = await verify(directory, place, 'manifest');

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['SIGNATURE']);
    expect(report.checks.filter(({ ok }) => ok === null).map(({ name }) => name)).toEqual([
      'key',
      'wal',
      'rpo',
      'files',
    ]);
  });

  test('given a report, when a word of it is changed, then its signature says so, and the list does not count it', async () => {
    flipByte(stored('base'), 5000);
    const report = await verify(directory, place, 'manifest');
    const file = join(directory.path, 'report.json');
    writeFileSync(file, JSON.stringify(report));
    expect(checkReport(place, file)).toMatchObject({ signatureValid: true, ok: false });

    const forged = JSON.stringify({ ...report, ok: true, level: 'full' });
    writeFileSync(file, forged);
    const reports = join(directory.repository, 'reports', id);
    readdirSync(reports).forEach((name) => writeFileSync(join(reports, name), forged));

    expect(checkReport(place, file)).toMatchObject({ signatureValid: false, ok: false });
    expect(await listBackups(place, Date.now())).toMatchObject([{ id, verified: null, provenAt: null }]);
  });
});

describe('the archive', () => {
  /** Neither the backup's own first segments nor the last ones. */
  const middle = (): string => walFiles().at(-3)!;

  test('given a segment missing in the middle, then WAL_GAP names it, also where the backup itself would restore', async () => {
    const name = middle();
    rmSync(wal(name));

    const report = await verify(directory, place, 'full');

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['WAL_GAP']);
    expect(report.checks.find((check) => check.name === 'wal')?.detail).toContain(name.split('.')[0]);
  });

  test('given a segment with a byte turned over, then WAL_CORRUPT names it', async () => {
    const name = middle();
    flipByte(wal(name), -40);

    const report = await verify(directory, place, 'manifest');

    expect(codesOf(report)).toEqual(['WAL_CORRUPT']);
    expect(report.checks.find((check) => check.name === 'wal')?.detail).toContain(name);
  });

  test('given a record that was wrong when its segment was sealed, then WAL_CORRUPT by its own checksum', async () => {
    await resealedWal(place, directory.path, middle(), (plain) => {
      const changed = Buffer.from(plain);
      changed[30_000] = changed[30_000]! ^ 0xff;
      return changed;
    });

    const report = await verify(directory, place, 'manifest');

    expect(codesOf(report)).toEqual(['WAL_CORRUPT']);
  });

  test('given the tail is missing up to into the backup, then WAL_GAP', async () => {
    const { entry } = await findBackup(place, id);
    const last = (parseLsn(entry.archivedLsn)! - 1n) / BigInt(entry.segmentBytes);
    walFiles()
      .filter((name) => BigInt(`0x${name.slice(8, 16)}`) * 4096n + BigInt(`0x${name.slice(16, 24)}`) >= last)
      .forEach((name) => rmSync(wal(name)));
    rmSync(join(directory.repository, 'local', 'incoming'), { recursive: true });
    mkdirSync(join(directory.repository, 'local', 'incoming'));

    const report = await verify(directory, place, 'manifest');

    expect(codesOf(report)).toEqual(['WAL_GAP']);
  });

  test('given the tail behind the backup is missing, then the loss is measured, and RPO_BREACHED past what is allowed', async () => {
    walFiles()
      .slice(-2)
      .forEach((name) => rmSync(wal(name)));
    rmSync(join(directory.repository, 'local', 'incoming'), { recursive: true });
    mkdirSync(join(directory.repository, 'local', 'incoming'));
    const strict = directory.place({ backups: { rpo: '1ms' } });

    const report = await verify(directory, strict, 'manifest');

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['RPO_BREACHED']);
    expect(report.rpoMs).toBeGreaterThan(1);
  });

  test('given a receiver that saves elsewhere, when a backup is taken, then it is given up, and there is none', async () => {
    const active = async () => {
      const [slot] = await cluster.sql<{ active: boolean }>(
        `select active from pg_replication_slots where slot_name = 'kpipe_wal'`,
      );
      return slot!.active;
    };
    // The receiver of before was ended, and the server has heard of it.
    await expect.poll(active, { timeout: 60_000 }).toBe(false);
    const workspace = openWorkspace(join(directory.path, 'thief'));
    const [incoming, locks] = ['incoming', 'locks'].map((name) => join(directory.path, 'thief', name));
    [incoming, locks].forEach((path) => mkdirSync(path!, { recursive: true }));
    // With a place and locks of its own, as on another machine: kpipe neither ends it nor waits for it.
    const thief = receiving({ ...place, local: { ...place.local, incoming: incoming!, locks: locks!, workspace } });
    const held = async () => ({ active: await active(), troubles: thief.troubles.slice(-3) });
    await expect.poll(held, { timeout: 60_000 }).toMatchObject({ active: true });

    await expect(create(place, { archiveDeadlineMs: 10_000 })).rejects.toMatchObject({
      code: 'KPIPE_BACKUP_FAILED',
      message: expect.stringMatching(/did not reach the archive within 10 s: .*is active for PID/),
    });

    await thief.stop();
    expect(await place.repository.listBackups()).toEqual([id]);
    expect(readdirSync(join(directory.repository, 'backups'))).toEqual([id]);
  });
});

describe('the recovery', () => {
  test('given an LSN that the records do not reach, then TARGET_NOT_REACHED before anything is restored', async () => {
    const { entry } = await findBackup(place, id);
    const beyond = formatLsn(parseLsn(entry.archivedLsn)! + 64n * 1024n * 1024n);
    const segmentOfTail = walFiles().at(-1)!.slice(0, 24);
    const tail = BigInt(`0x${segmentOfTail.slice(16)}`) * 1024n * 1024n + 1024n * 1024n;
    resigned(place, directory.path, {
      ...entry,
      archivedLsn: formatLsn(tail < parseLsn(beyond)! ? tail + 1000n : parseLsn(beyond)!),
    });

    const report = await verify(directory, place, 'restore');

    expect(report.ok).toBe(false);
    expect(['TARGET_NOT_REACHED', 'WAL_GAP']).toContain(codesOf(report)[0]);
  });

  test('given a fingerprint at an LSN that is never written, when the server recovers, then it ends early: TARGET_NOT_REACHED', async () => {
    const { entry } = await findBackup(place, id);
    const never = formatLsn(parseLsn(entry.archivedLsn)! + (1n << 30n));
    resigned(place, directory.path, { ...entry, fingerprint: { ...entry.fingerprint!, lsn: never } });

    const report = await verify(directory, place, 'restore');

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['TARGET_NOT_REACHED']);
    expect(report.checks.find(({ name }) => name === 'recover')?.detail).toMatch(/target/);
  });
});

describe('damage on the primary, without data checksums', () => {
  const fileOf = async (relation: string): Promise<string> => {
    const [row] = await cluster
      .sql<{ path: string }>(`checkpoint; select 1`, { database: 'app' })
      .then(() =>
        cluster.sql<{ path: string }>(`select pg_relation_filepath('${relation}') as path`, { database: 'app' }),
      );
    return join(cluster.data, row!.path);
  };

  test('given a byte of an index, then AMCHECK names the index, and the contents are as they were', async () => {
    const path = await fileOf('public.account_owner');
    await cluster.stopPrimary();
    rot(path, 'owner-1234', 'owner-1239');
    await cluster.startPrimary();
    const made = await create(place);

    const report = await verify(directory, place, 'full', made.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toEqual(['AMCHECK']);
    expect(report.checks.find(({ name }) => name === 'amcheck')?.detail).toContain('account_owner');
    await cluster.sql('reindex index public.account_owner', { database: 'app' });
  });

  test('given rot in a table that pg_basebackup copies faithfully, then CONTENT_DIFFERS names the table', async () => {
    const path = await fileOf('public.account');
    await cluster.stopPrimary();
    rot(path, 'owner-777', 'owner-7X7');
    await cluster.startPrimary();
    const made = await create(place);
    expect(made.entry.warnings.join()).toContain('data checksums are off');

    const report = await verify(directory, place, 'full', made.id);

    expect(report.ok).toBe(false);
    expect(codesOf(report)).toContain('CONTENT_DIFFERS');
    expect(report.checks.find(({ name }) => name === 'content')?.detail).toContain(
      'public.account has 4000 rows as before',
    );
  });
});

const mayMount = process.getuid?.() === 0 && canMount();

describe.skipIf(!mayMount)(
  `a disk that is full${mayMount ? '' : ' (skipped: a small file system cannot be mounted here)'}`,
  () => {
    const mount = (path: string, size: string): (() => void) => {
      mkdirSync(path, { recursive: true });
      execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', `size=${size},mode=755`, 'kpipe-test', path]);
      return () => {
        // Lazily: what failed closes its files after it has said so.
        execFileSync('/bin/umount', ['-l', path]);
        rmSync(path, { recursive: true });
      };
    };

    test.each([
      ['3m', 'wal'],
      ['20m', 'files'],
    ])('given a scratch directory of %s, then NO_SPACE at the check %s', async (size, check) => {
      const scratch = join(directory.path, 'small');
      const unmount = mount(scratch, size);
      try {
        const report = await verify({ ...directory, scratch }, place, 'full');

        expect(report.ok).toBe(false);
        expect([...new Set(codesOf(report))]).toEqual(['NO_SPACE']);
        expect(report.checks.find(({ ok }) => ok === false)?.name).toBe(check);
        expect(readdirSync(scratch)).toEqual([]);
      } finally {
        unmount();
      }
    });

    test('given a repository that fills up while a backup is stored, then it fails, and there is no backup', async () => {
      const small = join(directory.path, 'small-repository');
      const unmount = mount(small, '8m');
      try {
        const other = directory.place({
          backups: { repository: small, walArchive: { method: 'receivewal', slot: 'kpipe_small' } },
        });

        await expect(create(other)).rejects.toMatchObject({
          code: expect.stringMatching(/^KPIPE_(BACKUP_FAILED|REFUSED)$/),
        });

        expect(await other.repository.listBackups()).toEqual([]);
        expect(existsSync(join(small, 'backups')) ? readdirSync(join(small, 'backups')) : []).toEqual([]);
      } finally {
        unmount();
        await cluster.sql(
          `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'kpipe_small'`,
        );
      }
    });
  },
);

function canMount(): boolean {
  const path = join(directory.path, 'may-mount');
  mkdirSync(path);
  try {
    execFileSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=1m', 'kpipe-test', path], { stdio: 'ignore' });
    execFileSync('/bin/umount', [path]);
    return true;
  } catch {
    return false;
  }
}

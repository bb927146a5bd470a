/**
 * Backups and replica status by users with the rights of `kpipe migrate grants` and no more, who are let in over TLS only,
 * with a password: pools, pg_basebackup and pg_receivewal alike check the server's certificate.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { Client } from 'pg';
import { beforeAll, describe, expect, test } from 'vitest';

import { initBackups } from '../../src/lib/backup/init.ts';
import { restoreBackup } from '../../src/lib/backup/restore.ts';
import { parseConfig } from '../../src/lib/config/load.ts';
import { grants } from '../../src/lib/postgres/grants.ts';
import { migrateDatabase } from '../../src/lib/postgres/migrate.ts';
import { lookAtReplicas } from '../../src/lib/replication/look.ts';
import { backupDirectory, create, receiving, verify } from '../support/backup-place.ts';
import { certificates } from '../support/certificates.ts';
import { replicationCluster, type PostgresServer } from '../support/replication-cluster.ts';

const cluster = replicationCluster();
const { file, makeAuthority, makeCertificate } = certificates(cluster.directory);
chmodSync(cluster.directory, 0o711);
makeAuthority('authority');
makeAuthority('stranger');
makeCertificate('right', 'authority', 'IP:127.0.0.1');
const tls = { ssl: 'on', ssl_cert_file: file('right.pem'), ssl_key_file: file('right.key') };
const primary = await cluster.primary('primary', tls);
const password = 'it:has\\a@colon';
await primary.query('create database app');
const app = async (sql: string, on: PostgresServer = primary): Promise<readonly Record<string, unknown>[]> => {
  const client = new Client({ connectionString: on.url('postgres', 'app') });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
};

const url = (login: string, server: PostgresServer, authority = 'authority'): string =>
  `postgres://${login}:${encodeURIComponent(password)}@127.0.0.1:${server.port}/app?sslmode=verify-full&sslrootcert=${file(`${authority}.pem`)}`;

await migrateDatabase(
  parseConfig(
    JSON.stringify({
      pipeline: 'test',
      kafka: { brokers: ['localhost:1'] },
      postgres: { primary: primary.url('postgres', 'app') },
    }),
    '/dev/null/kpipe.yaml',
    process.env,
  ).postgres!,
  { projections: [], logRetentionMs: 86_400_000, nowMs: Date.now(), planOnly: false },
);
await app(grants({ prefix: 'kpipe', projections: [] }).sql);
await app(`create role saver login password '${password}' replication in role kpipe_backup;
  create role watcher login password '${password}' in role kpipe_monitor;
  create table public.account (id bigint primary key, note text not null);
  insert into public.account select i, repeat(md5(i::text), 4) from generate_series(1, 3000) i`);
const hba = join(primary.directory, 'pg_hba.conf');
const users = 'saver,watcher';
writeFileSync(
  hba,
  ['all', 'replication']
    .map((what) => `hostssl ${what} ${users} 127.0.0.1/32 scram-sha-256\nhost ${what} ${users} all reject\n`)
    .join('') + readFileSync(hba, 'utf8'),
);
await primary.reload();
const standby = await cluster.standby(primary, 'replica1', { settings: tls });
const directory = await backupDirectory({
  primary: { url: url('saver', primary) },
  standby: { url: url('saver', standby) },
});

describe('the backup’s user', () => {
  beforeAll(async () => {
    await standby.waitFor(`select pg_last_wal_replay_lsn() >= $1::pg_lsn`, [
      (await primary.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn'))[0]!.lsn,
    ]);
  });

  test('given TLS only, when the log is received, a backup taken, proven and restored, then everything goes encrypted', async () => {
    const place = directory.place({ backups: { verify: { queries: ['select count(*) = 3000 from public.account'] } } });
    const archive = receiving(place);
    try {
      const senders = () =>
        primary.query<{ ssl: boolean }>(
          `select s.ssl from pg_stat_replication r join pg_stat_ssl s using (pid) where r.usename = 'saver'`,
        );
      await expect.poll(senders, { timeout: 90_000 }).toEqual([{ ssl: true }]);

      const { id, entry } = await create(place);

      expect(entry.fingerprint).toMatchObject({ method: 'standby', standby: 'replica1', notCompared: [] });
      expect(entry.warnings).toEqual([
        'data checksums are off: rot on the primary is copied as it is, and only the comparison of contents can see it',
      ]);
      const report = await verify(directory, place, 'full', id);
      expect(report.checks.filter(({ ok }) => ok !== true)).toEqual([]);
      expect(report).toMatchObject({ ok: true, level: 'full' });
    } finally {
      await archive.stop();
    }

    const to = join(cluster.directory, 'restored');
    const restored = await restoreBackup(
      place,
      {
        id: 'latest',
        directory: to,
        target: { kind: 'latest' },
        promote: false,
        scratchRoot: directory.scratch,
        environment: process.env,
        signal: new AbortController().signal,
        report: () => undefined,
      },
      () => Promise.resolve(true),
    );
    expect(restored).toMatchObject({ done: true });
  });

  test('given a certificate of another CA, then neither init nor create connects', async () => {
    const place = directory.place({ postgres: { primary: url('saver', primary, 'stranger') } });
    const before = await place.repository.listBackups();

    await expect(initBackups(place.config)).rejects.toMatchObject({ code: 'KPIPE_POSTGRES_UNTRUSTED' });
    await expect(create(place)).rejects.toMatchObject({ code: 'KPIPE_POSTGRES_UNTRUSTED' });

    expect(await place.repository.listBackups()).toEqual(before);
  });

  test('given a certificate of another CA, when the log is received, then the receiver says so and gets nothing', async () => {
    const place = directory.place({ postgres: { primary: url('saver', primary, 'stranger') } });
    const archive = receiving(place);
    try {
      await expect.poll(() => archive.troubles.join('\n'), { timeout: 90_000 }).toMatch(/certificate verify failed/);
    } finally {
      await archive.stop();
    }
  });
});

test('given TLS only, when the monitor looks at both ends and probes, then it sees everything', async () => {
  const text = JSON.stringify({
    pipeline: 'test',
    kafka: { brokers: ['localhost:1'] },
    postgres: {
      primary: url('watcher', primary),
      replicas: [{ name: 'replica1', url: url('watcher', standby) }],
    },
  });
  const config = parseConfig(text, '/dev/null/kpipe.yaml', process.env);

  const report = await lookAtReplicas(config, config.postgres!, { probe: true, conditions: [] });

  expect(report.notes).toEqual([]);
  expect(report.standbys).toMatchObject([{ name: 'replica1', state: 'streaming', receiver: { status: 'streaming' } }]);
  expect(report.standbys[0]!.probeMs).toBeGreaterThan(0);
  const looked = await primary.query<{ ssl: boolean }>(
    `select distinct s.ssl from pg_stat_activity a join pg_stat_ssl s using (pid) where a.usename in ('saver', 'watcher')`,
  );
  expect(looked.every(({ ssl }) => ssl)).toBe(true);
});

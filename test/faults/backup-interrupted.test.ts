/**
 * Ctrl-C and SIGKILL at each step of a backup and of its proof: nothing that looks like a backup, no server, no directory
 * and no paused standby is left, or the next run puts it right.
 */
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { beforeAll, describe, expect, test } from 'vitest';

import { listBackups } from '../../src/lib/backup/catalogue.ts';
import type { BackupPlace } from '../../src/lib/backup/place.ts';
import { backupDirectory, create, verify } from '../support/backup-place.ts';
import { clusterOfFile } from '../support/postgres-cluster.ts';
import { root, runProgram, type Ended } from '../support/run-kpipe.ts';

const cluster = await clusterOfFile();
const directory = await backupDirectory(cluster);
const config = join(directory.path, 'kpipe.yaml');
let place: BackupPlace;

beforeAll(async () => {
  await cluster.sql(
    `create table public.account (id bigint primary key, note text not null);
     insert into public.account select i, repeat(md5(i::text), 4) from generate_series(1, 5000) i`,
    { database: 'app' },
  );
  writeFileSync(config, directory.configText(), { mode: 0o600 });
  place = directory.place();
  await create(place);
});

/** Runs it until the signal comes, which it sends itself when it has written a line that matches. */
function kpipeBackup(signal: 'SIGINT' | 'SIGKILL', at: RegExp, ...args: string[]): Promise<Ended> {
  const hook = ['--import', `${root}test/support/signal-at-line.mjs`];
  const running = runProgram(process.execPath, [...hook, `${root}bin/run.js`, 'backup', ...args, '--config', config], {
    cwd: directory.path,
    env: {
      ...process.env,
      XDG_STATE_HOME: join(directory.path, 'state'),
      KPIPE_TEST_SIGNAL: signal,
      KPIPE_TEST_SIGNAL_AT: at.source,
    },
  });
  running.child.stdin.end();
  return running.ended;
}

const scratchEntries = (): string[] => (existsSync(directory.scratch) ? readdirSync(directory.scratch) : []);
const unfinished = (): string[] =>
  readdirSync(join(directory.repository, 'backups')).filter((name) => name.endsWith('.partial'));
const isPaused = async (): Promise<boolean> => {
  const [row] = await cluster.sql<{ paused: boolean }>('select pg_is_wal_replay_paused() as paused', {
    port: cluster.standby.port,
  });
  return row!.paused;
};

describe('Ctrl-C during kpipe backup verify', () => {
  test.each(['key', 'wal', 'files', 'start', 'recover', 'content', 'queries', 'amcheck'])(
    'given the check %s runs, when it is interrupted, then 130, no report, and nothing is left',
    async (check) => {
      const before = (await listBackups(place, Date.now())).map(({ verified }) => verified?.at);
      const at = new RegExp(`… ${check} `);

      const { code, stdout, stderr } = await kpipeBackup('SIGINT', at, 'verify', '--scratch', directory.scratch);

      expect(code, `stderr: ${stderr}`).toBe(130);
      expect(stdout).not.toContain('GOOD');
      expect(scratchEntries()).toEqual([]);
      expect((await listBackups(place, Date.now())).map(({ verified }) => verified?.at)).toEqual(before);
    },
  );

  test('given kpipe is killed while the restored server runs, when the next verification begins, then it ends that server and takes its directory away', async () => {
    const ended = await kpipeBackup('SIGKILL', /… content /, 'verify', '--scratch', directory.scratch);
    expect(ended).toMatchObject({ signal: 'SIGKILL' });
    expect(scratchEntries()).toHaveLength(1);
    const left = join(directory.scratch, scratchEntries()[0]!);

    const report = await verify(directory, place, 'manifest');

    expect(report.ok).toBe(true);
    expect(existsSync(left)).toBe(false);
    expect(scratchEntries()).toEqual([]);
  });
});

describe('an end during kpipe backup create', () => {
  const phases = ['preflight', 'copy', 'store', 'fingerprint', 'archive'];

  test.each(phases)(
    'given the phase %s, when it is interrupted, then 130, and there is no backup of it',
    async (phase) => {
      const before = await place.repository.listBackups();

      const { code, stderr } = await kpipeBackup('SIGINT', new RegExp(`· ${phase} `), 'create');

      expect(code, `stderr: ${stderr}`).toBe(130);
      expect(await place.repository.listBackups()).toEqual(before);
      expect(unfinished()).toEqual([]);
      expect(await isPaused()).toBe(false);
    },
  );

  test.each(phases)(
    'given the phase %s, when kpipe is killed, then there is no backup of it, and the next run puts everything right',
    async (phase) => {
      const before = await place.repository.listBackups();

      const ended = await kpipeBackup('SIGKILL', new RegExp(`· ${phase} `), 'create');
      expect(ended).toMatchObject({ signal: 'SIGKILL' });
      expect(await place.repository.listBackups()).toEqual(before);

      const { id } = await create(place);

      expect(await place.repository.listBackups()).toEqual([...before, id]);
      expect(unfinished()).toEqual([]);
      expect(readdirSync(join(directory.repository, 'local', 'work'))).toEqual([]);
      expect(await isPaused()).toBe(false);
      expect(await verify(directory, place, 'manifest', id)).toMatchObject({ ok: true });
    },
  );

  test('given a standby that a killed run left paused, when a backup is taken, then its replay goes on first', async () => {
    await cluster.sql('select pg_wal_replay_pause()', { port: cluster.standby.port });
    const dead = { pid: 999_999_999, startTicks: '1', bootId: 'x', standby: 'replica1' };
    writeFileSync(join(directory.repository, 'local', 'paused-standby.json'), JSON.stringify(dead));

    const made = await create(place);

    expect(made.repaired).toEqual([expect.stringContaining('resumed the replay of replica1')]);
    expect(await isPaused()).toBe(false);
  });
});

describe('two at once', () => {
  test('given a backup that is being taken, when another begins, then it is turned away', async () => {
    const ends = await Promise.allSettled([create(place), create(place)]);

    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(ends).toContainEqual({ status: 'rejected', reason: expect.objectContaining({ code: 'KPIPE_LOCKED' }) });
  });

  test('given a standby that somebody has paused, when a backup would pause it too, then KPIPE_LOCKED, and the pause stays theirs', async () => {
    const before = await place.repository.listBackups();
    await cluster.sql('select pg_wal_replay_pause()', { port: cluster.standby.port });
    try {
      await expect(create(place)).rejects.toMatchObject({ code: 'KPIPE_LOCKED' });
      expect(await isPaused()).toBe(true);
    } finally {
      await cluster.sql('select pg_wal_replay_resume()', { port: cluster.standby.port });
    }
    expect(await place.repository.listBackups()).toEqual(before);
  });
});

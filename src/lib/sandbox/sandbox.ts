import { randomBytes } from 'node:crypto';
import { existsSync, rmdirSync, rmSync } from 'node:fs';

import { codeOf, KpipeError } from '../errors.ts';
import { bigQueryAvailability } from './bigquery.ts';
import { assertConfigWritable, removeConfigFile, writeConfigFile } from './config-file.ts';
import { assertEnterable, logPath, makeSandboxDirectories, type SandboxPaths, sandboxPaths } from './directory.ts';
import { probe } from './health.ts';
import { withLock } from './lock.ts';
import { assignPorts, flatPorts, portsFrom, wantedPorts } from './ports.ts';
import { postgresUser } from './postgres.ts';
import { rssBytes } from './process-identity.ts';
import { runningProcess } from './processes.ts';
import { startServers } from './start.ts';
import { clientPort, readState, serverNames, writeState } from './state.ts';
import { stopServers } from './stop.ts';
import { findTools } from './tools.ts';
import type {
  BrokerCount,
  ReportProgress,
  SandboxDown,
  SandboxOptions,
  SandboxReset,
  SandboxState,
  SandboxStatus,
  SandboxUp,
  ServerStatus,
} from './types.ts';

const LOCK_DEADLINE_MS = 180_000;
const READY_DEADLINE_MS = 120_000;

/**
 * Starts what does not run yet and waits until every server serves. On a failure, or when the signal aborts, what this call
 * started is stopped again. Throws KPIPE_DEPENDENCY_MISSING, KPIPE_SANDBOX_FAILED, KPIPE_REFUSED (another broker count
 * than the data has) and KPIPE_INTERRUPTED.
 */
export async function startSandbox(
  options: SandboxOptions,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<SandboxUp> {
  const began = Date.now();
  const paths = sandboxPaths(options.directory);
  assertLinux();
  const tools = findTools(options.environment);
  const user = postgresUser();
  makeSandboxDirectories(paths);
  assertEnterable(paths.data, user);
  assertConfigWritable(paths, options);
  return await withLock(paths.lock, LOCK_DEADLINE_MS, report, signal, async () => {
    const before = new Set(runningServers(paths, readState(paths)));
    const state = await decideState(options, paths);
    const started = serverNames(state).some(
      (name) => !before.has(name) && (name !== 'bigquery' || state.bigquery.available),
    );
    writeState(paths, state);
    try {
      const { environment } = options;
      await startServers({ paths, state, tools, user, environment, report, signal, deadlineMs: READY_DEADLINE_MS });
    } catch (error) {
      await stopServers(paths, report, before);
      throw signal.aborted ? interrupted(error) : error;
    }
    const configPath = writeConfigFile(paths, state, options);
    writeState(paths, { ...state, configPath });
    return { ...(await sandboxStatus(options.directory)), started, elapsedMs: Date.now() - began };
  });
}

/** What runs and whether it serves. It changes nothing, and needs no lock. */
export async function sandboxStatus(directory: string): Promise<SandboxStatus> {
  const paths = sandboxPaths(directory);
  const state = readState(paths);
  if (state === undefined) {
    return { directory, state: 'absent', brokers: null, configPath: null, servers: [] };
  }
  const servers = await Promise.all(serverNames(state).map((name) => serverStatus(paths, state, name)));
  const wanted = servers.filter((server) => server.state !== 'unavailable');
  const running = wanted.filter((server) => server.pid !== null);
  const summary = wanted.every((server) => server.state === 'ready') ? 'up' : running.length === 0 ? 'down' : 'partial';
  return { directory, state: summary, brokers: state.brokers, configPath: state.configPath, servers };
}

/** Stops every process that this sandbox ever recorded and that still lives; the data stays. */
export async function stopSandbox(
  directory: string,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<SandboxDown> {
  const paths = sandboxPaths(directory);
  if (!existsSync(paths.run)) {
    return { directory, stopped: [] };
  }
  return await withLock(paths.lock, LOCK_DEADLINE_MS, report, signal, async () => ({
    directory,
    stopped: await stopServers(paths, report),
  }));
}

/** Stops, and deletes the data, passwords, logs, ports and an unchanged kpipe.yaml. Only what the sandbox made is deleted, not what else is in its directory. */
export async function resetSandbox(
  directory: string,
  report: ReportProgress,
  signal: AbortSignal,
): Promise<SandboxReset> {
  const paths = sandboxPaths(directory);
  if (!existsSync(paths.run)) {
    return { directory, stopped: [], deleted: false };
  }
  const stopped = await withLock(paths.lock, LOCK_DEADLINE_MS, report, signal, async () => {
    const servers = await stopServers(paths, report);
    const state = stateOrUndefined(paths);
    if (state !== undefined) {
      removeConfigFile(paths, state);
    }
    for (const path of [paths.state, paths.config, paths.conf, paths.data, paths.logs, paths.secrets, paths.run]) {
      rmSync(path, { recursive: true, force: true });
    }
    return servers;
  });
  removeIfEmpty(directory);
  return { directory, stopped, deleted: true };
}

/** Broker count, cluster id and ports: as before where there was a before. */
async function decideState(options: SandboxOptions, paths: SandboxPaths): Promise<SandboxState> {
  const previous = readState(paths);
  const brokers: BrokerCount = options.brokers ?? previous?.brokers ?? 3;
  if (previous !== undefined && previous.brokers !== brokers) {
    throw new KpipeError('KPIPE_REFUSED', `this sandbox was made with ${previous.brokers} broker(s), not ${brokers}`, {
      next: 'kpipe sandbox reset, which deletes its data, and then up again; or leave --brokers out',
    });
  }
  const running = new Set<string>(runningServers(paths, previous));
  // Running brokers know the others' controller ports: while one of them runs, Kafka's ports stay.
  const kafkaRuns = [...running].some((name) => name.startsWith('kafka-'));
  const taken = [
    ...Array.from({ length: 2 * brokers }, () => kafkaRuns),
    running.has('postgres-primary'),
    running.has('postgres-replica1'),
    running.has('redis'),
    running.has('bigquery'),
    running.has('bigquery'),
  ];
  const flat = await assignPorts(
    wantedPorts(options.ports ?? {}, brokers),
    previous && flatPorts(previous.ports),
    taken,
  );
  return {
    version: 1,
    directory: paths.directory,
    brokers,
    kafkaClusterId: previous?.kafkaClusterId ?? kafkaClusterId(),
    ports: portsFrom(flat, brokers),
    bigquery: bigQueryAvailability(options),
    configPath: previous?.configPath ?? null,
  };
}

/** 16 random bytes in URL-safe base64, as Kafka writes a Uuid; Kafka's command line takes none that begins with a dash. */
function kafkaClusterId(): string {
  const id = randomBytes(16).toString('base64url');
  return id.startsWith('-') ? kafkaClusterId() : id;
}

function runningServers(paths: SandboxPaths, state: SandboxState | undefined): readonly string[] {
  return state === undefined ? [] : serverNames(state).filter((name) => runningProcess(paths, name) !== undefined);
}

async function serverStatus(
  paths: SandboxPaths,
  state: SandboxState,
  name: ServerStatus['name'],
): Promise<ServerStatus> {
  const running = runningProcess(paths, name);
  const common = { name, address: `127.0.0.1:${clientPort(state, name)}`, log: logPath(paths, name) };
  if (running === undefined) {
    return name === 'bigquery' && !state.bigquery.available
      ? { ...common, state: 'unavailable', pid: null, rssBytes: null, detail: state.bigquery.reason }
      : { ...common, state: 'stopped', pid: null, rssBytes: null, detail: null };
  }
  const notReady = await probe(paths, state, name);
  return {
    ...common,
    state: notReady === undefined ? 'ready' : 'not-ready',
    pid: running.pid,
    rssBytes: rssBytes(running.pid),
    detail: notReady ?? null,
  };
}

/** A state that cannot be read must not keep a reset from clearing it away. */
function stateOrUndefined(paths: SandboxPaths): SandboxState | undefined {
  try {
    return readState(paths);
  } catch {
    return undefined;
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch (error) {
    if (codeOf(error) !== 'ENOTEMPTY' && codeOf(error) !== 'ENOENT' && codeOf(error) !== 'EBUSY') {
      throw error;
    }
  }
}

function interrupted(cause: unknown): KpipeError {
  return new KpipeError(
    'KPIPE_INTERRUPTED',
    'the sandbox was not started: interrupted; what had been started is stopped',
    {
      next: 'kpipe sandbox up',
      cause,
    },
  );
}

function assertLinux(): void {
  if (process.platform !== 'linux') {
    throw new KpipeError('KPIPE_DEPENDENCY_MISSING', `the sandbox runs on Linux, not on ${process.platform}`, {
      next: 'docker compose up, with the project’s compose.yaml',
    });
  }
}

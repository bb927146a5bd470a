import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { loadConfig } from '../../src/lib/config/load.ts';
import { resetSandbox, sandboxStatus, startSandbox, stopSandbox } from '../../src/lib/sandbox/sandbox.ts';
import type { SandboxOptions, SandboxProgress } from '../../src/lib/sandbox/types.ts';

const never = new AbortController().signal;
const quiet = (): void => undefined;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'kpipe-sandbox-'));
});

afterEach(async () => {
  await resetSandbox(directory, quiet, never);
  await nothingRuns();
  rmSync(directory, { recursive: true, force: true });
});

/** A program's own short-lived children (initdb asks postgres for its version) may outlive it by a moment. */
async function nothingRuns(): Promise<void> {
  await expect.poll(() => processesBelow(directory), { timeout: 30_000 }).toEqual([]);
}

const options = (more: Partial<SandboxOptions> = {}): SandboxOptions => ({
  directory,
  brokers: 1,
  workingDirectory: directory,
  environment: process.env,
  ...more,
});

describe('a sandbox of one broker', () => {
  it('serves, stops, and keeps data and ports for the next start', async () => {
    const up = await startSandbox(options(), quiet, never);

    expect(up).toMatchObject({ state: 'up', started: true, brokers: 1, configPath: join(directory, 'kpipe.yaml') });
    const states = Object.fromEntries(up.servers.map((server) => [server.name, server.state]));
    expect(states).toMatchObject({
      'kafka-1': 'ready',
      'postgres-primary': 'ready',
      'postgres-replica1': 'ready',
      redis: 'ready',
    });
    expect(['ready', 'unavailable']).toContain(states['bigquery']);
    const config = loadConfig({ file: join(directory, 'kpipe.yaml'), cwd: directory, env: {} });
    expect(config.kafka.brokers).toEqual([up.servers[0]?.address]);
    expect(statSync(join(directory, 'kpipe.yaml')).mode & 0o777).toBe(0o600);

    const again = await startSandbox(options(), quiet, never);
    expect(again.started).toBe(false);
    expect(again.servers.map((server) => server.pid)).toEqual(up.servers.map((server) => server.pid));

    const down = await stopSandbox(directory, quiet, never);
    expect(down.stopped.filter((server) => server.how === 'killed')).toEqual([]);
    expect(await sandboxStatus(directory)).toMatchObject({ state: 'down' });
    await nothingRuns();

    const back = await startSandbox(options(), quiet, never);
    expect(back.servers.map((server) => server.address)).toEqual(up.servers.map((server) => server.address));
    expect(back.state).toBe('up');
  });

  it.each(['redis starting', 'kafka-1 starting', 'postgres-primary ready'])(
    'is stopped whole after kpipe was killed at "%s"',
    async (line) => {
      const starter = startInAnotherProcess();
      await said(starter, line);
      starter.kill('SIGKILL');
      await ended(starter);

      const down = await stopSandbox(directory, quiet, never);

      expect(down.stopped.length).toBeGreaterThan(0);
      await nothingRuns();
      expect((await startSandbox(options(), quiet, never)).state).toBe('up');
    },
  );

  it('starts only the server that is not there any more', async () => {
    const up = await startSandbox(options({ bigquery: 'off' }), quiet, never);
    const pids = new Map(up.servers.map((server) => [server.name, server.pid]));
    process.kill(pids.get('redis')!, 'SIGKILL');
    await expect.poll(async () => (await sandboxStatus(directory)).state, { timeout: 60_000 }).toBe('partial');

    const again = await startSandbox(options({ bigquery: 'off' }), quiet, never);

    expect(again).toMatchObject({ state: 'up', started: true });
    const changed = again.servers.filter((server) => server.pid !== pids.get(server.name)).map((server) => server.name);
    expect(changed).toEqual(['redis']);
  });

  it('is deleted whole by reset, with its kpipe.yaml, and nothing else is', async () => {
    writeFileSync(join(directory, 'mine.txt'), 'not the sandbox’s');
    await startSandbox(options({ bigquery: 'off' }), quiet, never);

    const reset = await resetSandbox(directory, quiet, never);

    expect(reset.deleted).toBe(true);
    expect(readdirSync(directory)).toEqual(['mine.txt']);
    expect(await sandboxStatus(directory)).toMatchObject({ state: 'absent', servers: [] });
    expect(await resetSandbox(directory, quiet, never)).toEqual({ directory, stopped: [], deleted: false });
  });

  it('waits for another kpipe that is starting it, and finds it up', async () => {
    const [first, second] = await Promise.all([
      startSandbox(options({ bigquery: 'off' }), quiet, never),
      startSandbox(options({ bigquery: 'off' }), quiet, never),
    ]);

    expect(first.started).not.toBe(second.started);
    expect(second.servers.map((server) => server.pid)).toEqual(first.servers.map((server) => server.pid));
  });

  it('never overwrites a kpipe.yaml that is not its own', async () => {
    const mine = join(directory, 'mine.yaml');
    writeFileSync(mine, 'pipeline: mine\n');

    const start = startSandbox(options({ configPath: mine }), quiet, never);

    await expect(start).rejects.toMatchObject({ code: 'KPIPE_REFUSED' });
    expect(readFileSync(mine, 'utf8')).toBe('pipeline: mine\n');
  });

  it('leaves nothing running when the start is interrupted', async () => {
    const interruption = new AbortController();
    const onProgress = (progress: SandboxProgress): void => {
      if (progress.server === 'kafka-1' && progress.phase === 'starting') {
        interruption.abort();
      }
    };

    const start = startSandbox(options(), onProgress, interruption.signal);

    await expect(start).rejects.toMatchObject({ code: 'KPIPE_INTERRUPTED' });
    await nothingRuns();
  });

  it('says which program is missing, before anything is made', async () => {
    const environment = { ...process.env, KAFKA_HOME: '/nowhere' };

    const start = startSandbox(options({ environment }), quiet, never);

    await expect(start).rejects.toThrow(
      /not found on this machine: Apache Kafka \(no broker jars in \/nowhere\/libs\)$/,
    );
    await expect(start).rejects.toMatchObject({ code: 'KPIPE_DEPENDENCY_MISSING' });
    expect(readdirSync(directory)).toEqual([]);
  });

  it('refuses a fixed port that is in use', async () => {
    const occupied = await listen();
    const address = occupied.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;

    const start = startSandbox(options({ ports: { redis: port } }), quiet, never);

    await expect(start).rejects.toMatchObject({ code: 'KPIPE_SANDBOX_FAILED', where: { host: `127.0.0.1:${port}` } });
    occupied.close();
  });

  it('quotes the log of a server that dies while it starts', async () => {
    await startSandbox(options({ bigquery: 'off' }), quiet, never);
    await stopSandbox(directory, quiet, never);
    writeFileSync(join(directory, 'data', 'redis', 'dump.rdb'), 'not a dump file at all');

    const start = startSandbox(options({ bigquery: 'off' }), quiet, never);

    await expect(start).rejects.toThrow(/^redis ended while it started: .*(signature|Fatal|RDB|DB)/);
    await expect(start).rejects.toMatchObject({
      code: 'KPIPE_SANDBOX_FAILED',
      next: `read ${join(directory, 'logs', 'redis.log')}`,
    });
    await nothingRuns();
  });
});

function startInAnotherProcess(): ChildProcess {
  const script = fileURLToPath(new URL('../support/start-sandbox.ts', import.meta.url));
  return spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
}

function said(child: ChildProcess, line: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout?.on('data', (bytes: Buffer) => {
      text += bytes.toString();
      if (text.includes(line)) {
        resolve();
      }
    });
    child.once('exit', (code) => reject(new Error(`ended with ${String(code)} before it said '${line}': ${text}`)));
  });
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once('close', () => resolve());
  });
}

function listen(): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

/** Commands of the processes that work in the directory, whatever the sandbox itself believes. */
function processesBelow(path: string): readonly string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const inside = readlinkSync(`/proc/${pid}/cwd`).startsWith(path);
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return inside && command !== '' ? [`${pid} ${command.slice(0, 80)}`] : [];
      } catch {
        return [];
      }
    });
}

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Redis } from 'ioredis';
import { afterAll, vi } from 'vitest';

import { findRedis, isMissing } from '../../src/lib/sandbox/tools.ts';
import { freePort } from './free-port.ts';

/** A Redis of one test file's own, which it may freeze, kill and empty. It saves a snapshot only when it is told to. */
export interface OwnRedis {
  readonly url: string;
  readonly client: Redis;
  readonly freeze: () => void;
  readonly thaw: () => void;
  readonly kill: () => Promise<void>;
  readonly start: () => Promise<void>;
}

/** Call it at the top level of a test file; it is ended with the file. */
export async function ownRedis(): Promise<OwnRedis> {
  const tool = findRedis(process.env);
  if (isMissing(tool)) {
    throw new Error(tool.missing);
  }
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-redis-'));
  const port = await freePort();
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory];
  const client = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => 100 });
  client.on('error', () => undefined);
  let server: ChildProcess | null = null;
  const start = async (): Promise<void> => {
    server = spawn(tool.server, args, { stdio: 'ignore' });
    await vi.waitFor(() => client.ping(), { timeout: 30_000, interval: 50 });
  };
  const kill = async (): Promise<void> => {
    if (server !== null && server.exitCode === null && server.signalCode === null) {
      const ended = once(server, 'exit');
      server.kill('SIGKILL');
      await ended;
    }
  };
  afterAll(async () => {
    client.disconnect();
    await kill();
    rmSync(directory, { recursive: true, force: true });
  });
  await start();
  return {
    url: `redis://127.0.0.1:${port}/0`,
    client,
    freeze: () => void server?.kill('SIGSTOP'),
    thaw: () => void server?.kill('SIGCONT'),
    kill,
    start,
  };
}

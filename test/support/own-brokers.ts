import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll } from 'vitest';

import { resetSandbox, sandboxStatus, startSandbox } from '../../src/lib/sandbox/sandbox.ts';
import { serversOf, type TestServers } from './servers.ts';

/** Servers of one test file's own, whose brokers it may kill. */
export interface OwnServers {
  readonly servers: TestServers;
  /** Kills it with -9; it stays dead until `revive`. */
  readonly kill: (broker: number) => Promise<void>;
  /** Its process stands still until `wake`: it accepts connections and says nothing. */
  readonly freeze: (broker: number) => Promise<void>;
  readonly wake: (broker: number) => Promise<void>;
  /** Starts what does not run, and waits until it serves. */
  readonly revive: () => Promise<void>;
}

/** Call it at the top level of a test file; the servers are deleted at its end. Brokers are numbered from 1. */
export async function startOwnServers(): Promise<OwnServers> {
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-own-'));
  const configPath = join(directory, 'kpipe.yaml');
  const { signal } = new AbortController();
  const options = { directory, brokers: 3, bigquery: 'off', workingDirectory: directory, configPath } as const;
  const revive = async (): Promise<void> => {
    await startSandbox({ ...options, environment: process.env }, () => undefined, signal);
  };
  afterAll(async () => {
    await resetSandbox(directory, () => undefined, signal);
    rmSync(directory, { recursive: true, force: true });
  });
  await revive();
  const send = async (broker: number, signalName: NodeJS.Signals): Promise<void> => {
    const { servers } = await sandboxStatus(directory);
    const pid = servers.find(({ name }) => name === `kafka-${broker}`)?.pid;
    if (pid === undefined || pid === null) {
      throw new Error(`kafka-${broker} does not run`);
    }
    process.kill(pid, signalName);
  };
  return {
    servers: serversOf(directory),
    revive,
    kill: (broker) => send(broker, 'SIGKILL'),
    freeze: (broker) => send(broker, 'SIGSTOP'),
    wake: (broker) => send(broker, 'SIGCONT'),
  };
}

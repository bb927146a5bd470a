import { mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { KpipeError } from '../errors.ts';
import { makeSandboxDirectories, sandboxPaths } from './directory.ts';
import { probe } from './health.ts';
import { brokerSpec, type BrokerTools, prepareBroker } from './kafka.ts';
import { assignPorts, portsFrom, wantedPorts } from './ports.ts';
import { deathOf, startProcess, stopRecorded } from './processes.ts';
import type { SandboxState } from './types.ts';

const READY_DEADLINE_MS = 90_000;
/** The archive is written while the broker ends. */
const STOP_DEADLINE_MS = 60_000;

/**
 * Runs one broker in a scratch directory until it serves, and lets the JVM write the classes that it loaded to `archive`
 * (application class-data sharing, JEP 350). Three brokers that map that file started with 3.7 CPU s
 * each instead of 5.2 (medians of 2 to 3 starts, Java 17, 2 shared cores). The file is put in
 * its place whole; a JVM or jars other than those it was made with ignore it.
 */
export async function makeClassArchive(tools: BrokerTools, archive: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'kpipe-archive-'));
  const paths = sandboxPaths(directory);
  const signal = AbortSignal.timeout(READY_DEADLINE_MS);
  const fresh = `${archive}.${process.pid}`;
  try {
    makeSandboxDirectories(paths);
    const state = await scratchState(directory);
    await prepareBroker(paths, state, tools, 1, signal);
    const started = startProcess(paths, brokerSpec(paths, tools, 1, [`-XX:ArchiveClassesAtExit=${fresh}`]));
    let notReady = await probe(paths, state, 'kafka-1');
    while (notReady !== undefined) {
      if (started.hasEnded() || signal.aborted) {
        throw deathOf(started, `the broker that shows its classes did not serve (${notReady})`);
      }
      await sleep(200);
      notReady = await probe(paths, state, 'kafka-1');
    }
    const stopped = await stopRecorded(paths, 'kafka-1', 'SIGTERM', STOP_DEADLINE_MS);
    if (stopped?.how !== 'stopped') {
      throw new KpipeError('KPIPE_SANDBOX_FAILED', 'the broker that shows its classes did not end by itself');
    }
    renameSync(fresh, archive);
  } finally {
    await stopRecorded(paths, 'kafka-1', 'SIGKILL', 5_000);
    rmSync(fresh, { force: true });
    rmSync(directory, { recursive: true, force: true });
  }
}

async function scratchState(directory: string): Promise<SandboxState> {
  return {
    version: 1,
    directory,
    brokers: 1,
    kafkaClusterId: 'MkU3OEVBNTcwNTJENDM2Qg',
    ports: portsFrom(await assignPorts(wantedPorts({}, 1), undefined, []), 1),
    bigquery: { available: false, reason: 'a scratch broker only' },
    configPath: null,
  };
}

import { setTimeout as sleep } from 'node:timers/promises';

import { KpipeError } from '../errors.ts';
import { bigQuerySpec } from './bigquery.ts';
import type { SandboxPaths, ServerUser } from './directory.ts';
import { probe } from './health.ts';
import { brokerName, brokerSpec, nodeIds, prepareBroker } from './kafka.ts';
import { preparePrimary, prepareReplica, serverSpec } from './postgres.ts';
import { deathOf, type ProcessSpec, runningProcess, type StartedProcess, startProcess } from './processes.ts';
import { provisionPrimary } from './provision.ts';
import { prepareRedis, redisSpec } from './redis.ts';
import { findBigQuery, isMissing, type SandboxTools } from './tools.ts';
import type { ReportProgress, SandboxState, ServerName } from './types.ts';

/** What every step of a start needs. */
export interface StartContext {
  readonly paths: SandboxPaths;
  readonly state: SandboxState;
  readonly tools: SandboxTools;
  readonly user: ServerUser | undefined;
  readonly environment: NodeJS.ProcessEnv;
  readonly report: ReportProgress;
  readonly signal: AbortSignal;
  readonly deadlineMs: number;
}

/** Starts each server that does not run, all stores side by side, and resolves when every one of them serves. */
export async function startServers(context: StartContext): Promise<void> {
  const failed = new AbortController();
  const signal = AbortSignal.any([context.signal, failed.signal]);
  const inner: StartContext = { ...context, signal };
  const starts = [startPostgres(inner), startRedis(inner), startKafka(inner), startBigQuery(inner)];
  try {
    await Promise.all(starts);
  } catch (error) {
    failed.abort();
    await Promise.allSettled(starts);
    throw error;
  }
}

async function startKafka(context: StartContext): Promise<void> {
  const { paths, state, tools, signal } = context;
  const began = Date.now();
  const stopped = nodeIds(state).filter((id) => runningProcess(paths, brokerName(id)) === undefined);
  await Promise.all(stopped.map((id) => prepareBroker(paths, state, tools, id, signal)));
  // All of them before any is awaited: a broker is unfenced only when the quorum has a majority.
  const started = new Map(stopped.map((id) => [id, start(context, brokerSpec(paths, tools, id))]));
  await Promise.all(nodeIds(state).map((id) => awaitReady(context, brokerName(id), started.get(id), began)));
}

async function startPostgres(context: StartContext): Promise<void> {
  const { paths, state, tools, user, signal } = context;
  const began = Date.now();
  let primary: StartedProcess | undefined;
  if (runningProcess(paths, 'postgres-primary') === undefined) {
    await preparePrimary(paths, state, tools, user, signal);
    primary = start(context, serverSpec(paths, tools, user, 'postgres-primary'));
  }
  await awaitReady(context, 'postgres-primary', primary, began, () => provisionPrimary(paths, state));
  let replica: StartedProcess | undefined;
  if (runningProcess(paths, 'postgres-replica1') === undefined) {
    await prepareReplica(paths, state, tools, user, signal);
    replica = start(context, serverSpec(paths, tools, user, 'postgres-replica1'));
  }
  await awaitReady(context, 'postgres-replica1', replica, began);
}

async function startRedis(context: StartContext): Promise<void> {
  const { paths, state, tools } = context;
  const began = Date.now();
  let redis: StartedProcess | undefined;
  if (runningProcess(paths, 'redis') === undefined) {
    prepareRedis(paths, state);
    redis = start(context, redisSpec(paths, tools));
  }
  await awaitReady(context, 'redis', redis, began);
}

async function startBigQuery(context: StartContext): Promise<void> {
  const { paths, state, environment, report } = context;
  const began = Date.now();
  const tool = findBigQuery(environment);
  if (!state.bigquery.available || isMissing(tool)) {
    const reason = state.bigquery.available ? 'the stand-in is not installed' : state.bigquery.reason;
    report({ server: 'bigquery', phase: 'unavailable', detail: reason });
    return;
  }
  const running = runningProcess(paths, 'bigquery') !== undefined;
  const bigquery = running ? undefined : start(context, bigQuerySpec(paths, state, tool));
  await awaitReady(context, 'bigquery', bigquery, began);
}

function start(context: StartContext, spec: ProcessSpec): StartedProcess {
  context.signal.throwIfAborted();
  context.report({ server: spec.name, phase: 'starting' });
  return startProcess(context.paths, spec);
}

/** Waits until the server serves, ends, or the deadline passes. `then` is part of becoming ready. */
async function awaitReady(
  context: StartContext,
  server: ServerName,
  started: StartedProcess | undefined,
  began: number,
  then: () => Promise<void> = async () => undefined,
): Promise<void> {
  const { paths, state, report, signal, deadlineMs } = context;
  const deadline = Date.now() + deadlineMs;
  for (;;) {
    signal.throwIfAborted();
    const notReady = await probe(paths, state, server);
    if (notReady === undefined) {
      await then();
      report({ server, phase: 'ready', elapsedMs: Date.now() - began });
      return;
    }
    if (started?.hasEnded() === true) {
      throw deathOf(started, `${server} ended while it started`);
    }
    if (Date.now() > deadline) {
      throw new KpipeError('KPIPE_SANDBOX_FAILED', `${server} is not ready after ${deadlineMs / 1000} s: ${notReady}`, {
        next: `read ${started?.log ?? 'its log'}`,
      });
    }
    await sleep(200, undefined, { signal });
  }
}

import { DeadlineExpired, withDeadline } from '../deadline.ts';
import type { RunObserver } from '../runtime/observer.ts';
import type { RoleRun } from '../runtime/run-role.ts';
import { liveness, readiness, type RunState } from '../runtime/run-state.ts';
import type { Sink, SinkUsage } from '../runtime/sink.ts';
import { createRoleMetrics } from './role-metrics.ts';
import { startHealthServer } from './server.ts';

export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/** A role's health and metrics over HTTP, from before it joins until it has ended. */
export interface RunExposure {
  readonly url: string;
  readonly observer: RunObserver;
  /** From now on answers are about this run. */
  readonly follow: (
    run: Pick<RoleRun<never>, 'state' | 'backlog'>,
    sink: Pick<Sink<never>, 'ping' | 'describe' | 'usage'>,
  ) => void;
  readonly close: () => Promise<void>;
}

const sinkDeadlineMs = 2000;
/** Probes come from several sides; the sink is asked once a second. */
const sinkAnswerKeptMs = 1000;
const starting: RunState = {
  assigned: null,
  held: 0,
  isDraining: false,
  failure: null,
  paused: new Map(),
  isBusy: false,
  stillMs: 0,
};

export async function exposeRun(role: string, address: MetricsAddress, now: () => number): Promise<RunExposure> {
  const metrics = await createRoleMetrics(role);
  let state = (): RunState => starting;
  let backlog: RoleRun<never>['backlog'] = () => Promise.resolve([]);
  let askSink = (): Promise<string | null> => Promise.resolve('not opened yet');
  let usage = (): SinkUsage | null => null;
  metrics.observe({ state: () => state(), backlog: () => backlog(), usage: () => usage() });
  const server = await startHealthServer(address.host, address.port, {
    live: () => liveness(state()),
    ready: async () => readiness(state(), await askSink()),
    metrics: metrics.read,
  });
  return {
    url: server.url,
    observer: metrics.observer,
    follow: (run, sink) => {
      state = () => run.state();
      backlog = () => run.backlog();
      askSink = sinkProbe(sink, now);
      usage = () => sink.usage?.() ?? null;
    },
    close: () => server.close(),
  };
}

/** What the sink says when it is asked: null, or its problem. */
function sinkProbe(sink: Pick<Sink<never>, 'ping' | 'describe'>, now: () => number): () => Promise<string | null> {
  let last: { readonly atMs: number; readonly answer: Promise<string | null> } | null = null;
  const ask = async (): Promise<string | null> => {
    try {
      await withDeadline(sink.ping?.() ?? Promise.resolve(), sinkDeadlineMs, 'no answer');
      return null;
    } catch (error) {
      return error instanceof DeadlineExpired ? error.message : sink.describe(error).message;
    }
  };
  return () => {
    if (last === null || now() - last.atMs > sinkAnswerKeptMs) {
      last = { atMs: now(), answer: ask() };
    }
    return last.answer;
  };
}

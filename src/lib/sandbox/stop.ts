import type { SandboxPaths } from './directory.ts';
import { recordedNames, stopRecorded } from './processes.ts';
import type { ReportProgress, StoppedServer } from './types.ts';

interface StopStep {
  readonly name: string;
  readonly signal: NodeJS.Signals;
  readonly deadlineMs: number;
}

/**
 * The order of a stop: chains run side by side. PostgreSQL's fast shutdown is SIGINT, the primary first: it sends its last
 * WAL to the replica before it ends. All brokers are told at once: stopped one after the other, the last one would look for
 * a controller to hand its leaders to until its deadline (measured: 20 s and SIGKILL, against 7 s for all three at once).
 */
export function stopPlan(names: readonly string[]): readonly (readonly StopStep[])[] {
  const step = (name: string, signal: NodeJS.Signals, deadlineMs: number): StopStep => ({ name, signal, deadlineMs });
  const known = new Map<string, StopStep>([
    ['kafka-1', step('kafka-1', 'SIGTERM', 20_000)],
    ['kafka-2', step('kafka-2', 'SIGTERM', 20_000)],
    ['kafka-3', step('kafka-3', 'SIGTERM', 20_000)],
    ['postgres-primary', step('postgres-primary', 'SIGINT', 30_000)],
    ['postgres-replica1', step('postgres-replica1', 'SIGINT', 30_000)],
    ['redis', step('redis', 'SIGTERM', 10_000)],
    ['bigquery', step('bigquery', 'SIGTERM', 10_000)],
  ]);
  const chain = (...chained: readonly string[]): readonly StopStep[] =>
    chained.filter((name) => names.includes(name)).flatMap((name) => known.get(name) ?? []);
  // initdb, pg_basebackup and the storage formatter, when kpipe was killed while they ran.
  const others = names.filter((name) => !known.has(name)).map((name) => [step(name, 'SIGTERM', 5_000)]);
  return [
    ...others,
    chain('kafka-1'),
    chain('kafka-2'),
    chain('kafka-3'),
    chain('postgres-primary', 'postgres-replica1'),
    chain('redis'),
    chain('bigquery'),
  ].filter((steps) => steps.length > 0);
}

/** Stops everything that has a record, except `keep`; the stores side by side. */
export async function stopServers(
  paths: SandboxPaths,
  report: ReportProgress,
  keep: ReadonlySet<string> = new Set(),
): Promise<readonly StoppedServer[]> {
  const chains = stopPlan(recordedNames(paths).filter((name) => !keep.has(name)));
  const stopped = await Promise.all(chains.map((steps) => stopChain(paths, steps, report)));
  return stopped.flat();
}

async function stopChain(
  paths: SandboxPaths,
  steps: readonly StopStep[],
  report: ReportProgress,
): Promise<readonly StoppedServer[]> {
  const stopped: StoppedServer[] = [];
  for (const { name, signal, deadlineMs } of steps) {
    const result = await stopRecorded(paths, name, signal, deadlineMs);
    if (result !== undefined) {
      stopped.push(result);
      report({
        server: name,
        phase: 'stopped',
        ...(result.how === 'killed' ? { detail: 'by SIGKILL' } : {}),
        elapsedMs: result.elapsedMs,
      });
    }
  }
  return stopped;
}

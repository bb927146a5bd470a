import { setTimeout as pause } from 'node:timers/promises';

import { KpipeError, messageOf } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { Change, TopicPlan } from './change.ts';
import { sameConfigValue } from './config-keys.ts';
import { hashState, observeTopics, type TopicsState } from './observe.ts';
import { stepsOf, type Step } from './steps.ts';

export interface FailedChange {
  readonly change: Change;
  readonly code: string;
  readonly message: string;
  readonly next: string | null;
}

/** The JSON document of `kpipe topics apply`. */
export interface ApplyResult {
  readonly clusterId: string;
  /** ISO 8601, UTC. */
  readonly appliedAt: string;
  readonly done: readonly Change[];
  readonly failed: readonly FailedChange[];
  readonly notDone: readonly Change[];
  /** Topics that were in sync already. */
  readonly inSync: readonly string[];
}

export interface ApplyOptions {
  readonly nowMs: number;
  /** Between two steps. */
  readonly signal: AbortSignal;
  /** How long the brokers may take to show what the controller has accepted. Default 10 s. */
  readonly visibleWithinMs?: number;
}

/**
 * Executes a plan's changes and nothing else; stops at the first failure. Looks again first: the cluster must be the plan's
 * and as the plan saw it.
 * @throws KPIPE_PLAN_STALE, KPIPE_REFUSED (moving replicas), or the first step's failure: nothing was changed
 */
export async function applyPlan(admin: ClusterAdmin, plan: TopicPlan, options: ApplyOptions): Promise<ApplyResult> {
  refuseMoves(plan.changes);
  const names = [...new Set([...plan.changes, ...plan.inSync].map(({ topic }) => topic))];
  refuseStale(plan, await observeTopics(admin, names, options.nowMs), names);
  const steps = stepsOf(plan.changes);
  const done: Step[] = [];
  let failure: Error | undefined;
  for (const step of steps) {
    try {
      options.signal.throwIfAborted();
      await step.run(admin, { validateOnly: false });
      done.push(step);
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      break;
    }
  }
  if (failure !== undefined && done.length === 0) {
    throw failure;
  }
  const doneChanges = done.flatMap(({ changes }) => changes);
  // What was done was done, also when the cluster cannot be looked at any more.
  const invisible = await awaitVisible(admin, doneChanges, options).catch(() => doneChanges);
  const failed = failure === undefined ? [] : failures(steps[done.length], failure);
  return {
    clusterId: plan.clusterId,
    appliedAt: new Date(options.nowMs).toISOString(),
    done: doneChanges.filter((change) => !invisible.includes(change)),
    failed: [...failed, ...invisible.map(notVisible)],
    notDone: steps.slice(done.length + (failure === undefined ? 0 : 1)).flatMap(({ changes }) => changes),
    inSync: plan.inSync.map(({ topic }) => topic),
  };
}

/** What no apply of this version does. @throws KPIPE_REFUSED for a plan that moves replicas */
export function refuseMoves(changes: readonly Change[]): void {
  const moves = changes.filter(({ kind }) => kind === 'replication').map(({ topic }) => topic);
  if (moves.length === 0) {
    return;
  }
  const others = [...new Set(changes.map(({ topic }) => topic))].filter((topic) => !moves.includes(topic));
  throw new KpipeError(
    'KPIPE_REFUSED',
    `the replication factor of ${moves.join(', ')} differs, and this version cannot move replicas`,
    {
      next:
        others.length === 0
          ? 'declare the replicationFactor that the topic has, or move replicas with kafka-reassign-partitions'
          : `apply the other topics alone: kpipe topics apply ${others.map((topic) => `--topic ${topic}`).join(' ')}`,
    },
  );
}

function refuseStale(plan: TopicPlan, state: TopicsState, names: readonly string[]): void {
  if (state.clusterId !== plan.clusterId) {
    throw new KpipeError(
      'KPIPE_PLAN_STALE',
      `the plan was made for cluster ${plan.clusterId}, this is ${state.clusterId}`,
      {
        next: 'choose the plan’s cluster with --context or --config, or plan again',
      },
    );
  }
  if (hashState(state, names) !== plan.stateHash) {
    throw new KpipeError('KPIPE_PLAN_STALE', `the topics have changed since the plan was made (${plan.observedAt})`, {
      next: 'plan again: kpipe topics plan',
    });
  }
}

function failures(step: Step | undefined, error: unknown): readonly FailedChange[] {
  const known = error instanceof KpipeError ? error : undefined;
  return (step?.changes ?? []).map((change) => ({
    change,
    code: known?.code ?? 'KPIPE_INTERNAL',
    message: messageOf(error),
    next: known?.next ?? null,
  }));
}

function notVisible(change: Change): FailedChange {
  return {
    change,
    code: 'KPIPE_INCOMPLETE',
    message: 'the cluster accepted it and does not show it yet',
    next: 'look again with `kpipe topics plan`',
  };
}

/** The controller answers before the brokers know: waits until they show the changes, and answers those that stay away. */
async function awaitVisible(
  admin: ClusterAdmin,
  changes: readonly Change[],
  options: ApplyOptions,
): Promise<readonly Change[]> {
  const names = [...new Set(changes.map(({ topic }) => topic))];
  const until = performance.now() + (options.visibleWithinMs ?? 10_000);
  for (let waiting = changes; ;) {
    const state = await observeTopics(admin, names, options.nowMs);
    waiting = waiting.filter((change) => !isVisible(change, state));
    if (waiting.length === 0 || performance.now() > until) {
      return waiting;
    }
    await pause(100);
  }
}

function isVisible(change: Change, state: TopicsState): boolean {
  const topic = state.topics.get(change.topic);
  switch (change.kind) {
    case 'create':
      return topic?.partitions === change.to.partitions;
    case 'config':
      return sameConfigValue(topic?.overrides[change.key] ?? '', change.to);
    case 'partitions':
      return (topic?.partitions ?? 0) >= change.to;
    case 'replication':
      return topic?.replicationFactor === change.to;
  }
}

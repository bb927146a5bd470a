import { setTimeout as pause } from 'node:timers/promises';

import { KpipeError, messageOf } from '../errors.ts';
import type { ClusterAdmin } from '../ports.ts';
import type { AuditAct } from './audit.ts';
import type { Change, TopicPlan } from './change.ts';
import { hashState, observeTopics } from './observe.ts';
import { lowerRetention, type RetentionSteps } from './retention-steps.ts';
import { stepsOf, type Step, type StepContext } from './steps.ts';
import { unseenChanges } from './visible.ts';

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

/** How far it has come. */
export interface ApplyEvent {
  readonly kind: 'begins' | 'done' | 'failed' | 'note';
  /** From 1. */
  readonly step: number;
  readonly steps: number;
  readonly changes: readonly Change[];
  /** Of a note. */
  readonly text?: string;
}

export interface ApplyOptions {
  readonly nowMs: number;
  /** Between two steps. */
  readonly signal: AbortSignal;
  /** How long each broker may take to show what the controller has accepted. Default 10 s. */
  readonly visibleWithinMs?: number;
  /** Without it a plan that moves replicas is refused. */
  readonly move?: StepContext['move'];
  /** Told before each act. */
  readonly audit?: (act: AuditAct) => void;
  readonly onEvent?: (event: ApplyEvent) => void;
  /** Lower retentions bit by bit. */
  readonly retentionSteps?: RetentionSteps | undefined;
}

/** How long one broker may lag behind another in what it says of the topics. */
const agreeWithinMs = 2000;
const visibleWithinMs = 10_000;

/**
 * Executes a plan's changes and nothing else; stops at the first failure. Looks again first: the cluster must be the plan's
 * and as the plan saw it. Killed at any point it leaves whole steps: another plan shows the rest.
 * @throws KPIPE_PLAN_STALE, KPIPE_REFUSED (moving replicas), or the first step's failure: nothing was changed
 */
export async function applyPlan(admin: ClusterAdmin, plan: TopicPlan, options: ApplyOptions): Promise<ApplyResult> {
  if (options.move === undefined) {
    refuseMoves(plan.changes);
  }
  await refuseStale(admin, plan, options.nowMs);
  const steps = stepsOf(plan.changes);
  const run = new StepRun(admin, plan.clusterId, steps.length, options);
  const done: Step[] = [];
  let failure: Error | undefined;
  for (const step of steps) {
    try {
      await run.step(step, done.length + 1);
      done.push(step);
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
      break;
    }
  }
  if (failure !== undefined && !run.hasActed) {
    throw failure;
  }
  const doneChanges = done.flatMap(({ changes }) => changes);
  const within = { nowMs: options.nowMs, withinMs: options.visibleWithinMs ?? visibleWithinMs };
  const invisible = await unseenChanges(admin, doneChanges, within);
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

/** Runs single steps: writes each down, tells of it, does it. */
class StepRun {
  /** Something was changed, or may have been. */
  hasActed = false;
  readonly #admin: ClusterAdmin;
  readonly #clusterId: string;
  readonly #steps: number;
  readonly #options: ApplyOptions;

  constructor(admin: ClusterAdmin, clusterId: string, steps: number, options: ApplyOptions) {
    this.#admin = admin;
    this.#clusterId = clusterId;
    this.#steps = steps;
    this.#options = options;
  }

  async step(step: Step, number: number): Promise<void> {
    const { audit, move, onEvent, signal } = this.#options;
    const { changes } = step;
    const event = { step: number, steps: this.#steps, changes };
    signal.throwIfAborted();
    onEvent?.({ kind: 'begins', ...event });
    try {
      await this.#lowerRetentions(changes, (text) => onEvent?.({ kind: 'note', ...event, text }));
      for (const { topic, kind, key, from, to } of changes) {
        audit?.({ clusterId: this.#clusterId, act: kind, topic, key, from, to });
      }
      await step.run({ admin: this.#admin, validateOnly: false, move });
      this.hasActed = true;
    } catch (error) {
      onEvent?.({ kind: 'failed', ...event });
      throw error;
    }
    onEvent?.({ kind: 'done', ...event });
  }

  async #lowerRetentions(changes: readonly Change[], note: (text: string) => void): Promise<void> {
    const { retentionSteps, nowMs, signal, audit } = this.#options;
    const change = changes.find((each) => each.kind === 'config' && each.key === 'retention.ms');
    if (retentionSteps === undefined || change?.kind !== 'config' || Number(change.to) < 0) {
      return;
    }
    await lowerRetention(this.#admin, change, {
      ...retentionSteps,
      nowMs,
      signal,
      onStep: (retentionMs, text) => {
        const to = String(retentionMs);
        audit?.({ clusterId: this.#clusterId, act: 'config', topic: change.topic, key: 'retention.ms', to });
        this.hasActed = true;
        note(text);
      },
    });
  }
}

/** @throws KPIPE_REFUSED for a plan that moves replicas, where nobody offers to move them */
function refuseMoves(changes: readonly Change[]): void {
  const moves = changes.filter(({ kind }) => kind === 'replication' || kind === 'placement').map(({ topic }) => topic);
  if (moves.length > 0) {
    throw new KpipeError('KPIPE_REFUSED', `the replicas of ${moves.join(', ')} have to be moved first`, {
      next: `kpipe topics move ${moves.join(' ')}`,
    });
  }
}

/** A broker may lag behind the one that the plan was made from, so what differs is looked at again before it counts. */
async function refuseStale(admin: ClusterAdmin, plan: TopicPlan, nowMs: number): Promise<void> {
  const names = [...new Set([...plan.changes, ...plan.inSync].map(({ topic }) => topic))];
  const until = performance.now() + agreeWithinMs;
  for (;;) {
    const state = await observeTopics(admin, names, nowMs);
    if (state.clusterId !== plan.clusterId) {
      throw new KpipeError(
        'KPIPE_PLAN_STALE',
        `the plan was made for cluster ${plan.clusterId}, this is ${state.clusterId}`,
        { next: 'choose the plan’s cluster with --context or --config, or plan again' },
      );
    }
    if (hashState(state, names) === plan.stateHash) {
      return;
    }
    if (performance.now() > until) {
      throw new KpipeError('KPIPE_PLAN_STALE', `the topics have changed since the plan was made (${plan.observedAt})`, {
        next: 'plan again: kpipe topics plan',
      });
    }
    await pause(100);
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

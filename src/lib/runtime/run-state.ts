import type { ErrorCode } from '../errors.ts';

/** A running role at one instant, as its health is judged by. */
export interface RunState {
  /** Partitions that the group gave this member; null before its first answer. */
  readonly assigned: number | null;
  /** Partitions that were claimed, and are read. */
  readonly held: number;
  readonly isDraining: boolean;
  /** Why the run ends, where that is a failure. */
  readonly failure: string | null;
  /** Why partitions wait, by the code of the reason. */
  readonly paused: ReadonlyMap<ErrorCode, string>;
  /** Something was read and is not yet written. */
  readonly isBusy: boolean;
  /** Since something moved: a fetch, a write, another attempt. */
  readonly stillMs: number;
}

export interface Verdict {
  readonly ok: boolean;
  /** A line each. */
  readonly reasons: readonly string[];
}

/** What is in hand must move within this; a statement's own timeout is far below. */
const stuckAfterMs = 120_000;

/**
 * Should the process be left alone? A sink that is away is waited for, and a restart would not bring it back; a failure,
 * or a batch that nobody moves, is not waited out.
 */
export function liveness(state: RunState): Verdict {
  const reasons = [
    ...(state.failure === null ? [] : [`failed: ${state.failure}`]),
    ...(state.isBusy && state.stillMs >= stuckAfterMs
      ? [`what was read has not moved for ${Math.round(state.stillMs / 1000)} s`]
      : []),
  ];
  return { ok: reasons.length === 0, reasons };
}

/** Does it do its work? `sinkProblem`: what the sink said when it was asked; null: it answers. */
export function readiness(state: RunState, sinkProblem: string | null): Verdict {
  const reasons = [
    ...(state.failure === null ? [] : [`failed: ${state.failure}`]),
    ...(state.isDraining ? ['draining'] : []),
    ...(state.assigned === null ? ['not a member of the group yet'] : []),
    ...(state.assigned !== null && state.held < state.assigned
      ? [`${state.assigned - state.held} of ${state.assigned} partitions are not claimed yet`]
      : []),
    ...[...state.paused].map(([code, message]) => `waiting: ${code} ${message}`),
    ...(sinkProblem === null ? [] : [`sink: ${sinkProblem}`]),
  ];
  return { ok: reasons.length === 0, reasons };
}

/**
 * Is a consumer all right? Burrow's rules, judged on a partition's last commits, in this order:
 *
 * 1. the lag is trivial now → ok
 * 2. no commit for longer than the window spans, and the end was not reached in it → stop
 * 3. the position went back and has not recovered → rewind
 * 4. the lag was trivial at any commit of the window → ok
 * 5. commits come, the position stands → stall
 * 6. the lag never fell → warn
 * 7. otherwise ok
 *
 * A window that is too short to tell gives `unknown`, not an alarm: see `Judgement`.
 */
export type LagStatus = 'ok' | 'unknown' | 'warn' | 'stall' | 'rewind' | 'stop';

/** From best to worst. */
export const lagStatuses: readonly LagStatus[] = ['ok', 'unknown', 'warn', 'stall', 'rewind', 'stop'];

export function worstStatus(statuses: Iterable<LagStatus>): LagStatus {
  const worst = [...statuses].reduce((rank, status) => Math.max(rank, lagStatuses.indexOf(status)), 0);
  return lagStatuses[worst] ?? 'unknown';
}

export interface Commit {
  readonly atMs: number;
  readonly position: bigint;
  readonly lagRecords: number;
  /** null: not known. */
  readonly timeLagMs: number | null;
}

export interface Judgement {
  /** Lag up to this age is trivial, whatever the records. */
  readonly allowedTimeMs: number;
  /** Lag up to this many records is trivial where its age is not known. */
  readonly allowedRecords: number;
  /** A pause between commits shorter than this never counts as stopped. */
  readonly minSilenceMs: number;
  /** Windows shorter than this cannot tell stall and warn. */
  readonly minWindowMs: number;
  readonly commits: number;
  /** Commits closer together than this count as one, so that a window of few commits spans enough time. */
  readonly minSpacingMs: number;
}

export const defaultJudgement: Judgement = {
  allowedTimeMs: 10_000,
  allowedRecords: 100,
  minSilenceMs: 30_000,
  minWindowMs: 20_000,
  commits: 10,
  minSpacingMs: 4000,
};

export interface Lag {
  readonly lagRecords: number;
  readonly timeLagMs: number | null;
}

export interface Verdict {
  readonly status: LagStatus;
  /** null when the status is ok. */
  readonly reason: string | null;
  /** How long ago the last commit was, where that is what is wrong. */
  readonly silenceMs: number | null;
}

/** Time decides where it is known: one record that has waited a day is not trivial, a thousand of this second are. */
export function isTrivial(lag: Lag, judgement: Judgement): boolean {
  return lag.timeLagMs === null || lag.lagRecords === 0
    ? lag.lagRecords <= judgement.allowedRecords
    : lag.timeLagMs <= judgement.allowedTimeMs;
}

/** Adds a commit to a window, bounded by the judgement. */
export function addCommit(window: readonly Commit[], commit: Commit, judgement: Judgement): readonly Commit[] {
  const last = window.at(-1);
  const before = window.at(-2);
  const crowded = last !== undefined && before !== undefined && last.atMs - before.atMs < judgement.minSpacingMs;
  // A rewind must not vanish with the commit that it follows.
  const base = crowded && last.position <= commit.position ? window.slice(0, -1) : window;
  return [...base, commit].slice(-judgement.commits);
}

/** What is seen now, beside the window. */
export interface Present extends Lag {
  readonly atMs: number;
  /** The log's ends of the last looks. One at or below the last position: an idle topic, not a stopped consumer. */
  readonly recentHighWatermarks: readonly bigint[];
}

/** Judges a partition by its window of commits, oldest first. */
export function judgePartition(window: readonly Commit[], now: Present, judgement: Judgement): Verdict {
  const first = window[0];
  const last = window.at(-1);
  if (isTrivial(now, judgement)) {
    return verdict('ok', null);
  }
  if (first === undefined || last === undefined) {
    return verdict('unknown', 'no commit seen yet');
  }
  const silenceMs = now.atMs - last.atMs;
  const spanMs = last.atMs - first.atMs;
  const endWasReached = now.recentHighWatermarks.some((end) => end <= last.position);
  if (silenceMs > Math.max(spanMs, judgement.minSilenceMs) && !endWasReached) {
    return { status: 'stop', reason: 'no commit', silenceMs };
  }
  const highest = window.reduce((top, commit) => (commit.position > top ? commit.position : top), first.position);
  if (last.position < highest) {
    return verdict('rewind', `the position went back from ${highest} to ${last.position}`);
  }
  if (window.some((commit) => isTrivial(commit, judgement))) {
    return verdict('ok', null);
  }
  return judgeProgress(window, { first, last, spanMs }, judgement);
}

interface Span {
  readonly first: Commit;
  readonly last: Commit;
  readonly spanMs: number;
}

function judgeProgress(window: readonly Commit[], { first, last, spanMs }: Span, judgement: Judgement): Verdict {
  const fell = window.some((commit, index) => {
    const previous = window[index - 1];
    return previous !== undefined && commit.lagRecords < previous.lagRecords;
  });
  const moved = window.some((commit) => commit.position !== first.position);
  if (moved && fell) {
    return verdict('ok', null);
  }
  if (spanMs < judgement.minWindowMs) {
    return verdict('unknown', `watched for ${Math.round(spanMs / 1000)} s only: too short to tell`);
  }
  return moved
    ? verdict('warn', `the lag grows: ${first.lagRecords} to ${last.lagRecords} records`)
    : verdict('stall', `the position stands at ${last.position} while records arrive`);
}

function verdict(status: LagStatus, reason: string | null): Verdict {
  return { status, reason, silenceMs: null };
}

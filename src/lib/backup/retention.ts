/** What a decision about keeping needs to know of a backup. */
export interface RetentionCandidate {
  readonly id: string;
  readonly completedAtMs: number;
  /** The backup that this one is an increment of; null for a full one. */
  readonly parent: string | null;
  /** Passed `verify --level full`, and the report's signature is valid. */
  readonly proven: boolean;
  /** Stays whatever the policy says, and why: it is in use, or its entry cannot be trusted. */
  readonly held?: string | undefined;
  /** Its entry says nothing that can be relied on: it stands for no moment that another need not stand for. */
  readonly untrusted?: boolean | undefined;
}

export interface RetentionPolicy {
  /** At least so many of the newest. */
  readonly full: number;
  /** Every point in time that is younger than this stays restorable. */
  readonly windowMs: number;
}

export interface RetentionDecision {
  readonly id: string;
  readonly keep: boolean;
  readonly reason: string;
}

/**
 * Newest first, so that an increment comes before its parent. Kept: the newest `full` ones, the newest of all, all within the window and the
 * one before it (which its beginning is restored from), the newest that passed a full verification, what is held, and
 * whatever a kept increment needs.
 */
export function decideRetention(
  candidates: readonly RetentionCandidate[],
  policy: RetentionPolicy,
  nowMs: number,
): readonly RetentionDecision[] {
  const sorted = candidates.toSorted((left, right) => right.completedAtMs - left.completedAtMs);
  const newestFirst = sorted.filter(({ untrusted }) => untrusted !== true);
  const windowStart = nowMs - policy.windowMs;
  const reasons = new Map<string, string>();
  const keep = (candidate: RetentionCandidate | undefined, reason: string): void => {
    if (candidate !== undefined && !reasons.has(candidate.id)) {
      reasons.set(candidate.id, reason);
    }
  };
  const fulls = newestFirst.filter(({ parent }) => parent === null);
  fulls.slice(0, policy.full).forEach((candidate) => keep(candidate, `one of the newest ${policy.full}`));
  keep(newestFirst[0], 'the newest');
  newestFirst
    .filter(({ completedAtMs }) => completedAtMs >= windowStart)
    .forEach((candidate) => keep(candidate, 'within the window'));
  keep(
    fulls.find(({ completedAtMs }) => completedAtMs < windowStart),
    "the window's beginning is restored from it",
  );
  keep(
    newestFirst.find(({ proven }) => proven),
    'the newest that passed a full verification',
  );
  sorted.forEach((candidate) => candidate.held !== undefined && keep(candidate, candidate.held));
  keepParents(sorted, reasons);
  return sorted.map(({ id }) => ({
    id,
    keep: reasons.has(id),
    reason: reasons.get(id) ?? 'older than the window, and enough newer ones',
  }));
}

function keepParents(candidates: readonly RetentionCandidate[], reasons: Map<string, string>): void {
  const byId = new Map(candidates.map((candidate) => [candidate.id, candidate]));
  for (const id of Array.from(reasons.keys())) {
    for (
      let parent = byId.get(id)?.parent;
      parent !== null && parent !== undefined;
      parent = byId.get(parent)?.parent
    ) {
      if (!reasons.has(parent)) {
        reasons.set(parent, `${id} is an increment of it`);
      }
    }
  }
}

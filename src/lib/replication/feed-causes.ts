import { formatSize } from '../config/units.ts';
import type { StandbyFigures } from './figures.ts';
import { hasParted, type Link } from './match.ts';
import type { PrimaryFacts, ReplicationExpectations, StandbyFacts } from './observation.ts';
import type { ProblemCode } from './report.ts';

/** A problem of one standby: what is so, and what to do. */
export interface Cause {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly next: string;
}

/** One declared standby, with everything that a rule may look at. */
export interface Case {
  readonly link: Link;
  readonly figures: StandbyFigures;
  readonly primary: PrimaryFacts | null;
  readonly expectations: ReplicationExpectations;
  /** Queries that recovery cancelled since the last look; null: this is the first. */
  readonly newConflicts: number | null;
  readonly probeDeadlineMs: number | null;
}

/** A slot with less of its bound left is near its end. */
const safeShare = 0.2;

/** It does not answer: is it there at all? */
export function absence({ link, primary }: Case): readonly Cause[] {
  const reason = link.standby.asked.kind === 'away' ? link.standby.asked.reason : '';
  const unreachable: Cause = {
    code: 'UNREACHABLE',
    detail: `cannot be asked: ${reason}`,
    next: `correct the url of ${link.standby.name} in postgres.replicas of kpipe.yaml, or the way there`,
  };
  if (link.sender !== null || primary === null || !primary.statisticsVisible) {
    return [unreachable];
  }
  return [
    {
      code: 'MISSING',
      detail: `kpipe.yaml declares it, it does not answer (${reason}), and the primary sends it nothing`,
      next: 'start it, or take it out of postgres.replicas in kpipe.yaml',
    },
  ];
}

/** It is no standby of this primary. */
export function foreign({ primary }: Case, facts: StandbyFacts): readonly Cause[] {
  if (primary !== null && primary.systemIdentifier !== facts.systemIdentifier) {
    return [
      {
        code: 'SYSTEM_MISMATCH',
        detail: `another database cluster: system identifier ${facts.systemIdentifier}, the primary has ${primary.systemIdentifier}`,
        next: 'correct its url in kpipe.yaml, or make it anew by pg_basebackup from the primary',
      },
    ];
  }
  if (facts.inRecovery) {
    return [];
  }
  const twoPrimaries = primary !== null && !primary.inRecovery;
  return [
    {
      code: 'NOT_READ_ONLY',
      detail: twoPrimaries
        ? `it was promoted and takes writes: there are two primaries (timeline ${facts.timeline} there, ${primary.timeline} on the primary)`
        : `it was promoted and takes writes (timeline ${facts.timeline})`,
      next: 'keep writers away from it, then make it a standby again by pg_rewind or pg_basebackup; after a failover correct postgres.primary',
    },
  ];
}

/** Whether WAL comes in at all. */
export function feed(it: Case, facts: StandbyFacts): readonly Cause[] {
  const { link, primary } = it;
  const lost = slotLost(it);
  if (lost.length > 0) {
    return lost;
  }
  if (primary === null || facts.archiveOnly === true || !canTell(it, facts)) {
    return [];
  }
  if (hasParted(link, primary)) {
    return [
      {
        code: 'TIMELINE_MISMATCH',
        detail: `it is on timeline ${facts.timeline}, the primary on ${primary.timeline}, and nothing is streamed`,
        next: 'its log says where the histories part; pg_rewind or pg_basebackup brings it back onto the primary’s',
      },
    ];
  }
  if (link.sender !== null) {
    return [];
  }
  const kept =
    it.figures.slot === null ? '' : `; slot ${it.figures.slot.name} keeps ${size(it.figures.slot.retainedBytes)}`;
  return [
    {
      code: 'RECEIVER_DOWN',
      detail:
        facts.receiver === null
          ? `no WAL receiver runs on it, ${size(it.figures.replayBytes)} behind${kept}`
          : `its WAL receiver runs, and the primary sends it nothing${kept}`,
      next: 'look at its log: the network, primary_conninfo, pg_hba.conf of the primary, or a password',
    },
  ];
}

/** Who may not see pg_stat_replication knows of a slot at least whether it is in use. */
function canTell({ link, primary }: Case, facts: StandbyFacts): boolean {
  return primary?.statisticsVisible === true || (link.slot !== null && !link.slot.active) || facts.receiver === null;
}

export function slotLost({ figures }: Case): readonly Cause[] {
  const { slot } = figures;
  return slot !== null && slot.walStatus === 'lost'
    ? [
        {
          code: 'SLOT_LOST',
          detail: `slot ${slot.name} is lost: the primary has removed WAL that the standby still needs${slot.invalidationReason === null ? '' : ` (${slot.invalidationReason})`}`,
          next: 'make the standby anew by pg_basebackup (or let it catch up from an archive), drop and make the slot; raise max_slot_wal_keep_size',
        },
      ]
    : [];
}

export function slotAtRisk({ figures, primary }: Case): readonly Cause[] {
  const { slot } = figures;
  const limit = primary?.slotKeepBytes ?? null;
  const isNear = slot?.safeWalBytes !== null && limit !== null && (slot?.safeWalBytes ?? limit) < limit * safeShare;
  return slot !== null && slot.walStatus !== 'lost' && (slot.walStatus === 'unreserved' || isNear)
    ? [
        {
          code: 'SLOT_AT_RISK',
          detail: `slot ${slot.name} keeps ${size(slot.retainedBytes)}; ${size(slot.safeWalBytes)} more WAL and the standby is lost (max_slot_wal_keep_size ${size(limit)})`,
          next: 'bring the standby back soon, or raise max_slot_wal_keep_size',
        },
      ]
    : [];
}

export function size(bytes: number | null): string {
  return bytes === null ? '? bytes' : formatSize(bytes);
}

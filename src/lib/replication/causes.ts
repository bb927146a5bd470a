import { formatDuration, formatSize } from '../config/units.ts';
import type { StandbyFigures } from './figures.ts';
import { bytesBehind } from './lsn.ts';
import { hasParted, type Link } from './match.ts';
import { factsOf, type PrimaryFacts, type ReplicationExpectations, type StandbyFacts } from './observation.ts';
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

/** The server's default, for a standby that cannot be asked for its own. */
const defaultStatusIntervalMs = 10_000;
/** A slot with less of its bound left is near its end. */
const safeShare = 0.2;

/**
 * Why a standby is not as it should be, the cause before what follows from it. What is only a consequence is left out:
 * a lag whose cause is named is no problem of its own.
 */
export function causesOf(it: Case): readonly Cause[] {
  const facts = factsOf(it.link.standby.asked);
  if (facts === null) {
    return [...absence(it), ...stall(it, defaultStatusIntervalMs), ...slotLost(it), ...slotAtRisk(it)];
  }
  const stranger = foreign(it, facts);
  if (stranger.length > 0) {
    return stranger;
  }
  const causes = [
    ...feed(it, facts),
    ...paused(it, facts),
    ...stall(it, facts.statusIntervalMs),
    ...conflict(it, facts),
  ];
  return [...causes, ...(causes.length > 0 ? [] : [...late(it, facts), ...probeTimeout(it)]), ...slotAtRisk(it)];
}

/** It does not answer: is it there at all? */
function absence({ link, primary }: Case): readonly Cause[] {
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
function foreign({ primary }: Case, facts: StandbyFacts): readonly Cause[] {
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
function feed(it: Case, facts: StandbyFacts): readonly Cause[] {
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

function paused({ figures }: Case, facts: StandbyFacts): readonly Cause[] {
  return facts.replayPaused
    ? [
        {
          code: 'PAUSED',
          detail: `replay is paused, ${size(figures.replayBytes)} behind`,
          next: 'select pg_wal_replay_resume() on it, unless a backup’s fingerprint is just being taken',
        },
      ]
    : [];
}

function stall({ link, figures }: Case, statusIntervalMs: number): readonly Cause[] {
  const { replyAgeMs } = figures;
  // Behind by what the sender knows of it: a standby that does not answer is not credited with more.
  const bytes = Math.max(figures.flushBytes ?? 0, figures.replayBytes ?? 0);
  const isSilent = replyAgeMs !== null && statusIntervalMs > 0 && replyAgeMs > 2 * statusIntervalMs;
  return link.sender !== null && isSilent && bytes > 0
    ? [
        {
          code: 'NETWORK_STALL',
          detail: `no answer for ${formatDuration(replyAgeMs)} (it should be every ${formatDuration(statusIntervalMs)}) and ${size(bytes)} behind, though the sender's state is ${figures.state ?? 'not known'}`,
          next: 'look at the network between both and at the walreceiver process on the standby: is it stopped or starved?',
        },
      ]
    : [];
}

function conflict({ figures, newConflicts }: Case, facts: StandbyFacts): readonly Cause[] {
  const next = 'end that query, set hot_standby_feedback = on, or lower max_standby_streaming_delay';
  if (facts.blocked !== null && !facts.replayPaused) {
    const { waitEvent, holder } = facts.blocked;
    const who =
      holder === null
        ? ''
        : `: pid ${holder.pid} (${holder.applicationName || 'no application_name'}) for ${formatDuration(holder.forMs)}`;
    return [
      {
        code: 'CONFLICT',
        detail: `replay waits for a query on the standby (${waitEvent}), ${size(figures.replayBytes)} behind${who}`,
        next,
      },
    ];
  }
  return newConflicts !== null && newConflicts > 0
    ? [{ code: 'CONFLICT', detail: `recovery cancelled ${newConflicts} queries since the last look`, next }]
    : [];
}

/** Beyond the alarm and nothing else explains it: in replay, or on the way. */
function late({ link, figures, primary, expectations }: Case, facts: StandbyFacts): readonly Cause[] {
  const limitMs = (expectations.lagAlarmMs ?? link.standby.maxLagMs) + facts.applyDelayMs;
  if (figures.lagMs === null || figures.lagMs <= limitMs || primary === null) {
    return [];
  }
  const received = facts.receivedLsn ?? 0n;
  const unreplayed = bytesBehind(received, facts.replayedLsn ?? 0n);
  const unreceived = bytesBehind(primary.lsn, received);
  const by = `${formatDuration(figures.lagMs)} and ${size(figures.replayBytes)} behind (alarm at ${formatDuration(limitMs)})`;
  return unreplayed > unreceived
    ? [
        {
          code: 'REPLAY_SLOW',
          detail: `${by}: ${size(unreplayed)} are received and not replayed`,
          next: 'look at the startup process on the standby: CPU, disk, or one large transaction',
        },
      ]
    : [
        {
          code: 'LAG',
          detail: `${by}: ${size(unreceived)} are still on the way`,
          next: 'look at the bandwidth between both, and at how much the primary writes',
        },
      ];
}

function probeTimeout({ link, figures, probeDeadlineMs }: Case): readonly Cause[] {
  return probeDeadlineMs !== null && figures.probeMs === null && link.standby.asked.kind === 'answered'
    ? [
        {
          code: 'PROBE_TIMEOUT',
          detail: `a probe was not replayed within ${formatDuration(probeDeadlineMs)}`,
          next: 'look again: `kpipe replica status --watch` shows whether it moves',
        },
      ]
    : [];
}

function slotLost({ figures }: Case): readonly Cause[] {
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

function slotAtRisk({ figures, primary }: Case): readonly Cause[] {
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

function size(bytes: number | null): string {
  return bytes === null ? '? bytes' : formatSize(bytes);
}

import { formatDuration } from '../config/units.ts';
import { absence, feed, foreign, size, slotAtRisk, slotLost, type Case, type Cause } from './feed-causes.ts';
import { bytesBehind } from './lsn.ts';
import { factsOf, type StandbyFacts } from './observation.ts';

/** The server's default, for a standby that cannot be asked for its own. */
const defaultStatusIntervalMs = 10_000;

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

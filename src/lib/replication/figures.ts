import { totalConflicts } from './history.ts';
import { heartbeatLagMs, lagTime, type LsnSample } from './lag-time.ts';
import { bytesBehind, formatLsn } from './lsn.ts';
import { hasParted, type Link } from './match.ts';
import {
  factsOf,
  type Asked,
  type PrimaryFacts,
  type ReplicationObservation,
  type Sender,
  type Slot,
  type StandbyFacts,
} from './observation.ts';
import type { PrimaryReport, SlotReport, StandbyReport } from './report.ts';

/** The figures of a standby, before anything is judged. */
export type StandbyFigures = Omit<StandbyReport, 'problems'>;

export function primaryReport(asked: Asked<PrimaryFacts>): PrimaryReport {
  const facts = factsOf(asked);
  return {
    ...identityOf(asked),
    lsn: facts === null ? null : formatLsn(facts.lsn),
    heartbeatAgeMs:
      facts === null || facts.beatAtMs === null ? null : rounded(Math.max(0, facts.nowMs - facts.beatAtMs)),
    synchronousStandbyNames: facts?.synchronousStandbyNames ?? null,
  };
}

function identityOf(asked: Asked<PrimaryFacts | StandbyFacts>) {
  const facts = factsOf(asked);
  return {
    reachable: asked.kind === 'answered',
    reason: asked.kind === 'away' ? asked.reason : null,
    address: facts?.address ?? null,
    version: facts?.version ?? null,
    systemIdentifier: facts?.systemIdentifier ?? null,
    timeline: facts?.timeline ?? null,
    inRecovery: facts?.inRecovery ?? null,
  };
}

export function standbyFigures(
  link: Link,
  observation: ReplicationObservation,
  samples: readonly LsnSample[],
): StandbyFigures {
  const primary = factsOf(observation.primary);
  const facts = factsOf(link.standby.asked);
  const probe = observation.probe?.outcomes.find(({ standby }) => standby === link.standby.name);
  // A server that takes writes of its own is not behind: its LSNs are of another history.
  const following = facts !== null && facts.inRecovery ? facts : null;
  const parted = hasParted(link, primary) ? { replayBytes: null, lagMs: null, lagMethod: null } : {};
  return {
    name: link.standby.name,
    declared: true,
    ...identityOf(link.standby.asked),
    upstream: link.upstream,
    ...senderFigures(link.sender, primary),
    ...followingFigures(following, link, primary, observation, samples),
    ...parted,
    probeMs: rounded(probe?.ms ?? null),
    slot: link.slot === null ? null : slotReport(link.slot, primary),
    heldTransactions: link.slot?.xminAge ?? link.sender?.xminAge ?? null,
  };
}

function followingFigures(
  facts: StandbyFacts | null,
  link: Link,
  primary: PrimaryFacts | null,
  observation: ReplicationObservation,
  samples: readonly LsnSample[],
) {
  if (facts === null) {
    const replayBytes = behind(primary, link.sender?.replayLsn ?? null);
    const nothing = { heartbeatLagMs: null, replayPaused: null, applyDelayMs: null, hotStandbyFeedback: null };
    return { ...nothing, replayBytes, lagMs: null, lagMethod: null, conflicts: null, receiver: null };
  }
  const { lagMs, method } = lagTime({
    primary,
    standby: facts,
    catchUpMs: link.standby.catchUpMs,
    probeMs: observation.probe?.outcomes.find(({ standby }) => standby === link.standby.name)?.ms ?? null,
    samples,
    nowMs: observation.observedAtMs,
  });
  const { receiver } = facts;
  return {
    replayBytes: behind(primary, facts.replayedLsn),
    lagMs: rounded(lagMs),
    lagMethod: method,
    heartbeatLagMs: rounded(heartbeatLagMs(primary, facts)),
    replayPaused: facts.replayPaused,
    applyDelayMs: facts.applyDelayMs,
    hotStandbyFeedback: facts.hotStandbyFeedback,
    conflicts: { total: totalConflicts(facts.conflicts), ...facts.conflicts },
    receiver:
      receiver === null
        ? null
        : {
            status: receiver.status,
            senderHost: receiver.senderHost,
            senderPort: receiver.senderPort,
            messageAgeMs: rounded(receiver.messageAgeMs),
          },
  };
}

function senderFigures(sender: Sender | null, primary: PrimaryFacts | null) {
  return {
    state: sender?.state ?? null,
    syncState: sender?.syncState ?? null,
    sentBytes: behind(primary, sender?.sentLsn ?? null),
    writeBytes: behind(primary, sender?.writeLsn ?? null),
    flushBytes: behind(primary, sender?.flushLsn ?? null),
    writeLagMs: rounded(sender?.writeLagMs ?? null),
    flushLagMs: rounded(sender?.flushLagMs ?? null),
    replayLagMs: rounded(sender?.replayLagMs ?? null),
    replyAgeMs: rounded(sender?.replyAgeMs ?? null),
  };
}

/** A standby that streams and that kpipe.yaml does not declare: what its sender tells. */
export function undeclaredFigures(sender: Sender, primary: PrimaryFacts): StandbyFigures {
  return {
    name: sender.applicationName ?? `pid ${sender.pid}`,
    declared: false,
    reachable: false,
    reason: 'kpipe.yaml does not say where it is',
    address: sender.clientAddress,
    version: null,
    systemIdentifier: null,
    timeline: null,
    inRecovery: null,
    upstream: 'primary',
    ...senderFigures(sender, primary),
    replayBytes: behind(primary, sender.replayLsn),
    lagMs: null,
    lagMethod: null,
    heartbeatLagMs: null,
    probeMs: null,
    replayPaused: null,
    applyDelayMs: null,
    slot: slotOf(sender, primary),
    hotStandbyFeedback: null,
    heldTransactions: sender.xminAge,
    conflicts: null,
    receiver: null,
  };
}

function slotOf(sender: Sender, primary: PrimaryFacts): SlotReport | null {
  const slot = primary.slots.find(({ activePid }) => activePid === sender.pid);
  return slot === undefined ? null : slotReport(slot, primary);
}

function slotReport(slot: Slot, primary: PrimaryFacts | null): SlotReport {
  return {
    name: slot.name,
    active: slot.active,
    walStatus: slot.walStatus,
    retainedBytes: behind(primary, slot.restartLsn),
    safeWalBytes: slot.safeWalBytes,
    invalidationReason: slot.invalidationReason,
  };
}

function behind(primary: PrimaryFacts | null, lsn: bigint | null): number | null {
  return primary === null || lsn === null ? null : bytesBehind(primary.lsn, lsn);
}

/** Clocks tell no more than a tenth of a millisecond. */
function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 10) / 10;
}

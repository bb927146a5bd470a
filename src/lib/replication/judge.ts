import { formatSize } from '../config/units.ts';
import { causesOf } from './causes.ts';
import type { Cause } from './feed-causes.ts';
import { primaryReport, standbyFigures, undeclaredFigures } from './figures.ts';
import { noHistory, totalConflicts, type ReplicationHistory } from './history.ts';
import { bytesBehind } from './lsn.ts';
import { matchStandbys, type Link } from './match.ts';
import {
  factsOf,
  type PrimaryFacts,
  type ReplicationExpectations,
  type ReplicationObservation,
  type Sender,
  type Slot,
} from './observation.ts';
import { problemCodes, type ReplicaProblem, type ReplicaReport, type StandbyReport } from './report.ts';

/** Above it, an idle slot's WAL is worth a word. */
const notableBytes = 1024 ** 3;

/** What to make of what both ends say. `history`: of the looks before this one. */
export function judgeReplication(
  observation: ReplicationObservation,
  expectations: ReplicationExpectations,
  history: ReplicationHistory = noHistory,
): ReplicaReport {
  const primary = factsOf(observation.primary);
  const { links, undeclared, otherSlots } = matchStandbys(observation, expectations.backupSlot);
  const declared = links.map((link) => judgeStandby(link, observation, expectations, history));
  const strangers = primary === null ? [] : undeclared.map((sender) => judgeUndeclared(sender, primary));
  const judged = [...declared, ...strangers];
  const problems = [
    ...primaryProblems(observation),
    ...judged.flatMap(({ standby, causes }) => causes.map((cause) => ({ ...cause, standby: standby.name }))),
    ...otherSlots.flatMap((slot) => slotProblems(slot, primary)),
  ].toSorted((left, right) => problemCodes.indexOf(left.code) - problemCodes.indexOf(right.code));
  return {
    observedAt: new Date(observation.observedAtMs).toISOString(),
    primary: primaryReport(observation.primary),
    standbys: judged.map(({ standby }) => standby),
    probeDeadlineMs: observation.probe?.deadlineMs ?? null,
    ok: problems.length === 0,
    problems: problems.map(({ code, standby, detail, next }) => ({ code, standby, detail, next })),
    notes: [...visibilityNotes(observation), ...slotNotes(otherSlots, primary)],
  };
}

interface Judged {
  readonly standby: StandbyReport;
  readonly causes: readonly Cause[];
}

function judgeStandby(
  link: Link,
  observation: ReplicationObservation,
  expectations: ReplicationExpectations,
  history: ReplicationHistory,
): Judged {
  const figures = standbyFigures(link, observation, history.samples);
  const facts = factsOf(link.standby.asked);
  const before = history.conflicts.get(link.standby.name);
  const causes = causesOf({
    link,
    figures,
    primary: factsOf(observation.primary),
    expectations,
    newConflicts: before === undefined || facts === null ? null : totalConflicts(facts.conflicts) - before,
    probeDeadlineMs: observation.probe?.deadlineMs ?? null,
  });
  return { standby: { ...figures, problems: causes.map(({ code }) => code) }, causes };
}

function judgeUndeclared(sender: Sender, primary: PrimaryFacts): Judged {
  const figures = undeclaredFigures(sender, primary);
  const from = sender.clientAddress === null ? '' : ` from ${sender.clientAddress}`;
  const cause: Cause = {
    code: 'UNDECLARED',
    detail: `it streams${from} (state ${sender.state ?? '?'}) and kpipe.yaml does not declare it`,
    next: 'add it to postgres.replicas in kpipe.yaml, or find out whose it is',
  };
  return { standby: { ...figures, problems: [cause.code] }, causes: [cause] };
}

function primaryProblems({ primary }: ReplicationObservation): readonly ReplicaProblem[] {
  if (primary.kind === 'away') {
    const next = 'is it running, and is postgres.primary in kpipe.yaml right?';
    return [{ code: 'PRIMARY_UNREACHABLE', standby: null, detail: `cannot be asked: ${primary.reason}`, next }];
  }
  return primary.facts.inRecovery
    ? [
        {
          code: 'PRIMARY_IN_RECOVERY',
          standby: null,
          detail: `${primary.facts.address}, the primary of kpipe.yaml, is a standby: it takes no writes`,
          next: 'name the primary in postgres.primary; was there a failover?',
        },
      ]
    : [];
}

/** A lost slot is a problem whoever it was for. */
function slotProblems(slot: Slot, primary: PrimaryFacts | null): readonly ReplicaProblem[] {
  if (slot.walStatus !== 'lost') {
    return [];
  }
  const keep = primary?.slotKeepBytes ?? null;
  return [
    {
      code: 'SLOT_LOST',
      standby: null,
      detail: `slot ${slot.name}, of no declared standby, is lost${keep === null ? '' : ` (max_slot_wal_keep_size ${formatSize(keep)})`}`,
      next: `whoever used it begins anew; then select pg_drop_replication_slot('${slot.name}')`,
    },
  ];
}

function slotNotes(slots: readonly Slot[], primary: PrimaryFacts | null): readonly string[] {
  return slots.flatMap((slot) => {
    const kept = primary === null || slot.restartLsn === null ? 0 : bytesBehind(primary.lsn, slot.restartLsn);
    return slot.active || slot.walStatus === 'lost' || kept < notableBytes
      ? []
      : [`slot ${slot.name} is not in use and keeps ${formatSize(kept)} of WAL on the primary`];
  });
}

function visibilityNotes({ primary, standbys }: ReplicationObservation): readonly string[] {
  const servers = [
    { name: 'the primary', facts: factsOf(primary) },
    ...standbys.map(({ name, asked }) => ({ name, facts: factsOf(asked) })),
  ];
  const blind = servers.filter(({ facts }) => facts?.statisticsVisible === false).map(({ name }) => name);
  return blind.length === 0
    ? []
    : [
        `kpipe's user may not see replication statistics on ${blind.join(', ')}: senders and receivers are not known (grant pg_monitor)`,
      ];
}

import { formatDuration, formatSize } from '../config/units.ts';
import {
  brokerProblemCodes,
  type BrokerLine,
  type BrokerProblem,
  type ControllerReport,
  type LogDirectoryReport,
} from './broker-report.ts';
import type { ClusterObservation } from './cluster-observation.ts';
import type { PartitionFact } from './partition-facts.ts';

/** From `alerts.disk` of kpipe.yaml. */
export interface DiskAlerts {
  readonly usedPercent?: number | undefined;
  /** ms. */
  readonly fullIn?: number | undefined;
}

export interface Judged {
  readonly brokers: readonly BrokerLine[];
  readonly controller: ControllerReport;
  readonly facts: readonly PartitionFact[];
  readonly seen: ClusterObservation;
  readonly alerts: DiskAlerts;
}

/** A voter copies the metadata log all the time: this long without is more than a pause. */
const voterSilentMs = 30_000;
/** So much more than its even share, and so many partitions more, that it shows in the broker's load. */
const skewRatio = 1.5;
const skewPartitions = 5;

/** Everything that is wrong, what it means and what to do about it; the most urgent first. */
export function brokerProblems(judged: Judged): readonly BrokerProblem[] {
  const problems = [
    ...partitionProblems(judged.facts),
    ...quorumProblems(judged),
    ...judged.brokers.flatMap((broker) => [
      ...availabilityProblems(broker),
      ...broker.logDirectories.flatMap((directory) => diskProblems(broker.id, directory, judged.alerts)),
    ]),
    ...skewProblems(judged.brokers),
  ];
  return problems.toSorted((left, right) => rank(left) - rank(right));
}

function rank({ code }: BrokerProblem): number {
  return brokerProblemCodes.indexOf(code);
}

function partitionProblems(facts: readonly PartitionFact[]): readonly BrokerProblem[] {
  const offline = facts.filter((fact) => fact.offline);
  const underMin = facts.filter(({ underMinIsr }) => underMinIsr);
  const atMin = facts.filter(({ atMinIsr }) => atMinIsr);
  const behind = facts.filter((fact) => fact.underReplicated && !fact.offline && !fact.underMinIsr && !fact.atMinIsr);
  const shrunk = facts.filter(({ left }) => left.length > 0);
  const displaced = facts.filter(({ notPreferred }) => notPreferred);
  const of = (list: readonly PartitionFact[], problem: Omit<BrokerProblem, 'broker' | 'partitions' | 'detail'>) =>
    list.length === 0 ? [] : [{ ...problem, broker: null, detail: named(list), partitions: list.length }];
  return [
    ...of(offline, {
      code: 'OFFLINE',
      level: 'fail',
      consequence: 'nobody can read or write them; producers wait and then fail',
      next: `start ${brokersText(offline.flatMap(({ replicas }) => replicas))}: the first of its in-sync replicas that comes back leads`,
    }),
    ...of(underMin, {
      code: 'UNDER_MIN_ISR',
      level: 'fail',
      consequence: 'writes with acks=all are refused (NOT_ENOUGH_REPLICAS); reading goes on',
      next: `start, or relieve, ${missingText(underMin)}`,
    }),
    ...of(atMin, {
      code: 'AT_MIN_ISR',
      level: 'warn',
      consequence: 'one more replica out of sync, and writes with acks=all are refused',
      next: `start, or relieve, ${missingText(atMin)}; stop no other broker`,
    }),
    ...of(behind, {
      code: 'UNDER_REPLICATED',
      level: 'warn',
      consequence: 'fewer copies than declared: each further loss counts more',
      next: `start ${missingText(behind)}, or wait until they have caught up`,
    }),
    ...of(shrunk, {
      code: 'ISR_SHRINK',
      level: 'warn',
      consequence: 'replicas fell out of sync since the look before: a broker stopped, or its disk or network is slow',
      next: `look at ${brokersText(shrunk.flatMap(({ left }) => left))}`,
    }),
    ...of(displaced, {
      code: 'NOT_PREFERRED',
      level: 'notice',
      consequence: 'the load lies on the brokers that took over; it goes back with an election',
      next: 'kpipe topics elect',
    }),
  ];
}

function quorumProblems({ controller, seen }: Judged): readonly BrokerProblem[] {
  if (seen.quorum.kind === 'unknown') {
    return [];
  }
  const { leader, voters } = controller;
  const common = { broker: null, partitions: null };
  if (leader === null) {
    const next = `start a majority of the controllers ${voters.map(({ id }) => id).join(', ')}`;
    const consequence = 'no topic, leader or configuration can change; what has a leader goes on';
    return [{ ...common, code: 'NO_CONTROLLER', level: 'fail', detail: 'no controller leads', consequence, next }];
  }
  const behind = voters.filter(({ id, caughtUpMs }) => id !== leader && (caughtUpMs ?? Infinity) > voterSilentMs);
  const spare = Math.floor((voters.length - 1) / 2) - behind.length;
  return behind.map(({ id, lagRecords, caughtUpMs }) => ({
    code: 'QUORUM_BEHIND',
    level: spare <= 0 ? 'fail' : 'warn',
    broker: id,
    detail: `voter ${id} is ${lagRecords} records behind, last caught up ${caughtUpMs === null ? 'never' : `${formatDuration(caughtUpMs)} ago`}`,
    consequence:
      spare <= 0
        ? 'the quorum has no voter to spare: with the next one the controller is gone'
        : 'the quorum has fewer voters to spare',
    next: `start controller ${id}, or look at its disk and network`,
    partitions: null,
  }));
}

function availabilityProblems({ id, state, reason, replicas, address }: BrokerLine): readonly BrokerProblem[] {
  const common = { broker: id, level: 'fail', partitions: replicas } as const;
  switch (state) {
    case 'up':
      return [];
    case 'down':
      return [
        {
          ...common,
          code: 'BROKER_DOWN',
          detail: `broker ${id} is not registered, and ${replicas} replicas are its`,
          consequence: 'its replicas fall behind, others lead for it',
          next: `start broker ${id}; if it is gone for good: kpipe topics move`,
        },
      ];
    case 'silent':
      return [
        {
          ...common,
          code: 'BROKER_SILENT',
          detail: `broker ${id} at ${address ?? '?'} does not answer from here: ${reason ?? ''}`,
          consequence: 'clients on this network cannot read or write what it leads',
          next: `look at broker ${id}, its network and its advertised.listeners`,
        },
      ];
  }
}

function diskProblems(broker: number, directory: LogDirectoryReport, alerts: DiskAlerts): readonly BrokerProblem[] {
  const { path, reason, usedPercent, usableBytes, fullInMs, growthBytesPerSec, otherBytesPerSec } = directory;
  const common = { broker, partitions: directory.replicas };
  const perSec = (growthBytesPerSec ?? 0) + (otherBytesPerSec ?? 0);
  return [
    ...when(reason !== null, {
      ...common,
      code: 'LOG_DIR_OFFLINE',
      level: 'fail',
      detail: `${path}: ${reason ?? ''}`,
      consequence: 'its replicas are gone until the broker starts with a disk that works',
      next: `repair or replace the disk of broker ${broker}, then start it again`,
    }),
    ...when(alerts.fullIn !== undefined && fullInMs !== null && fullInMs < alerts.fullIn, {
      ...common,
      code: 'DISK_FULL_SOON',
      level: 'fail',
      detail: `${path} is full in ${formatDuration(fullInMs ?? 0)} at ${formatSize(perSec)}/s`,
      consequence: 'a broker whose disk is full stops, and all its replicas with it',
      next: roomText(directory),
    }),
    ...when(alerts.usedPercent !== undefined && usedPercent !== null && usedPercent > alerts.usedPercent, {
      ...common,
      code: 'DISK_USED',
      level: 'warn',
      detail: `${path} is ${usedPercent ?? '?'} % used, ${formatSize(usableBytes ?? 0)} left`,
      consequence: 'a broker whose disk is full stops, and all its replicas with it',
      next: roomText(directory),
    }),
  ];
}

/** Where most of the loss is not Kafka's, no topic is to blame. */
function roomText({ growthBytesPerSec, otherBytesPerSec, path }: LogDirectoryReport): string {
  return (otherBytesPerSec ?? 0) > (growthBytesPerSec ?? 0)
    ? `find what else writes to the file system of ${path}: it is not this broker’s replicas`
    : 'lower retention in kpipe.yaml (kpipe topics apply), add disk, or kpipe topics move';
}

function skewProblems(brokers: readonly BrokerLine[]): readonly BrokerProblem[] {
  const up = brokers.filter(({ state }) => state !== 'down');
  const share = up.reduce((sum, { leaders }) => sum + leaders, 0) / Math.max(1, up.length);
  return up
    .filter(({ leaders }) => leaders > share * skewRatio && leaders - share >= skewPartitions)
    .map(({ id, leaders, preferredLeaders }) => ({
      code: 'LEADER_SKEW',
      level: 'notice',
      broker: id,
      detail: `broker ${id} leads ${leaders} partitions, an even share is ${Math.round(share)}`,
      consequence: 'it carries more of the produce and fetch requests than the others',
      next: preferredLeaders > share * skewRatio ? 'kpipe topics move' : 'kpipe topics elect',
      partitions: leaders,
    }));
}

function when(holds: boolean, problem: BrokerProblem): readonly BrokerProblem[] {
  return holds ? [problem] : [];
}

function named(facts: readonly PartitionFact[]): string {
  const shown = facts.slice(0, 5).map(({ topic, partition }) => `${topic}-${partition}`);
  return `${shown.join(', ')}${facts.length > shown.length ? ` and ${facts.length - shown.length} more` : ''}`;
}

function missingText(facts: readonly PartitionFact[]): string {
  return brokersText(facts.flatMap(({ replicas, isr }) => replicas.filter((id) => !isr.includes(id))));
}

function brokersText(ids: readonly number[]): string {
  const distinct = [...new Set(ids)].toSorted((left, right) => left - right);
  return distinct.length === 1 ? `broker ${distinct[0] ?? ''}` : `brokers ${distinct.join(', ')}`;
}

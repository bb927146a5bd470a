import type { BrokerLine, BrokerReport, ControllerReport, LogDirectoryReport } from './broker-report.ts';
import { brokerProblems, type DiskAlerts } from './broker-problems.ts';
import type { BrokerObservation, ClusterObservation, LogDirectory, QuorumObservation } from './cluster-observation.ts';
import { directoryKey, forecastDisk, type DiskHistory } from './disk-forecast.ts';
import { partitionFacts, type PartitionFact } from './partition-facts.ts';

/** What a look is judged with. */
export interface ClusterContext {
  readonly disks: DiskHistory;
  /** The look before this one; null: there was none. */
  readonly before: ClusterObservation | null;
  readonly alerts: DiskAlerts;
}

/** A look as `kpipe brokers` answers it. Pure: the same look and context, the same report. */
export function judgeCluster(seen: ClusterObservation, context: ClusterContext): BrokerReport {
  const facts = partitionFacts(seen, context.before);
  const brokers = brokerLines(seen, facts, context.disks);
  const controller = controllerReport(seen);
  const problems = brokerProblems({ brokers, controller, facts, seen, alerts: context.alerts });
  const count = (which: (fact: PartitionFact) => boolean): number => facts.filter(which).length;
  return {
    observedAt: new Date(seen.observedAtMs).toISOString(),
    clusterId: seen.clusterId,
    controller,
    brokers,
    partitions: {
      topics: seen.topics.length,
      partitions: facts.length,
      offline: count(({ offline }) => offline),
      underMinIsr: count(({ underMinIsr }) => underMinIsr),
      atMinIsr: count(({ atMinIsr }) => atMinIsr),
      underReplicated: count(({ underReplicated }) => underReplicated),
      notPreferred: count(({ notPreferred }) => notPreferred),
      isrShrinks: context.before === null ? null : facts.reduce((sum, { left }) => sum + left.length, 0),
    },
    ok: problems.every(({ level }) => level === 'notice'),
    problems,
    notes: seen.notes,
  };
}

function controllerReport({ quorum, observedAtMs }: ClusterObservation): ControllerReport {
  if (quorum.kind === 'unknown') {
    return { leader: null, epoch: null, voters: [], reason: quorum.reason };
  }
  const end = quorum.voters.find(({ id }) => id === quorum.leaderId)?.logEndOffset ?? quorum.highWatermark;
  return {
    leader: quorum.leaderId < 0 ? null : quorum.leaderId,
    epoch: quorum.epoch,
    reason: null,
    voters: quorum.voters
      .map(({ id, logEndOffset, lastCaughtUpMs }) => ({
        id,
        lagRecords: logEndOffset > end ? 0 : Number(end - logEndOffset),
        caughtUpMs: lastCaughtUpMs === null ? null : Math.max(0, observedAtMs - lastCaughtUpMs),
      }))
      .toSorted((left, right) => left.id - right.id),
  };
}

function brokerLines(
  seen: ClusterObservation,
  facts: readonly PartitionFact[],
  disks: DiskHistory,
): readonly BrokerLine[] {
  const boundsByTopic = new Map(seen.topics.map(({ name, retention }) => [name, retention]));
  const up = seen.brokers.filter(({ address }) => address !== null).length;
  const led = facts.filter(({ leader }) => leader >= 0).length;
  return seen.brokers.map((broker) => {
    const mine = facts.filter(({ replicas }) => replicas.includes(broker.id));
    const leaders = facts.filter(({ leader }) => leader === broker.id).length;
    const directories = broker.logDirectories;
    return {
      id: broker.id,
      address: broker.address,
      rack: broker.rack,
      version: broker.version,
      state: stateOf(broker),
      reason: broker.problem,
      controller: leads(seen.quorum, broker.id),
      leaders,
      preferredLeaders: mine.filter(({ replicas }) => replicas[0] === broker.id).length,
      replicas: mine.length,
      outOfSync: mine.filter(({ isr }) => !isr.includes(broker.id)).length,
      bytes: directories === null ? null : directories.reduce((sum, directory) => sum + bytesIn(directory), 0),
      leaderSkew: led === 0 || up === 0 ? null : Math.round((leaders * up * 100) / led) / 100,
      logDirectories: (directories ?? []).map((directory) =>
        directoryReport(
          directory,
          disks.get(directoryKey(broker.id, directory.path)) ?? [],
          (topic) => boundsByTopic.get(topic) ?? null,
        ),
      ),
    };
  });
}

function leads(quorum: QuorumObservation, id: number): boolean {
  return quorum.kind === 'known' && quorum.leaderId === id;
}

function stateOf({ address, problem }: BrokerObservation): BrokerLine['state'] {
  if (address === null) {
    return 'down';
  }
  return problem === null ? 'up' : 'silent';
}

function bytesIn({ replicas }: LogDirectory): number {
  return replicas.reduce((sum, { bytes }) => sum + bytes, 0);
}

function directoryReport(
  directory: LogDirectory,
  samples: Parameters<typeof forecastDisk>[1],
  boundsOf: Parameters<typeof forecastDisk>[2],
): LogDirectoryReport {
  const { totalBytes, usableBytes } = directory;
  const disk = forecastDisk(directory, samples, boundsOf);
  const known = disk.kind === 'known' ? disk.forecast : null;
  return {
    path: directory.path,
    reason: directory.problem,
    replicas: directory.replicas.length,
    bytes: bytesIn(directory),
    totalBytes,
    usableBytes,
    usedPercent:
      totalBytes === null || totalBytes === 0 || usableBytes === null
        ? null
        : Math.round((1 - usableBytes / totalBytes) * 1000) / 10,
    growthBytesPerSec: known?.growthPerSec ?? null,
    otherBytesPerSec: known?.otherPerSec ?? null,
    fullInMs: known?.fullInMs ?? null,
    settlesAtBytes: known?.settlesAtBytes ?? null,
    forecastReason: disk.kind === 'known' ? null : disk.reason,
  };
}

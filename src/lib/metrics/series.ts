import type { BackupLook } from '../backup/look.ts';
import { brokerProblemCodes, type BrokerReport } from '../health/broker-report.ts';
import type { GroupLag, LagReport } from '../offsets/lag-report.ts';
import { lagStatuses } from '../offsets/status.ts';
import type { ReplicaReport } from '../replication/report.ts';
import type { FamilyName } from './families.ts';

/** A number of a family. Not known is no sample, never 0. */
export interface Sample {
  readonly family: FamilyName;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What a report says as samples, and how many partitions were left out because there are too many. */
export interface Series {
  readonly samples: readonly Sample[];
  readonly leftOut: number;
}

/** Time series of single partitions, over all groups. Beyond it groups keep their sums. */
const mostPartitions = 1000;

export function lagSeries({ roles, cost }: LagReport): Series {
  const partitions = roles.reduce((sum, group) => sum + group.partitions.length, 0);
  const single = partitions <= mostPartitions;
  return {
    samples: [
      ...roles.flatMap(groupSamples),
      ...(single ? roles.flatMap(partitionSamples) : []),
      ...topicSamples(roles),
      ...sample('kpipe_lag_look_requests', {}, cost.requests),
    ],
    leftOut: single ? 0 : partitions,
  };
}

function groupSamples(group: GroupLag): readonly Sample[] {
  const labels = groupLabels(group);
  const positions = group.partitions.map(({ position }) => position);
  return [
    ...sample('kpipe_group_lag_records', labels, group.lagRecords),
    ...sample('kpipe_group_lag_seconds', labels, seconds(group.timeLagMs)),
    ...sample('kpipe_group_loss_in_seconds', labels, seconds(group.lossInMs)),
    ...sample('kpipe_group_drain_seconds', labels, seconds(group.drainMs)),
    ...sample('kpipe_group_lost_records', labels, group.lostRecords),
    ...sample('kpipe_group_members', labels, group.state === null ? null : group.members),
    ...sample('kpipe_group_read_records_total', labels, sumOf(positions)),
    ...lagStatuses.flatMap((status) =>
      sample('kpipe_group_status', { ...labels, status }, group.status === status ? 1 : 0),
    ),
  ];
}

function partitionSamples(group: GroupLag): readonly Sample[] {
  return group.partitions.flatMap(({ topic, partition, lagRecords, position }) => {
    const labels = { ...groupLabels(group), topic, partition: String(partition) };
    return [
      ...sample('kpipe_group_partition_lag_records', labels, lagRecords),
      ...sample('kpipe_group_partition_position', labels, position === null ? null : Number(position)),
    ];
  });
}

/** Log ends only rise, so their sum is a counter of what was written. Groups of one topic say it once. */
function topicSamples(roles: readonly GroupLag[]): readonly Sample[] {
  const ends = new Map<string, Map<number, bigint | null>>();
  for (const { topic, partition, highWatermark } of roles.flatMap(({ partitions }) => partitions)) {
    const ofTopic = ends.get(topic) ?? new Map<number, bigint | null>();
    ends.set(topic, ofTopic.set(partition, highWatermark));
  }
  return [...ends].flatMap(([topic, ofTopic]) =>
    sample('kpipe_topic_written_records_total', { topic }, sumOf([...ofTopic.values()])),
  );
}

function groupLabels({ role, group }: GroupLag): Readonly<Record<string, string>> {
  return { role: role ?? '', group };
}

export function brokerSeries(report: BrokerReport): Series {
  const { partitions } = report;
  return {
    leftOut: 0,
    samples: [
      ...report.brokers.flatMap(({ id, state, leaders, replicas, outOfSync, logDirectories }) => {
        const broker = String(id);
        return [
          ...sample('kpipe_broker_up', { broker }, state === 'up' ? 1 : 0),
          ...sample('kpipe_broker_leaders', { broker }, leaders),
          ...sample('kpipe_broker_replicas', { broker }, replicas),
          ...sample('kpipe_broker_out_of_sync_replicas', { broker }, outOfSync),
          ...logDirectories.flatMap((directory) => {
            const labels = { broker, path: directory.path };
            return [
              ...sample('kpipe_log_directory_replica_bytes', labels, directory.bytes),
              ...sample('kpipe_log_directory_total_bytes', labels, directory.totalBytes),
              ...sample('kpipe_log_directory_usable_bytes', labels, directory.usableBytes),
              ...sample('kpipe_log_directory_full_in_seconds', labels, seconds(directory.fullInMs)),
            ];
          }),
        ];
      }),
      ...sample('kpipe_cluster_partitions', {}, partitions.partitions),
      ...sample('kpipe_cluster_offline_partitions', {}, partitions.offline),
      ...sample('kpipe_cluster_under_min_isr_partitions', {}, partitions.underMinIsr),
      ...sample('kpipe_cluster_at_min_isr_partitions', {}, partitions.atMinIsr),
      ...sample('kpipe_cluster_under_replicated_partitions', {}, partitions.underReplicated),
      ...sample('kpipe_cluster_not_preferred_partitions', {}, partitions.notPreferred),
      ...brokerProblemCodes.flatMap((code) =>
        sample('kpipe_cluster_problems', { code }, report.problems.filter((problem) => problem.code === code).length),
      ),
    ],
  };
}

export function replicaSeries({ standbys, primary }: ReplicaReport): Series {
  return {
    leftOut: 0,
    samples: [
      ...sample('kpipe_primary_up', {}, primary.reachable ? 1 : 0),
      ...standbys.flatMap(({ name, reachable, lagMs, replayBytes, slot, problems }) => {
        const labels = { standby: name };
        return [
          ...sample('kpipe_replica_up', labels, reachable ? 1 : 0),
          ...sample('kpipe_replica_lag_seconds', labels, seconds(lagMs)),
          ...sample('kpipe_replica_lag_bytes', labels, replayBytes),
          ...sample('kpipe_replica_slot_retained_bytes', labels, slot?.retainedBytes ?? null),
          ...sample('kpipe_replica_problems', labels, problems.length),
        ];
      }),
    ],
  };
}

/** Times and not ages: an age would stand still between two looks. */
export function backupSeries({ lines, problems }: BackupLook): Series {
  const trusted = lines.filter(({ problem }) => problem === null);
  return {
    leftOut: 0,
    samples: [
      ...sample('kpipe_backups', {}, lines.length),
      ...sample('kpipe_backup_stored_bytes', {}, sumOf(trusted.map(({ storedBytes }) => storedBytes))),
      ...sample('kpipe_backup_newest_timestamp_seconds', {}, newest(trusted.map(({ completedAt }) => completedAt))),
      ...sample('kpipe_backup_proven_timestamp_seconds', {}, newest(trusted.map(({ provenAt }) => provenAt))),
      ...sample('kpipe_backup_problems', {}, problems.length),
    ],
  };
}

function newest(times: readonly (string | null)[]): number | null {
  const known = times.flatMap((time) => (time === null ? [] : [Date.parse(time) / 1000]));
  return known.length === 0 ? null : Math.max(...known);
}

function sample(family: FamilyName, labels: Sample['labels'], value: number | null): readonly Sample[] {
  return value === null ? [] : [{ family, labels, value }];
}

function seconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}

/** null when any is not known: a sum that jumps by what is missing is no counter. */
function sumOf(values: readonly (number | bigint | null)[]): number | null {
  return values.length === 0 || values.includes(null)
    ? null
    : values.reduce<number>((sum, value) => sum + Number(value), 0);
}

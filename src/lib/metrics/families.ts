/** Every family that `kpipe metrics serve` exposes. Units are in the names, in base units. */
export interface Family {
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly labels: readonly string[];
}

const group = ['role', 'group'] as const;
const directory = ['broker', 'path'] as const;

const gauge = (help: string, labels: readonly string[] = []): Family => ({ type: 'gauge', help, labels });
const counter = (help: string, labels: readonly string[] = []): Family => ({ type: 'counter', help, labels });

export const families = {
  kpipe_exporter_up: gauge('1 when the last look at the part succeeded', ['part']),
  kpipe_exporter_seen_timestamp_seconds: gauge('when the look began that the part’s samples are from', ['part']),
  kpipe_exporter_look_duration_seconds: gauge('how long that look took', ['part']),
  kpipe_exporter_failed_looks_total: counter('looks at the part that failed', ['part']),
  kpipe_exporter_partitions_left_out: gauge('partitions without series of their own, because there are too many', [
    'part',
  ]),

  kpipe_group_lag_records: gauge('records between the position and the end of the log', group),
  kpipe_group_lag_seconds: gauge('age of the oldest unread record', group),
  kpipe_group_loss_in_seconds: gauge('until the oldest unread record begins to expire', group),
  kpipe_group_drain_seconds: gauge('until the lag is gone at the rates seen', group),
  kpipe_group_lost_records: gauge('records that expired before they were read', group),
  kpipe_group_members: gauge('members of the group', group),
  kpipe_group_status: gauge('1 for the status that the group has', [...group, 'status']),
  kpipe_group_read_records_total: counter('the positions of all partitions, summed', group),
  kpipe_group_partition_lag_records: gauge('as kpipe_group_lag_records, of one partition', [
    ...group,
    'topic',
    'partition',
  ]),
  kpipe_group_partition_position: gauge('the offset that is read next', [...group, 'topic', 'partition']),
  kpipe_topic_written_records_total: counter('the ends of all partitions, summed', ['topic']),
  kpipe_lag_look_requests: gauge('requests to Kafka’s brokers that the last look at lag took'),

  kpipe_broker_up: gauge('1 when the broker is registered and answers', ['broker']),
  kpipe_broker_leaders: gauge('partitions that the broker leads', ['broker']),
  kpipe_broker_replicas: gauge('replicas that are assigned to the broker', ['broker']),
  kpipe_broker_out_of_sync_replicas: gauge('of these, those that are not in sync', ['broker']),
  kpipe_log_directory_replica_bytes: gauge('what the replicas in the directory take', directory),
  kpipe_log_directory_total_bytes: gauge('size of the directory’s file system', directory),
  kpipe_log_directory_usable_bytes: gauge('room left on it', directory),
  kpipe_log_directory_full_in_seconds: gauge(
    'until it is full at the growth of the last looks; absent where it lasts',
    directory,
  ),
  kpipe_cluster_partitions: gauge('partitions of the cluster'),
  kpipe_cluster_offline_partitions: gauge('partitions without a leader'),
  kpipe_cluster_under_min_isr_partitions: gauge('partitions that refuse writes with acks=all'),
  kpipe_cluster_at_min_isr_partitions: gauge('partitions with no in-sync replica to spare'),
  kpipe_cluster_under_replicated_partitions: gauge('partitions whose replicas are not all in sync'),
  kpipe_cluster_not_preferred_partitions: gauge('partitions that another than their preferred replica leads'),
  kpipe_cluster_problems: gauge('problems of kpipe brokers, by their code', ['code']),

  kpipe_primary_up: gauge('1 when the PostgreSQL primary answers'),
  kpipe_replica_up: gauge('1 when the standby answers', ['standby']),
  kpipe_replica_lag_seconds: gauge('how far in time the standby is behind, at most', ['standby']),
  kpipe_replica_lag_bytes: gauge('WAL that the standby has not replayed', ['standby']),
  kpipe_replica_slot_retained_bytes: gauge('WAL that the standby’s slot keeps on the primary', ['standby']),
  kpipe_replica_problems: gauge('problems of the standby', ['standby']),

  kpipe_backups: gauge('backups in the repository'),
  kpipe_backup_stored_bytes: gauge('what the trusted backups take'),
  kpipe_backup_newest_timestamp_seconds: gauge('when the newest trusted backup was completed'),
  kpipe_backup_proven_timestamp_seconds: gauge('when a backup was last proven by a full restore'),
  kpipe_backup_problems: gauge('problems of the repository, by alerts.backup'),
} as const satisfies Readonly<Record<string, Family>>;

export type FamilyName = keyof typeof families;
export const familyNames: readonly FamilyName[] = Object.keys(families).filter(isFamily);

function isFamily(name: string): name is FamilyName {
  return Object.hasOwn(families, name);
}

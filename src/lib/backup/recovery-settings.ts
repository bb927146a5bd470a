/** The settings of a server on restored files. */

/** What a standby or a recovery must not have less of than the primary had; pg_controldata tells them. */
export function settingsFromControlData(controlData: string): Readonly<Record<string, string>> {
  const value = (label: string): string | undefined =>
    new RegExp(String.raw`^${label}:\s+(.+?)\s*$`, 'm').exec(controlData)?.[1];
  const needed = {
    max_connections: value('max_connections setting'),
    max_worker_processes: value('max_worker_processes setting'),
    max_wal_senders: value('max_wal_senders setting'),
    max_prepared_transactions: value('max_prepared_xacts setting'),
    max_locks_per_transaction: value('max_locks_per_xact setting'),
    wal_level: value('wal_level setting'),
  };
  return Object.fromEntries(
    Object.entries(needed).flatMap(([name, setting]) => (setting === undefined ? [] : [[name, setting]])),
  );
}

/** Cut off from everything: no network, no primary, no archive of its own, no library that is loaded before all else. */
export const isolated: Readonly<Record<string, string>> = {
  listen_addresses: '',
  archive_mode: 'off',
  archive_command: '',
  archive_library: '',
  primary_conninfo: '',
  primary_slot_name: '',
  synchronous_standby_names: '',
  shared_preload_libraries: '',
  session_preload_libraries: '',
  local_preload_libraries: '',
  archive_cleanup_command: '',
  recovery_end_command: '',
  ssl: 'off',
  logging_collector: 'off',
  log_destination: 'stderr',
};

export type RecoveryTarget =
  | { readonly kind: 'lsn'; readonly lsn: string; readonly inclusive: boolean }
  | { readonly kind: 'time'; readonly time: string };

export interface RecoveryPlan {
  readonly target: RecoveryTarget;
  readonly timeline: number;
  readonly action: 'pause' | 'promote';
  /** Plain segments, fetched before. */
  readonly walDirectory: string;
}

export function recoverySettings({
  target,
  timeline,
  action,
  walDirectory,
}: RecoveryPlan): Readonly<Record<string, string>> {
  const to =
    target.kind === 'lsn'
      ? { recovery_target_lsn: target.lsn, recovery_target_inclusive: target.inclusive ? 'on' : 'off' }
      : { recovery_target_time: target.time, recovery_target_inclusive: 'on' };
  return {
    ...to,
    recovery_target_timeline: String(timeline),
    recovery_target_action: action,
    restore_command: `cp "${walDirectory}/%f" "%p"`,
    hot_standby: 'on',
  };
}

/** The text of a configuration file. */
export function settingsText(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`)
    .join('');
}

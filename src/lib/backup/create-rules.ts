import { KpipeError, messageOf } from '../errors.ts';
import type { SourceFacts } from '../postgres/backup-source.ts';
import type { Fingerprint } from './entry.ts';
import type { BackupPlace } from './place.ts';
import { CheckFailed } from './verdict.ts';

/** What `kpipe backup create` makes of what it finds: refusals, warnings, words. */

/** @throws KPIPE_REFUSED */
export function refuseUnfit(facts: SourceFacts): void {
  const refuse = (message: string, next: string): never => {
    throw new KpipeError('KPIPE_REFUSED', message, { next });
  };
  if (facts.inRecovery) {
    refuse('postgres.primary is a standby', 'name the primary; `kpipe replica status` shows who is');
  }
  if (!facts.mayReplicate) {
    refuse('the role may not take base backups', 'alter role ROLE replication');
  }
  if (!facts.maySwitchWal) {
    refuse('the role may not call pg_switch_wal()', 'grant execute on function pg_switch_wal() to ROLE');
  }
  if (facts.slot !== null && !facts.slot.physical) {
    refuse('the slot of postgres.backups.walArchive is a logical one', 'name another slot; kpipe makes it');
  }
  if (facts.slot?.walStatus === 'lost') {
    refuse(
      'the slot has lost its write-ahead log: the archive has a hole',
      'drop the slot (select pg_drop_replication_slot(…)) and create again: the archive begins anew',
    );
  }
}

export function warningsOf(facts: SourceFacts, { keys, postgres }: Pick<BackupPlace, 'keys' | 'postgres'>): string[] {
  return [
    ...(facts.dataChecksums
      ? []
      : [
          'data checksums are off: rot on the primary is copied as it is, and only the comparison of contents can see it',
        ]),
    ...(keys.encryption === undefined ? ['the backup is not encrypted: postgres.backups.encryption is missing'] : []),
    ...(postgres.replicas.length === 0
      ? ['no replica is declared: only the pipeline tables can be compared, up to their positions']
      : []),
  ];
}

export function fingerprintWarnings(fingerprint: Fingerprint | null): readonly string[] {
  if (fingerprint === null) {
    return ['there is no fingerprint: the contents of this backup cannot be proven'];
  }
  return fingerprint.method === 'standby' && fingerprint.notCompared.length > 0
    ? [
        `${fingerprint.notCompared.length} tables cannot be read by the role and are not compared: grant pg_read_all_data`,
      ]
    : [];
}

export function describeFingerprint(fingerprint: Fingerprint | null): string {
  if (fingerprint === null) {
    return 'none: no standby, no pipeline tables';
  }
  return fingerprint.method === 'standby'
    ? `${fingerprint.tables.length} tables at ${fingerprint.lsn}, on ${fingerprint.standby}`
    : `${fingerprint.partitions.length} partitions up to their positions`;
}

export function asBackupFailure(error: unknown): unknown {
  if (error instanceof CheckFailed) {
    return new KpipeError('KPIPE_BACKUP_FAILED', `what was stored does not read back: ${error.message}`, {
      next: 'look at the disk that holds the repository',
      cause: error,
    });
  }
  return error instanceof Error && /ENOSPC|EDQUOT/.test(error.message) && !(error instanceof KpipeError)
    ? new KpipeError('KPIPE_BACKUP_FAILED', `the repository is full: ${messageOf(error)}`, {
        next: 'kpipe backup prune, or another repository',
        cause: error,
      })
    : error;
}

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { createdView, phaseLine } from '../../cli/views/backup.ts';
import { createBackup, type BackupCreated } from '../../lib/backup/create.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';

export type BackupCreateResult = BackupCreated;

export default class BackupCreate extends KpipeCommand {
  static override summary = 'take a base backup, with a fingerprint of every table to hold a restore against';
  static override description =
    'pg_basebackup, encrypted and read back, in a signed catalogue; the write-ahead log up to it is in the archive before it counts. a standby pauses its replay for as long as the tables are hashed. killed at any instant it leaves nothing that looks like a backup. an incremental one holds what has changed since another backup, which it needs to be restored: PostgreSQL 17 and later, with summarize_wal = on';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --incremental',
    '<%= config.bin %> <%= command.id %> --incremental --base 20261123T065712Z-3fa1c2 --json',
  ];
  static override flags = {
    incremental: Flags.boolean({ description: 'only what has changed since the newest backup' }),
    base: Flags.string({
      helpValue: 'ID',
      dependsOn: ['incremental'],
      description: 'the backup to build on, in place of the newest',
    }),
    'archive-deadline': durationFlag('archive-deadline')({
      description: 'how long the last segment may take to reach the archive (default: 2m)',
    }),
  };

  async run(): Promise<BackupCreateResult> {
    const { flags } = await this.parse(BackupCreate);
    const steps = this.steps();
    const created = await createBackup(openBackupPlace(this.configuration(flags)), {
      signal: this.interruption(),
      environment: process.env,
      ...(flags.incremental ? { incremental: { base: flags.base } } : {}),
      archiveDeadlineMs: flags['archive-deadline'] ?? 120_000,
      report: (phase, detail, ms) => {
        const line = phaseLine(phase, detail, ms);
        return ms === null ? steps.running(line) : steps.ended(line);
      },
    }).finally(() => steps.clear());
    return this.show(flags, created, createdView);
  }
}

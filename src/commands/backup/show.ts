import { Args } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { showView } from '../../cli/views/backup.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';
import { showBackup, type BackupDescription } from '../../lib/backup/show.ts';

export type BackupShowResult = BackupDescription;

export default class BackupShow extends KpipeCommand {
  static override summary = 'show a backup: its range of the log, its files, its fingerprint, how it was verified';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> 20261123T065712Z-3fa1c2 --json',
  ];
  static override args = { id: Args.string({ description: 'the backup (default: the newest)' }) };

  async run(): Promise<BackupShowResult> {
    const { args, flags } = await this.parse(BackupShow);
    const place = openBackupPlace(this.configuration(flags));
    return this.show(flags, await showBackup(place, args.id, Date.now()), showView);
  }
}

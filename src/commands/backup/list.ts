import { KpipeCommand } from '../../cli/base-command.ts';
import { listView } from '../../cli/views/backup.ts';
import { listBackups, type BackupLine } from '../../lib/backup/catalogue.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';

export interface BackupListResult {
  readonly repository: string;
  readonly backups: readonly BackupLine[];
}

export default class BackupList extends KpipeCommand {
  static override summary = 'list the backups: age, size, and when each was last proven';
  static override description =
    'a verification counts only while its signature is valid. PROVEN is the last restore of level full that was good';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<BackupListResult> {
    const { flags } = await this.parse(BackupList);
    const place = openBackupPlace(this.configuration(flags));
    const result = { repository: place.repository.title, backups: listBackups(place, Date.now()) };
    return this.show(flags, result, listView);
  }
}

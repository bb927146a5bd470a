import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { listView } from '../../cli/views/backup.ts';
import type { BackupProblem } from '../../lib/backup/alerts.ts';
import type { BackupLine } from '../../lib/backup/catalogue.ts';
import { lookAtBackups } from '../../lib/backup/look.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';

export interface BackupListResult {
  readonly repository: string;
  readonly backups: readonly BackupLine[];
  /** By kpipe.yaml's alerts.backup. */
  readonly problems: readonly BackupProblem[];
}

export default class BackupList extends KpipeCommand {
  static override summary = 'list the backups: age, size, and when each was last proven';
  static override description =
    'a verification counts only while its signature is valid. PROVEN is the last restore of level full that was good';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --check --json',
  ];
  static override flags = {
    check: Flags.boolean({
      description: 'exit 3 on a problem: none, too old, not proven (alerts.backup of kpipe.yaml)',
    }),
  };

  async run(): Promise<BackupListResult> {
    const { flags } = await this.parse(BackupList);
    const config = this.configuration(flags);
    const place = openBackupPlace(config);
    const { lines: backups, problems } = await lookAtBackups(place, Date.now());
    const result = { repository: place.repository.title, backups, problems };
    return this.show(flags, result, listView, { exitCode: flags.check && problems.length > 0 ? 3 : 0 });
  }
}

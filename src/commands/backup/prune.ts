import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { pruneView } from '../../cli/views/backup.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';
import { pruneBackups, type PruneResult } from '../../lib/backup/prune.ts';

export type BackupPruneResult = PruneResult;

export default class BackupPrune extends KpipeCommand {
  static override summary = 'remove backups that postgres.backups.keep does not keep, and the archive before them';
  static override description =
    'without --yes it only says what it would do. never removed: what the window needs, what a kept increment needs, the newest that passed a full verification, one that is being verified, one whose entry cannot be trusted';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --yes'];
  static override flags = {
    yes: Flags.boolean({ char: 'y', description: 'remove, without asking' }),
    confirm: Flags.string({
      helpValue: 'CONTEXT',
      description: 'the name of the protected context, instead of typing it',
    }),
  };

  async run(): Promise<BackupPruneResult> {
    const { flags } = await this.parse(BackupPrune);
    const config = this.configuration(flags);
    const place = openBackupPlace(config);
    const plan = await pruneBackups(place, true, Date.now());
    const doomed = plan.decisions.filter(({ keep }) => !keep).length;
    const asked = flags.yes || flags.confirm !== undefined || process.stdin.isTTY;
    if (doomed + plan.removedWal === 0 || !asked) {
      return this.show(flags, plan, pruneView);
    }
    const action = `remove ${doomed} backups and ${plan.removedWal} segments from ${place.repository.title}`;
    await this.confirm({ action, yes: flags.yes, confirm: flags.confirm, config });
    return this.show(flags, await pruneBackups(place, false, Date.now()), pruneView);
  }
}

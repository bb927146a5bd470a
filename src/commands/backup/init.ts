import { KpipeCommand } from '../../cli/base-command.ts';
import { initView } from '../../cli/views/backup.ts';
import { initBackups, type BackupInitiated } from '../../lib/backup/init.ts';

export type BackupInitResult = BackupInitiated;

export default class BackupInit extends KpipeCommand {
  static override summary = 'make the keys, the repository and the slot that backups need, once';
  static override description =
    'makes the files that kpipe.yaml names under postgres.backups.encryption.key and signing.key, readable by you only. what is there already is left alone. a bucket (repository: s3://bucket/prefix) is not made, but looked at: whether kpipe may list, write and remove there. keep a copy of the encryption key apart from the repository';
  static override examples = ['<%= config.bin %> <%= command.id %>'];

  async run(): Promise<BackupInitResult> {
    const { flags } = await this.parse(BackupInit);
    return this.show(flags, await initBackups(this.configuration(flags)), initView);
  }
}

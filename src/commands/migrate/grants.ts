import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { grants, type Grants } from '../../lib/postgres/grants.ts';

export type MigrateGrantsResult = Grants;

export default class MigrateGrants extends KpipeCommand {
  static override summary = 'print the SQL that gives consumers, readers, monitoring and backups the rights they need';
  static override description =
    'Nothing is changed: a superuser runs it in the database, after kpipe migrate. It may be run again.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> | psql --single-transaction "$SUPERUSER_URL"',
    '<%= config.bin %> <%= command.id %> --prefix shop --context prod',
  ];
  static override flags = {
    prefix: Flags.string({
      default: 'kpipe',
      helpValue: 'NAME',
      description: 'what the names of the roles begin with',
    }),
  };

  async run(): Promise<MigrateGrantsResult> {
    const { flags } = await this.parse(MigrateGrants);
    const config = this.configuration(flags);
    const tables = new Set((config.roles.events?.projections ?? []).map(({ table }) => table));
    const result = grants({ prefix: flags.prefix, projections: [...tables] });
    return this.show(flags, result, ({ sql }) => sql.trimEnd());
  }
}

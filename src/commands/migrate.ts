import { Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { ok, warn } from '../cli/output/text.ts';
import { KpipeError } from '../lib/errors.ts';
import type { MigrationStep } from '../lib/postgres/migrate.ts';

export interface MigrateResult {
  readonly steps: readonly MigrationStep[];
}

export default class Migrate extends KpipeCommand {
  static override summary = "make kpipe's schema in PostgreSQL, and the declared projection tables that are missing";
  static override description =
    'What exists is never changed. With --plan nothing is done: exit 3 when something is missing.';
  static override flags = {
    plan: Flags.boolean({ description: 'only say what would be done' }),
  };
  static override examples = [
    '<%= config.bin %> <%= command.id %> --plan',
    '<%= config.bin %> <%= command.id %> --context prod',
  ];

  async run(): Promise<MigrateResult> {
    const { flags } = await this.parse(Migrate);
    const config = this.configuration(flags);
    if (config.postgres === undefined) {
      throw new KpipeError('KPIPE_CONFIG_INVALID', `${config.file} has no postgres section`, {
        next: 'add postgres.primary',
      });
    }
    const { migrateDatabase } = await import('../lib/postgres/migrate.ts');
    const steps = await migrateDatabase(config.postgres, {
      projections: config.roles.events?.projections ?? [],
      logRetentionMs: config.roles.logs?.retention ?? 30 * 86_400_000,
      nowMs: Date.now(),
      planOnly: flags.plan,
    });
    const missing = flags.plan && steps.length > 0;
    return this.show(
      flags,
      { steps },
      (result, view) =>
        result.steps.length === 0
          ? view.line(ok('in sync'))
          : result.steps
              .map((step) => view.line([step.applied ? ok('made ') : warn('missing '), `${step.kind} ${step.name}`]))
              .join('\n'),
      { exitCode: missing ? 3 : 0 },
    );
  }
}

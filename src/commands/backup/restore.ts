import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { restorePlanLines, restoreView } from '../../cli/views/backup.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';
import type { RestoreResult, RestoreTarget } from '../../lib/backup/restore-plan.ts';
import { restoreBackup } from '../../lib/backup/restore.ts';
import { scratchRoot } from '../../lib/backup/scratch.ts';
import { KpipeError } from '../../lib/errors.ts';

export type BackupRestoreResult = RestoreResult;

export default class BackupRestore extends KpipeCommand {
  static override summary = 'restore a backup into an empty directory, to its latest, a time or an LSN';
  static override description =
    'shows its plan first. the restored server is started on a socket of its own, recovers exactly to the target and is stopped: paused there until you promote it, or promoted with --promote. the roles find their positions in the restored database and read on from there';
  static override examples = [
    '<%= config.bin %> <%= command.id %> latest --to /var/lib/postgresql/restored',
    "<%= config.bin %> <%= command.id %> 20261123T065712Z-3fa1c2 --to /srv/restored --target-time '2026-11-23T06:00:00Z' --promote --yes",
  ];
  static override args = { id: Args.string({ required: true, description: 'the backup, or latest' }) };
  static override flags = {
    to: Flags.string({ required: true, helpValue: 'DIR', description: 'the data directory: empty, or not there yet' }),
    'target-time': Flags.string({
      helpValue: 'TIME',
      exclusive: ['target-lsn'],
      description: 'the last commit to have, as 2026-11-23T06:00:00Z',
    }),
    'target-lsn': Flags.string({ helpValue: 'LSN', description: 'everything before this LSN' }),
    promote: Flags.boolean({ default: false, description: 'make it a primary of its own timeline' }),
    scratch: Flags.string({ helpValue: 'DIR', description: 'where the segments of the archive are unpacked' }),
    plan: Flags.boolean({ exclusive: ['yes'], description: 'only say what would be done' }),
    yes: Flags.boolean({ char: 'y', description: 'do not ask' }),
  };

  async run(): Promise<BackupRestoreResult> {
    const { args, flags } = await this.parse(BackupRestore);
    const place = openBackupPlace(this.configuration(flags));
    const steps = this.steps();
    const request = {
      id: args.id,
      directory: flags.to,
      target: targetOf(flags),
      promote: flags.promote,
      scratchRoot: scratchRoot(place.backups, flags.scratch, process.env),
      environment: process.env,
      signal: this.interruption(),
      report: (step: string) => steps.running(`… ${step}`),
    };
    const result = await restoreBackup(place, request, async (plan) => {
      steps.clear();
      if (flags.plan) {
        return false;
      }
      restorePlanLines(plan).forEach((line) => this.say(line));
      await this.confirm({ action: `restore ${plan.backupId} to ${plan.directory}`, yes: flags.yes });
      return true;
    }).finally(() => steps.clear());
    return this.show(flags, result, restoreView);
  }
}

function targetOf(flags: {
  readonly 'target-time'?: string | undefined;
  readonly 'target-lsn'?: string | undefined;
}): RestoreTarget {
  const time = flags['target-time'];
  if (time !== undefined) {
    if (!/(?:Z|[+-]\d\d:?\d\d)$/.test(time) || Number.isNaN(Date.parse(time))) {
      throw new KpipeError('KPIPE_USAGE', `--target-time ${time} is not a time with its zone`, {
        next: 'write it as 2026-11-23T06:00:00Z',
      });
    }
    return { kind: 'time', time };
  }
  const lsn = flags['target-lsn'];
  return lsn === undefined ? { kind: 'latest' } : { kind: 'lsn', lsn };
}

import { userInfo } from 'node:os';
import { resolve } from 'node:path';

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { runEventLine, runView, unitsView } from '../../cli/views/backup-run.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';
import { runBackups, type BackupRunReport } from '../../lib/backup/run.ts';
import { scratchRoot } from '../../lib/backup/scratch.ts';
import { cronTable, systemdUnits, type UnitFile } from '../../lib/backup/unit-files.ts';
import { verifyLevels } from '../../lib/backup/verdict.ts';
import type { Config } from '../../lib/config/load.ts';

/** What was done; with --print, the files. */
export type BackupRunResult = BackupRunReport | { readonly files: readonly UnitFile[] };

export default class BackupRun extends KpipeCommand {
  static override summary = 'receive the write-ahead log, and take a backup now and then, in the foreground';
  static override description =
    'pg_receivewal on the slot of kpipe.yaml, started again when it ends; finished segments are compressed, encrypted and moved into the repository. without --every only that. ' +
    'ends non-zero when a backup was not made for a whole interval. --print writes the units for systemd or a table for cron instead';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --every 1d --verify full --prune',
    '<%= config.bin %> <%= command.id %> --every 1d --print systemd',
  ];
  static override flags = {
    every: durationFlag('every', 1000)({ description: 'time between two backups (default: only receive the log)' }),
    verify: Flags.option({ options: verifyLevels, description: 'prove each backup at this level' })(),
    prune: Flags.boolean({ description: 'remove what postgres.backups.keep does not keep, after each backup' }),
    scratch: Flags.string({ helpValue: 'DIR', description: 'where --verify restores to' }),
    print: Flags.option({
      options: ['systemd', 'cron'] as const,
      description: 'print what a scheduler needs, and run nothing (with --every, default: 1d)',
    })(),
  };

  async run(): Promise<BackupRunResult> {
    const { flags } = await this.parse(BackupRun);
    const config = this.configuration(flags);
    if (flags.print !== undefined) {
      return this.show(flags, { files: unitFiles(flags.print, config, flags.every ?? 86_400_000) }, unitsView);
    }
    const place = openBackupPlace(config);
    const report = await runBackups(place, {
      everyMs: flags.every ?? null,
      prune: flags.prune,
      verify:
        flags.verify === undefined
          ? null
          : { level: flags.verify, scratchRoot: scratchRoot(place.backups, flags.scratch, process.env) },
      signal: this.interruption(),
      environment: process.env,
      archiveDeadlineMs: 120_000,
      onEvent: (event) => this.say(runEventLine(event, Date.now())),
    });
    return this.show(flags, report, runView);
  }
}

function unitFiles(kind: 'systemd' | 'cron', config: Config, everyMs: number): readonly UnitFile[] {
  const program = [process.execPath, resolve(process.argv[1] ?? 'kpipe')];
  const { username } = userInfo();
  const request = { program, configFile: config.file, context: config.context, everyMs, user: username };
  return kind === 'systemd' ? systemdUnits(request) : [cronTable(request)];
}

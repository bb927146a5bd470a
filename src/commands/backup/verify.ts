import { Args, Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { checkLine, provingLine, reportCheckView, verifyView } from '../../cli/views/backup.ts';
import { openBackupPlace } from '../../lib/backup/place.ts';
import { scratchRoot } from '../../lib/backup/scratch.ts';
import { checkReport, type ReportCheck } from '../../lib/backup/show.ts';
import { verifyLevels, type VerifyReport } from '../../lib/backup/verdict.ts';
import { verifyBackup } from '../../lib/backup/verify.ts';

/** The report; with --report, what that file is worth. */
export type BackupVerifyResult = VerifyReport | ReportCheck;

export default class BackupVerify extends KpipeCommand {
  static override summary = 'prove a backup by restoring it, and say why when it is not good';
  static override description =
    'levels build on each other. manifest: signature, key, the archive without a hole and every record of it, every file by its SHA-256. ' +
    'restore: the files make a server that recovers to the exact LSN of the backup. full: every table holds what it held, every index agrees with its table, your queries hold. an incremental backup is proven with every backup that it needs. ' +
    'the restored server listens on a socket of its own only, and is torn down, also after Ctrl-C. exits 3 when the backup is not good; a failing check has a stable code';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> 20261123T065712Z-3fa1c2 --level manifest',
    '<%= config.bin %> <%= command.id %> --json > report.json',
    '<%= config.bin %> <%= command.id %> --report report.json',
  ];
  static override args = { id: Args.string({ description: 'the backup (default: the newest)' }) };
  static override flags = {
    level: Flags.option({ options: verifyLevels, description: 'how much to prove (default: full)' })(),
    scratch: Flags.string({
      helpValue: 'DIR',
      description: 'where to restore to, with room for the whole cluster (default: postgres.backups.scratch)',
    }),
    keep: Flags.boolean({ description: 'leave the restored server running, and say how to reach it' }),
    report: Flags.string({
      helpValue: 'FILE',
      exclusive: ['level', 'scratch', 'keep'],
      description: 'restore nothing: check the signature of a report and say what it says',
    }),
  };

  async run(): Promise<BackupVerifyResult> {
    const { args, flags } = await this.parse(BackupVerify);
    const place = openBackupPlace(this.configuration(flags));
    if (flags.report !== undefined) {
      const checked = checkReport(place, flags.report);
      return this.show(flags, checked, reportCheckView, { exitCode: checked.ok ? 0 : 3 });
    }
    const steps = this.steps();
    const report = await verifyBackup(place, args.id, {
      level: flags.level ?? 'full',
      scratchRoot: scratchRoot(place.backups, flags.scratch, process.env),
      keep: flags.keep,
      signal: this.interruption(),
      environment: process.env,
      report: (name, check) => (check === null ? steps.running(provingLine(name)) : steps.ended(checkLine(check))),
    }).finally(() => steps.clear());
    const live = process.stderr.isTTY && process.stdout.isTTY;
    return this.show(flags, report, verifyView(live), { exitCode: report.ok ? 0 : 3 });
  }
}

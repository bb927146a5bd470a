import { KpipeCommand } from '../cli/base-command.ts';
import { doctorView } from '../cli/views/doctor.ts';
import { examine, type DoctorReport } from '../lib/health/doctor.ts';

export type DoctorResult = DoctorReport;

const deadlineMs = 5000;

export default class Doctor extends KpipeCommand {
  static override summary = 'reach every store of kpipe.yaml and check versions, rights and clocks';
  static override description =
    'looks at all stores at once, for at most 5 seconds, and changes nothing. exits 0 when no check fails (warnings included), 3 when one does';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --context prod',
    '<%= config.bin %> <%= command.id %> --json',
  ];

  async run(): Promise<DoctorResult> {
    const { flags } = await this.parse(Doctor);
    const report = await examine(this.configuration(flags), { deadlineMs, nowMs: Date.now() });
    return this.show(flags, report, doctorView, { exitCode: report.checks.every(({ ok }) => ok) ? 0 : 3 });
  }
}

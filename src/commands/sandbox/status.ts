import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { sandboxStatusView } from '../../cli/views/sandbox.ts';
import { sandboxDirectory } from '../../lib/sandbox/directory.ts';
import { sandboxStatus } from '../../lib/sandbox/sandbox.ts';
import type { SandboxStatus } from '../../lib/sandbox/types.ts';

export type SandboxStatusResult = SandboxStatus;

export default class SandboxStatusCommand extends KpipeCommand {
  static override summary = 'show what runs of the sandbox and whether each server serves';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --check --json',
  ];
  static override flags = {
    check: Flags.boolean({ description: 'exit 3 when the sandbox is not up' }),
  };

  async run(): Promise<SandboxStatusResult> {
    const { flags } = await this.parse(SandboxStatusCommand);
    const status = await sandboxStatus(sandboxDirectory(process.env));
    const exitCode = flags.check && status.state !== 'up' ? 3 : 0;
    return this.show(flags, status, sandboxStatusView, { exitCode });
  }
}

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { sandboxProgressLine, sandboxResetView } from '../../cli/views/sandbox.ts';
import { sandboxDirectory } from '../../lib/sandbox/directory.ts';
import { resetSandbox } from '../../lib/sandbox/sandbox.ts';
import type { SandboxProgress, SandboxReset } from '../../lib/sandbox/types.ts';

export type SandboxResetResult = SandboxReset;

export default class SandboxResetCommand extends KpipeCommand {
  static override summary = "stop the sandbox's servers and delete all their data";
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --yes'];
  static override flags = {
    yes: Flags.boolean({ char: 'y', env: 'KPIPE_YES', description: 'do not ask' }),
  };

  async run(): Promise<SandboxResetResult> {
    const { flags } = await this.parse(SandboxResetCommand);
    const directory = sandboxDirectory(process.env);
    await this.confirm({ action: `delete all topics, tables and keys of the sandbox in ${directory}`, yes: flags.yes });
    const report = (progress: SandboxProgress): void => this.say(sandboxProgressLine(progress));
    return this.show(flags, await resetSandbox(directory, report, this.interruption()), sandboxResetView);
  }
}

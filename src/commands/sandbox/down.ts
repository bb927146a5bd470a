import { KpipeCommand } from '../../cli/base-command.ts';
import { sandboxDownView, sandboxProgressLine } from '../../cli/views/sandbox.ts';
import { sandboxDirectory } from '../../lib/sandbox/directory.ts';
import { stopSandbox } from '../../lib/sandbox/sandbox.ts';
import type { SandboxDown, SandboxProgress } from '../../lib/sandbox/types.ts';

export type SandboxDownResult = SandboxDown;

export default class SandboxDownCommand extends KpipeCommand {
  static override summary = "stop the sandbox's servers; their data stays";
  static override description =
    'Stops every process that the sandbox started and that still lives, also when the kpipe that started it was killed. ' +
    'A server that does not end within its deadline is killed.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run(): Promise<SandboxDownResult> {
    const { flags } = await this.parse(SandboxDownCommand);
    const report = (progress: SandboxProgress): void => this.say(sandboxProgressLine(progress));
    const down = await stopSandbox(sandboxDirectory(process.env), report, this.interruption());
    return this.show(flags, down, sandboxDownView);
  }
}

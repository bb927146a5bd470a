import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { sandboxProgressLine, sandboxUpView } from '../../cli/views/sandbox.ts';
import { sandboxDirectory } from '../../lib/sandbox/directory.ts';
import { parsePorts } from '../../lib/sandbox/ports.ts';
import { startSandbox } from '../../lib/sandbox/sandbox.ts';
import type { SandboxUp } from '../../lib/sandbox/types.ts';

export type SandboxUpResult = SandboxUp;

export default class SandboxUpCommand extends KpipeCommand {
  static override summary = "start the pipeline's servers on this machine and wait until they serve";
  static override description =
    'Kafka, PostgreSQL with a hot standby, Redis and a BigQuery stand-in, all on 127.0.0.1. ' +
    'What runs already is left as it is; the data of an earlier sandbox is used again. ' +
    'A kpipe.yaml that points at it is written to the current directory, unless a file of yours is there.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --brokers 1 --bigquery off',
    '<%= config.bin %> <%= command.id %> --ports kafka=39092,postgres=35432,redis=36379,bigquery=9050',
  ];
  static override flags = {
    brokers: Flags.string({
      options: ['3', '1'],
      env: 'KPIPE_SANDBOX_BROKERS',
      description: 'Kafka brokers, about 400 MB of heap each (default: as before, else 3)',
    }),
    ports: Flags.string({
      env: 'KPIPE_SANDBOX_PORTS',
      helpValue: 'NAME=PORT,…',
      description:
        'fixed first ports of kafka, postgres, redis, bigquery (default: those of last time, else free ones)',
    }),
    bigquery: Flags.string({
      options: ['auto', 'required', 'off'],
      default: 'auto',
      description: 'the BigQuery stand-in: where it can run, as a must, or not at all',
    }),
    'write-config': Flags.string({
      helpValue: 'FILE',
      description: 'where the kpipe.yaml goes (default: ./kpipe.yaml, else the sandbox directory)',
    }),
  };

  async run(): Promise<SandboxUpResult> {
    const { flags } = await this.parse(SandboxUpCommand);
    const up = await startSandbox(
      {
        directory: sandboxDirectory(process.env),
        workingDirectory: process.cwd(),
        environment: process.env,
        bigquery: flags.bigquery === 'required' || flags.bigquery === 'off' ? flags.bigquery : 'auto',
        ...(flags.brokers === undefined ? {} : { brokers: flags.brokers === '1' ? 1 : 3 }),
        ...(flags.ports === undefined ? {} : { ports: parsePorts(flags.ports) }),
        ...(flags['write-config'] === undefined ? {} : { configPath: flags['write-config'] }),
      },
      (progress) => this.say(sandboxProgressLine(progress)),
      this.interruption(),
    );
    return this.show(flags, up, sandboxUpView);
  }
}

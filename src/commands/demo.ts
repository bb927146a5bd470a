import { randomInt } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Flags } from '@oclif/core';

import { KpipeCommand, type SharedFlags } from '../cli/base-command.ts';
import { sandboxProgressLine } from '../cli/views/sandbox.ts';
import { demoView, showDemoProgress } from '../cli/views/demo.ts';
import { loadConfig, type Config } from '../lib/config/load.ts';
import { parseRecordRate } from '../lib/config/units.ts';
import type { DemoReport } from '../lib/demo/demo.ts';
import { KpipeError } from '../lib/errors.ts';
import { parseShare } from '../lib/produce/input.ts';
import { sandboxDirectory, sandboxPaths } from '../lib/sandbox/directory.ts';

export type DemoResult = DemoReport;

export default class Demo extends KpipeCommand {
  static override summary = 'run the whole pipeline on this machine and prove that nothing was lost or doubled';
  static override description =
    'starts the sandbox, applies the topics, migrates, starts the three roles, publishes the records of a shop from three kinds of producer at once, waits until all have arrived, and then looks for every single one in the stores. ' +
    'exits 1 and says why when one is missing or doubled. the sandbox stays up: kpipe sandbox down stops it';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --count 1000000 --rate 20k/s',
    '<%= config.bin %> <%= command.id %> --no-sandbox --config kpipe.yaml --json',
  ];
  static override flags = {
    sandbox: Flags.boolean({
      default: true,
      allowNo: true,
      description: 'start the sandbox; --no-sandbox uses the servers of kpipe.yaml',
    }),
    brokers: Flags.string({
      options: ['3', '1'],
      description: 'Kafka brokers of the sandbox (default: as before, else 3)',
    }),
    count: Flags.integer({ default: 100_000, min: 100, max: 5_000_000, description: 'records to publish' }),
    rate: Flags.string({
      default: '5k/s',
      helpValue: 'N/s',
      description: 'records a second, of all producers together',
    }),
    seed: Flags.integer({
      description: 'the same seed gives the same content under new ids (default: a random one, reported)',
    }),
    broken: Flags.string({ default: '0.5%', helpValue: 'SHARE', description: 'the share of broken records' }),
  };

  async run(): Promise<DemoResult> {
    const { flags } = await this.parse(Demo);
    const ratePerSec = parseRecordRate(flags.rate);
    const brokenShare = parseShare(flags.broken);
    if (ratePerSec === undefined || brokenShare === undefined) {
      throw new KpipeError('KPIPE_USAGE', 'not a rate or not a share', { next: 'write --rate 5k/s and --broken 0.5%' });
    }
    const config = flags.sandbox ? await this.#sandbox(flags.brokers) : this.#servers(flags);
    const { runDemo } = await import('../lib/demo/demo.ts');
    const show = showDemoProgress({
      say: (line) => this.say(line),
      progress: (label, total) => this.progress(label, total),
    });
    const report = await runDemo(config, {
      count: flags.count,
      ratePerSec,
      brokenShare,
      seed: flags.seed ?? randomInt(2 ** 31),
      commandLine: [process.execPath, join(this.config.root, 'bin', 'run.js')],
      logDirectory: flags.sandbox
        ? sandboxPaths(sandboxDirectory(process.env)).logs
        : join(tmpdir(), `kpipe-demo-${process.pid}`),
      signal: this.interruption(),
      report: show,
    });
    return this.show(flags, report, demoView({ ownSandbox: flags.sandbox, workingDirectory: process.cwd() }), {
      exitCode: report.ok ? 0 : 1,
    });
  }

  async #sandbox(brokers: string | undefined): Promise<Config> {
    const { startSandbox } = await import('../lib/sandbox/sandbox.ts');
    const directory = sandboxDirectory(process.env);
    const up = await startSandbox(
      {
        directory,
        workingDirectory: process.cwd(),
        environment: process.env,
        bigquery: 'required',
        ...(brokers === undefined ? {} : { brokers: brokers === '1' ? 1 : 3 }),
      },
      (progress) => this.say(sandboxProgressLine(progress)),
      this.interruption(),
    );
    return loadConfig({ file: up.configPath ?? sandboxPaths(directory).config, cwd: process.cwd(), env: process.env });
  }

  #servers(flags: SharedFlags): Config {
    const config = this.configuration(flags);
    if (config.protected) {
      throw new KpipeError(
        'KPIPE_REFUSED',
        `the context ${config.context ?? config.pipeline} is protected: the demo writes into its topics and stores`,
        {
          next: 'run it in the sandbox: kpipe demo',
        },
      );
    }
    return config;
  }
}

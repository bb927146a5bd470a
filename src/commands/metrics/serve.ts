import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { durationFlag } from '../../cli/duration-flag.ts';
import { serveMetrics } from '../../lib/metrics/exporter.ts';

const defaultPort = 9308;
const defaultIntervalMs = 15_000;

export default class MetricsServe extends KpipeCommand {
  static override summary = 'serve lag, brokers, replicas and backups to Prometheus until it is stopped';
  static override description =
    'looks at an interval of its own, so that no scrape waits or causes a look. deploy/ has alert rules and a Grafana dashboard for it';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --port 9308 --host 0.0.0.0 --interval 30s',
    '<%= config.bin %> <%= command.id %> --group my-service',
  ];
  static override flags = {
    port: Flags.integer({
      min: 0,
      max: 65_535,
      helpValue: 'PORT',
      default: defaultPort,
      description: 'port of /metrics, /livez and /readyz; 0 takes a free one',
    }),
    host: Flags.string({
      helpValue: 'ADDRESS',
      default: '127.0.0.1',
      description: 'address that they are served on',
    }),
    interval: durationFlag('interval', 1000)({ description: 'time between two looks at each part (default: 15s)' }),
    group: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'GROUP',
      description: 'a consumer group that need not be a role, beside the roles',
    }),
  };

  async run(): Promise<undefined> {
    const { flags } = await this.parse(MetricsServe);
    const options = {
      host: flags.host,
      port: flags.port,
      intervalMs: flags.interval ?? defaultIntervalMs,
      groups: flags.group ?? [],
      now: Date.now,
    };
    const signal = this.interruption();
    await serveMetrics(this.configuration(flags), options, (url) => this.say(`metrics on ${url}/metrics`), signal);
    // To be stopped is how it ends.
    process.exitCode = 0;
  }
}

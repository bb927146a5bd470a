import { basename, resolve } from 'node:path';

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../cli/base-command.ts';
import { ok } from '../cli/output/text.ts';
import { parseConfig } from '../lib/config/load.ts';
import { liveTopics } from '../lib/init/live-topics.ts';
import { configTemplate, type TopicEntry } from '../lib/init/template.ts';
import { brokerList, refuseExisting, writeConfig } from '../lib/init/write.ts';
import { withKafkaAdmin } from '../lib/kafka/admin.ts';

export interface InitResult {
  readonly file: string;
  readonly pipeline: string;
  readonly brokers: readonly string[];
  /** How many topics were read from the cluster; null: none were asked for. */
  readonly topicsFromCluster: number | null;
}

export default class Init extends KpipeCommand {
  static override summary = 'write a kpipe.yaml in which every key is explained';
  static override description =
    'writes ./kpipe.yaml, or the file that --config names. never replaces a file without --force';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --from-cluster --brokers kafka1:9092,kafka2:9092',
    '<%= config.bin %> <%= command.id %> --config ./staging.yaml --pipeline shop',
  ];
  static override flags = {
    brokers: Flags.string({
      helpValue: 'HOST:PORT',
      description: 'brokers to write, separated by commas (default: 127.0.0.1:9092)',
    }),
    'from-cluster': Flags.boolean({
      dependsOn: ['brokers'],
      description: "declare the cluster's topics as they are now",
    }),
    pipeline: Flags.string({ helpValue: 'NAME', description: "the pipeline's name (default: the directory's)" }),
    force: Flags.boolean({ description: 'replace the file if it exists' }),
  };

  async run(): Promise<InitResult> {
    const { flags } = await this.parse(Init);
    const file = resolve(flags.config ?? 'kpipe.yaml');
    const pipeline = flags.pipeline ?? (basename(resolve('.')) || 'pipeline');
    const brokers = brokerList(flags.brokers ?? '127.0.0.1:9092');
    if (!flags.force) {
      refuseExisting(file);
    }
    const topics = flags['from-cluster'] ? await this.#topicsOf(brokers) : null;
    writeConfig(file, configTemplate({ pipeline, brokers, topics }), { force: flags.force, env: process.env });
    const topicsFromCluster = topics === null ? null : Object.keys(topics).length;
    return this.show(flags, { file, pipeline, brokers, topicsFromCluster }, (result, view) =>
      [
        view.line([
          ok('wrote '),
          result.file,
          ...(topics === null ? [] : [` with ${result.topicsFromCluster} topics of the cluster`]),
        ]),
        view.line('next:  correct what is not yours in it, then kpipe doctor and kpipe topics plan'),
      ].join('\n'),
    );
  }

  #topicsOf(brokers: readonly string[]): Promise<Readonly<Record<string, TopicEntry>>> {
    const { kafka } = parseConfig(configTemplate({ pipeline: 'new', brokers, topics: {} }), 'kpipe.yaml', process.env);
    return withKafkaAdmin(kafka, (admin) => liveTopics(admin, Date.now()));
  }
}

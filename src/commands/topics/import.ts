import { basename, resolve } from 'node:path';

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { parseConfig, type Config } from '../../lib/config/load.ts';
import { configTemplate } from '../../lib/init/template.ts';
import { brokerList } from '../../lib/init/write.ts';
import { withKafkaAdmin } from '../../lib/kafka/admin.ts';
import { importTopics, type ImportedTopics } from '../../lib/topics/import.ts';

export type TopicsImportResult = ImportedTopics;

export default class TopicsImport extends KpipeCommand {
  static override summary = 'write the YAML of the topics that a live cluster has';
  static override description =
    'what is printed is a kpipe.yaml that plans clean at once: with --brokers for a cluster that has none, otherwise for the cluster that kpipe.yaml names. secrets are named, never printed. do not redirect it into the file that it reads';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --brokers kafka1:9092,kafka2:9092 > kpipe.yaml',
    '<%= config.bin %> <%= command.id %> --config ./kpipe.yaml > imported.yaml',
  ];
  static override flags = {
    brokers: Flags.string({
      helpValue: 'HOST:PORT',
      description: 'brokers of the cluster, separated by commas; reads no kpipe.yaml',
    }),
    pipeline: Flags.string({
      dependsOn: ['brokers'],
      helpValue: 'NAME',
      description: "the pipeline's name in a new kpipe.yaml (default: the directory's)",
    }),
  };

  async run(): Promise<TopicsImportResult> {
    const { flags } = await this.parse(TopicsImport);
    const brokers = flags.brokers === undefined ? null : brokerList(flags.brokers);
    const { kafka, pipeline } = brokers === null ? this.configuration(flags) : configAt(brokers, flags.pipeline);
    const request = { nowMs: Date.now(), pipeline, kafka, journal: kafka.journal };
    const result = await withKafkaAdmin(kafka, (admin) => importTopics(admin, request));
    return this.show(flags, result, ({ yaml }) => yaml.trimEnd());
  }
}

function configAt(brokers: readonly string[], name: string | undefined): Config {
  const pipeline = name ?? (basename(resolve('.')) || 'pipeline');
  return parseConfig(configTemplate({ pipeline, brokers, topics: {} }), 'kpipe.yaml', process.env);
}

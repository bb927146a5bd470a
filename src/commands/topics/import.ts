import { basename, resolve } from 'node:path';

import { Flags } from '@oclif/core';

import { KpipeCommand } from '../../cli/base-command.ts';
import { parseConfig, type KafkaConfig } from '../../lib/config/load.ts';
import { configTemplate } from '../../lib/init/template.ts';
import { brokerList } from '../../lib/init/write.ts';
import { withKafkaAdmin } from '../../lib/kafka/admin.ts';
import { importTopics, type ImportedTopics } from '../../lib/topics/import.ts';

export type TopicsImportResult = ImportedTopics;

export default class TopicsImport extends KpipeCommand {
  static override summary = 'write the YAML of the topics that a live cluster has';
  static override description =
    'what is printed plans clean at once. with --brokers a whole kpipe.yaml, for a cluster that has none; otherwise the topics section of the cluster that kpipe.yaml names';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --brokers kafka1:9092,kafka2:9092 > kpipe.yaml',
    '<%= config.bin %> <%= command.id %> --config ./staging.yaml > topics.yaml',
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
    const pipeline = flags.pipeline ?? (basename(resolve('.')) || 'pipeline');
    const kafka = brokers === null ? this.configuration(flags).kafka : kafkaAt(brokers);
    const file = brokers === null ? null : { pipeline, brokers };
    const request = { nowMs: Date.now(), file, journal: kafka.journal };
    const result = await withKafkaAdmin(kafka, (admin) => importTopics(admin, request));
    return this.show(flags, result, ({ yaml }) => yaml.trimEnd());
  }
}

function kafkaAt(brokers: readonly string[]): KafkaConfig {
  const template = configTemplate({ pipeline: 'new', brokers, topics: {} });
  return parseConfig(template, 'kpipe.yaml', process.env).kafka;
}

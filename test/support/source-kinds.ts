import { parseConfig, type KafkaConfig } from '../../src/lib/config/load.ts';

/** The ways in which kpipe can read, as kpipe.yaml chooses them. */
export const sourceKinds = ['kafkajs', 'cooperative, classic', 'cooperative, KIP-848'] as const;
export type SourceKind = (typeof sourceKinds)[number];

/** What the `kafka` section of kpipe.yaml says for it. */
export const kafkaSections: Readonly<Record<SourceKind, KafkaSection>> = {
  kafkajs: { source: 'kafkajs' },
  'cooperative, classic': { source: 'cooperative', group: { protocol: 'classic' } },
  'cooperative, KIP-848': { source: 'cooperative', group: { protocol: 'consumer' } },
};

interface KafkaSection {
  readonly source: KafkaConfig['source'];
  readonly group?: { readonly protocol: KafkaConfig['group']['protocol'] };
}

export interface KafkaSettings {
  readonly sessionTimeout?: string;
  readonly instanceId?: string;
}

/** As kpipe.yaml would give it. */
export function kafkaConfig(kind: SourceKind, brokers: readonly string[], settings: KafkaSettings = {}): KafkaConfig {
  const { group, ...section } = kafkaSections[kind];
  const { instanceId, ...more } = settings;
  const kafka = {
    brokers,
    ...section,
    ...more,
    group: { ...group, ...(instanceId === undefined ? {} : { instanceId }) },
  };
  return parseConfig(JSON.stringify({ pipeline: 'test', kafka }), '/dev/null/kpipe.yaml', {}).kafka;
}

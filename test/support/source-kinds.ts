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

/** How kpipe reads unless kpipe.yaml says something; `auto` finds a broker that speaks KIP-848. */
function defaultKind(): SourceKind {
  const { kafka } = parseConfig('{pipeline: test, kafka: {brokers: localhost:9092}}', '/dev/null/kpipe.yaml', {});
  return kafka.source === 'kafkajs' ? 'kafkajs' : 'cooperative, KIP-848';
}

export interface FaultSource {
  readonly kind: SourceKind;
  /** How much of a test's rounds it goes through. */
  readonly share: number;
}

/** By `KPIPE_FAULT_SOURCE` (`npm run faults -- --source`): kafkajs, classic or consumer; else the default in full, and less of the others. */
export function faultSources(): readonly [FaultSource, ...FaultSource[]] {
  const named = { kafkajs: 'kafkajs', classic: 'cooperative, classic', consumer: 'cooperative, KIP-848' } as const;
  const asked = process.env['KPIPE_FAULT_SOURCE'] ?? '';
  if (asked !== '') {
    if (!Object.hasOwn(named, asked)) {
      throw new Error(`KPIPE_FAULT_SOURCE=${asked} is none of ${Object.keys(named).join(', ')}`);
    }
    return [{ kind: named[asked as keyof typeof named], share: 1 }];
  }
  const main = defaultKind();
  return [
    { kind: main, share: 1 },
    ...sourceKinds.filter((kind) => kind !== main).map((kind) => ({ kind, share: 0.25 })),
  ];
}

import { parseConfig, type KafkaConfig } from '../../src/lib/config/load.ts';

/** The ways in which kpipe can read: by the group's protocol, as kpipe.yaml chooses it. */
export const sourceKinds = ['classic', 'KIP-848'] as const;
export type SourceKind = (typeof sourceKinds)[number];

/** What the `kafka` section of kpipe.yaml says for it. */
export const kafkaSections: Readonly<Record<SourceKind, KafkaSection>> = {
  classic: { group: { protocol: 'classic' } },
  'KIP-848': { group: { protocol: 'consumer' } },
};

interface KafkaSection {
  readonly group: { readonly protocol: KafkaConfig['group']['protocol'] };
}

export interface KafkaSettings {
  readonly sessionTimeout?: string;
  readonly instanceId?: string;
}

/** As kpipe.yaml would give it. */
export function kafkaConfig(kind: SourceKind, brokers: readonly string[], settings: KafkaSettings = {}): KafkaConfig {
  const { group } = kafkaSections[kind];
  const { instanceId, ...more } = settings;
  const kafka = {
    brokers,
    ...more,
    group: { ...group, ...(instanceId === undefined ? {} : { instanceId }) },
  };
  return parseConfig(JSON.stringify({ pipeline: 'test', kafka }), '/dev/null/kpipe.yaml', {}).kafka;
}

/** What `auto` finds on the sandbox's brokers. */
const defaultKind: SourceKind = 'KIP-848';

export interface FaultSource {
  readonly kind: SourceKind;
  /** How much of a test's rounds it goes through. */
  readonly share: number;
}

/** By `KPIPE_FAULT_SOURCE` (`npm run faults -- --source`): classic or consumer; else the default in full, and less of the other. */
export function faultSources(): readonly [FaultSource, ...FaultSource[]] {
  const named = { classic: 'classic', consumer: 'KIP-848' } as const;
  const asked = process.env['KPIPE_FAULT_SOURCE'] ?? '';
  if (asked !== '') {
    if (!Object.hasOwn(named, asked)) {
      throw new Error(`KPIPE_FAULT_SOURCE=${asked} is none of ${Object.keys(named).join(', ')}`);
    }
    return [{ kind: named[asked as keyof typeof named], share: 1 }];
  }
  return [
    { kind: defaultKind, share: 1 },
    ...sourceKinds.filter((kind) => kind !== defaultKind).map((kind) => ({ kind, share: 0.25 })),
  ];
}

import type { ApiVersionsResponse } from './connections.ts';

/**
 * Brokers don't tell their version. They tell the newest `metadata.version` (KIP-778) that they support, and each release
 * brought new ones: the first level of each, from Kafka's MetadataVersion.java.
 */
const firstLevels: readonly (readonly [level: number, release: string])[] = [
  [1, '3.0'],
  [2, '3.1'],
  [4, '3.2'],
  [5, '3.3'],
  [9, '3.4'],
  [10, '3.5'],
  [12, '3.6'],
  [15, '3.7'],
  [20, '3.8'],
  [21, '3.9'],
  [22, '4.0'],
  [26, '4.1'],
  [28, '4.2'],
  [30, '4.3'],
];

export function kafkaRelease(versions: Pick<ApiVersionsResponse, 'supportedFeatures'>): string | null {
  const level = versions.supportedFeatures?.find(({ name }) => name === 'metadata.version')?.maxVersion;
  return level === undefined ? null : (firstLevels.findLast(([first]) => first <= level)?.[1] ?? null);
}

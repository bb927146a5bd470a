import { partitionOfKey } from '../kafka/partitioner.ts';
import { formatDuration } from '../config/units.ts';
import type { Change } from './change.ts';
import type { Expiry, TopicEvidence } from './evidence.ts';
import { keyMoves, keyMovesText } from './key-moves.ts';
import type { ObservedTopic } from './observe.ts';
import type { TopicSpec } from './spec.ts';

/** What a change means for those who run the pipeline. Pure. */
export type Risk = Pick<Change, 'risk' | 'warnings'>;
export const harmless: Risk = { risk: 'none', warnings: [] };

/** A key of a topic that gets another value. */
export interface ConfigRiskQuestion {
  readonly key: string;
  readonly to: string;
  readonly spec: TopicSpec;
  readonly topic: ObservedTopic;
  readonly evidence: TopicEvidence | undefined;
}

export function configRisk({ key, to, spec, topic, evidence }: ConfigRiskQuestion): Risk {
  const current = topic.overrides[key] ?? topic.inherited[key];
  switch (key) {
    case 'retention.ms':
      return loweredRetentionMs(spec, topic) === undefined ? harmless : expiryRisk(evidence?.expiry, Number(to));
    case 'retention.bytes':
      return loweredBytes(spec, topic) === undefined ? harmless : sizeRisk(Number(to), evidence?.bytes);
    case 'cleanup.policy':
      return to.includes('compact') && current?.includes('compact') !== true
        ? {
            risk: 'high',
            warnings: ['compaction keeps only the newest record of each key, and refuses records without one'],
          }
        : harmless;
    case 'min.insync.replicas':
      return inSyncRisk(Number(to), Number(current ?? 1), Math.max(topic.replicationFactor, spec.replicationFactor));
    default:
      return harmless;
  }
}

function inSyncRisk(to: number, from: number, replicas: number): Risk {
  if (to > replicas) {
    const warning = `the topic has ${replicas} ${replicas === 1 ? 'replica' : 'replicas'}: every write with acks=all would fail`;
    return { risk: 'high', warnings: [warning] };
  }
  return to < from
    ? { risk: 'low', warnings: [`acked records may be on ${to} ${to === 1 ? 'broker' : 'brokers'} only`] }
    : harmless;
}

/** The declared size, where it is smaller than what is in effect; undefined otherwise. */
export function loweredBytes(spec: TopicSpec, topic: ObservedTopic): number | undefined {
  return loweredLimit('retention.bytes', spec, topic);
}

/** The declared retention, where it is shorter than what is in effect; undefined otherwise. */
export function loweredRetentionMs(spec: TopicSpec, topic: ObservedTopic): number | undefined {
  return loweredLimit('retention.ms', spec, topic);
}

function loweredLimit(key: string, spec: TopicSpec, topic: ObservedTopic): number | undefined {
  const declared = spec.config[key];
  const current = topic.overrides[key] ?? topic.inherited[key];
  return declared === undefined || current === undefined || limitOf(declared) >= limitOf(current)
    ? undefined
    : Number(declared);
}

/** -1 means no limit. */
function limitOf(value: string): number {
  const number = Number(value);
  return number < 0 ? Number.POSITIVE_INFINITY : number;
}

function expiryRisk(expiry: Expiry | undefined, retentionMs: number): Risk {
  if (expiry === undefined) {
    return { risk: 'high', warnings: [`records older than ${formatDuration(retentionMs)} expire`] };
  }
  const behind = expiry.behind.map(({ role, ageMs }) => behindText(role, ageMs, retentionMs));
  if (expiry.records === 0n) {
    return { risk: 'low', warnings: [`no record is older than ${formatDuration(retentionMs)} now`, ...behind] };
  }
  const size = expiry.bytes === null ? '' : `${formatGibi(expiry.bytes)}, `;
  const records = `${expiry.records} ${expiry.records === 1n ? 'record' : 'records'}`;
  const warning = `expires about ${size}${records} older than ${formatDuration(retentionMs)}`;
  const unread = expiry.unread.map(({ role, records: count }) => `role ${role} has not read ${count} of them`);
  return unread.length === 0
    ? { risk: 'low', warnings: [`${warning}; every role has read them`, ...behind] }
    : { risk: 'high', warnings: [`${warning}; ${unread.join(', ')}`, ...behind] };
}

function behindText(role: string, ageMs: number, retentionMs: number): string {
  return `role ${role} is ${formatDuration(ageMs)} behind, loses nothing before ${formatDuration(Math.max(0, retentionMs - ageMs))}`;
}

function sizeRisk(limit: number, bytes: TopicEvidence['bytes']): Risk {
  const said = 'partitions larger than that lose their oldest records';
  if (bytes === undefined) {
    return { risk: 'high', warnings: [said] };
  }
  const over = [...bytes.values()].map((size) => size - BigInt(limit)).filter((excess) => excess > 0n);
  const total = over.reduce((sum, excess) => sum + excess, 0n);
  return over.length === 0
    ? { risk: 'low', warnings: ['no partition is larger than that now'] }
    : { risk: 'high', warnings: [`${said}: about ${formatGibi(total)} of ${over.length} partitions`] };
}

/** What more partitions do to keys. Effects follow per key, so a role's topic is told louder. */
export function partitionRisk(spec: TopicSpec, counts: { from: number; to: number }, evidence?: TopicEvidence): Risk {
  const changes = 'key → partition mapping changes for new records';
  const sample = evidence?.keys;
  if (sample === undefined) {
    return spec.keyed
      ? { risk: 'high', warnings: [`keyed topic: ${changes}`] }
      : { risk: 'low', warnings: [`if its records have keys: ${changes}`] };
  }
  const moves = keyMoves(sample, counts, partitionOfKey);
  if (sample.records > 0 && sample.keyed === 0) {
    return { risk: 'low', warnings: [`${keyMovesText(moves)}: no order to lose`] };
  }
  const said = `${spec.keyed || sample.keyed > 0 ? 'keyed topic' : 'if its records have keys'}: ${changes} (${keyMovesText(moves)})`;
  return { risk: spec.keyed || sample.keyed > 0 ? 'high' : 'low', warnings: [said] };
}

/** `41 GiB`, `3.2 MiB`: what disks and segments are counted in. */
export function formatGibi(bytes: bigint): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor((bytes.toString(2).length - 1) / 10)));
  const value = Number(bytes) / 1024 ** power;
  return `${power === 0 || value >= 99.95 ? Math.round(value) : Number(value.toFixed(1))} ${units[power] ?? 'B'}`;
}

import { splitHeaders, withoutRedrive } from '../records/dead-letter.ts';
import type { RecordHeader, SourceRecord, TopicPartition } from '../ports.ts';

/** A record's place in a topic. */
export interface Place extends TopicPartition {
  readonly offset: bigint;
}

/** A dead letter as it lies in its topic, read back: records/dead-letter.ts says how it is written. */
export interface DeadLetter {
  /** Where the record failed: the letter's identity. */
  readonly source: Place;
  /** Kafka's timestamp of the record; tells records of one place apart when the topic was made again. */
  readonly sourceTimestampMs: number | null;
  /** Where the letter lies. */
  readonly lies: Place;
  /** When it was written. */
  readonly atMs: number;
  readonly firstFailedAt: string | null;
  readonly role: string | null;
  readonly reason: string;
  readonly sqlstate: string | null;
  readonly message: string;
  readonly stage: 'decode' | 'sink' | null;
  readonly attempts: number;
  readonly redrives: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The record's own, without those that a dead letter adds. */
  readonly headers: readonly RecordHeader[];
  /** Bytes of the value that did not fit into the dead-letter topic and stayed where it came from; null: it is here. */
  readonly omittedBytes: number | null;
  /** The letter stands for records from its place up to this offset, whose batch nobody can decode. */
  readonly undecodableUpTo: bigint | null;
}

/** Says of a dead letter that it was redriven; lies behind it, in the same partition. */
export interface RedriveMarker {
  readonly lies: Place;
  readonly identity: string;
}

export type DeadLetterRecord =
  | { readonly kind: 'letter'; readonly letter: DeadLetter }
  | { readonly kind: 'marker'; readonly marker: RedriveMarker }
  /** Somebody else's record. */
  | { readonly kind: 'foreign' };

const connectPrefix = '__connect.errors.';
export const markerHeader = 'kpipe.redriven';
const connectorPrefix = 'kpipe-';
const stages: Readonly<Record<string, DeadLetter['stage']>> = { VALUE_CONVERTER: 'decode', TASK_PUT: 'sink' };

/** What a record of a dead-letter topic is. Its headers may hold anything: what cannot be read is left out, never fatal. */
export function readDeadLetter(at: TopicPartition, record: SourceRecord): DeadLetterRecord {
  const lies = { topic: at.topic, partition: at.partition, offset: record.offset };
  const { own, added } = splitHeaders(record.headers);
  const header = (name: string): string | null => added.findLast(([each]) => each === name)?.[1]?.toString() ?? null;
  const source = placeOf(
    header(`${connectPrefix}topic`),
    header(`${connectPrefix}partition`),
    header(`${connectPrefix}offset`),
  );
  if (source === null) {
    const identity = own.findLast(([name]) => name === markerHeader)?.[1]?.toString() ?? null;
    return identity === null ? { kind: 'foreign' } : { kind: 'marker', marker: { lies, identity } };
  }
  const connector = header(`${connectPrefix}connector.name`);
  const reason = header('kpipe.reason') ?? header(`${connectPrefix}exception.class.name`) ?? 'unknown';
  return {
    kind: 'letter',
    letter: {
      source,
      lies,
      sourceTimestampMs: wholeNumber(header('kpipe.timestamp')),
      atMs: record.timestampMs,
      firstFailedAt: header('kpipe.first-failed-at'),
      role: connector?.startsWith(connectorPrefix) === true ? connector.slice(connectorPrefix.length) : null,
      reason,
      sqlstate: header('kpipe.sqlstate'),
      message: header(`${connectPrefix}exception.message`) ?? '',
      stage: stages[header(`${connectPrefix}stage`) ?? ''] ?? null,
      attempts: wholeNumber(header('kpipe.attempts')) ?? 1,
      redrives: wholeNumber(header('kpipe.redrives')) ?? 0,
      key: record.key,
      value: record.value,
      headers: withoutRedrive(own).own,
      omittedBytes: record.value === null ? wholeNumber(header('kpipe.value-omitted')) : null,
      undecodableUpTo: reason === 'null_value' ? null : undecodableUpTo(record, own),
    },
  };
}

/** A range of a batch that cannot be read has nothing but this header; a producer's record like that is a `null_value`. */
function undecodableUpTo({ key, value }: SourceRecord, own: readonly RecordHeader[]): bigint | null {
  const [header] = own;
  const standsForRange = key === null && value === null && own.length === 1 && header?.[0] === 'kpipe.last-offset';
  return standsForRange ? wholeOffset(header[1]?.toString() ?? null) : null;
}

/** `events/3@1042`, as operators write it. */
export function placeText({ topic, partition, offset }: Place): string {
  return `${topic}/${partition}@${offset}`;
}

/** The place that a text such as `events/3@1042` or `events-3@1042` names; null when it names none. */
export function parsePlace(text: string): Place | null {
  const match = /^([\w.-]{1,249})[/-](\d{1,9})@(\d{1,19})$/.exec(text);
  return match === null ? null : placeOf(match[1] ?? null, match[2] ?? null, match[3] ?? null);
}

/**
 * One record's letters have one identity, however often they were written: after a crash a role writes the last ones
 * again, and after a replay all of them.
 */
export function identityOf({ source, sourceTimestampMs }: Pick<DeadLetter, 'source' | 'sourceTimestampMs'>): string {
  return `${placeText(source)}#${sourceTimestampMs ?? '-'}`;
}

function placeOf(topic: string | null, partition: string | null, offset: string | null): Place | null {
  const number = wholeNumber(partition);
  const at = wholeOffset(offset);
  return topic === null || topic === '' || number === null || at === null
    ? null
    : { topic, partition: number, offset: at };
}

function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function wholeOffset(text: string | null): bigint | null {
  return text !== null && /^\d{1,19}$/.test(text) ? BigInt(text) : null;
}

import type { OutgoingRecord, RecordHeader, SourceRecord, TopicPartition } from '../ports.ts';

/** What a dead letter says of its record. Its identity is the origin: topic, partition and offset. */
export interface DeadLetterCause {
  readonly reason: string;
  readonly sqlstate?: string;
  /** For the operator; without content of the record. */
  readonly message: string;
  /** Where it failed. */
  readonly stage: 'decode' | 'sink';
  readonly attempts: number;
  readonly failedAtMs: number;
}

const connectPrefix = '__connect.errors.';

/**
 * The record as it goes into the dead letter topic: key, value and headers byte for byte, with the header names that
 * Kafka Connect uses and kpipe's own after them. Older headers of the same names, from a record that was redriven and
 * failed again, are replaced; `kpipe.redrives` and the first failure's time stay. The topic's retention goes by the time
 * of the dead letter, not of the record, which may be old already: that one is in `kpipe.timestamp`.
 */
export function deadLetterRecord(
  record: SourceRecord,
  origin: TopicPartition,
  role: string,
  cause: DeadLetterCause,
): OutgoingRecord {
  const kept = record.headers.filter(([name]) => !isOurHeader(name));
  const redrives = record.headers.find(([name]) => name === 'kpipe.redrives')?.[1]?.toString() ?? '0';
  const firstFailedAt =
    record.headers.find(([name]) => name === 'kpipe.first-failed-at')?.[1]?.toString() ??
    new Date(cause.failedAtMs).toISOString();
  const text = (name: string, value: string): RecordHeader => [name, Buffer.from(value)];
  return {
    key: record.key,
    value: record.value,
    headers: [
      ...kept,
      text(`${connectPrefix}topic`, origin.topic),
      text(`${connectPrefix}partition`, String(origin.partition)),
      text(`${connectPrefix}offset`, record.offset.toString()),
      text(`${connectPrefix}connector.name`, `kpipe-${role}`),
      text(`${connectPrefix}stage`, cause.stage === 'decode' ? 'VALUE_CONVERTER' : 'TASK_PUT'),
      text(`${connectPrefix}exception.class.name`, cause.reason),
      text(`${connectPrefix}exception.message`, cause.message),
      text('kpipe.reason', cause.reason),
      ...(cause.sqlstate === undefined ? [] : [text('kpipe.sqlstate', cause.sqlstate)]),
      text('kpipe.attempts', String(cause.attempts)),
      text('kpipe.first-failed-at', firstFailedAt),
      text('kpipe.timestamp', String(record.timestampMs)),
      text('kpipe.redrives', redrives),
    ],
  };
}

const ourNames = new Set([
  'kpipe.reason',
  'kpipe.sqlstate',
  'kpipe.attempts',
  'kpipe.first-failed-at',
  'kpipe.timestamp',
  'kpipe.redrives',
]);

/** Whether a dead letter's header is one that it was given as such, rather than the record's own. */
export function isOurHeader(name: string): boolean {
  return name.startsWith(connectPrefix) || ourNames.has(name);
}

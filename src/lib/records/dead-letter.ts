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
/** What a dead letter adds begins with it. */
const firstAdded = `${connectPrefix}topic`;

/**
 * The record as it goes into the dead letter topic: key, value and headers byte for byte, also headers of the names that are
 * used here (a record may come from somebody else's dead letters), and behind them Kafka Connect's and kpipe's own. Only what
 * a redrive put behind a record's headers is taken off again; its count and the first failure's time go on. The topic's
 * retention goes by the time of the dead letter, not of the record, which may be old already: that one is in
 * `kpipe.timestamp`.
 */
export function deadLetterRecord(
  record: SourceRecord,
  origin: TopicPartition,
  role: string,
  cause: DeadLetterCause,
): OutgoingRecord {
  const { own, redrives, firstFailedAt } = withoutRedrive(record.headers);
  const text = (name: string, value: string): RecordHeader => [name, Buffer.from(value)];
  return {
    key: record.key,
    value: record.value,
    headers: [
      ...own,
      text(firstAdded, origin.topic),
      text(`${connectPrefix}partition`, String(origin.partition)),
      text(`${connectPrefix}offset`, record.offset.toString()),
      text(`${connectPrefix}connector.name`, `kpipe-${role}`),
      text(`${connectPrefix}stage`, cause.stage === 'decode' ? 'VALUE_CONVERTER' : 'TASK_PUT'),
      text(`${connectPrefix}exception.class.name`, cause.reason),
      text(`${connectPrefix}exception.message`, cause.message),
      text('kpipe.reason', cause.reason),
      ...(cause.sqlstate === undefined ? [] : [text('kpipe.sqlstate', cause.sqlstate)]),
      text('kpipe.attempts', String(cause.attempts)),
      text('kpipe.first-failed-at', firstFailedAt ?? new Date(cause.failedAtMs).toISOString()),
      text('kpipe.timestamp', String(record.timestampMs)),
      text('kpipe.redrives', String(redrives)),
    ],
  };
}

/** A dead letter's headers: the record's own, and what was added behind them. All are the record's where nothing was. */
export function splitHeaders(headers: readonly RecordHeader[]): {
  readonly own: readonly RecordHeader[];
  readonly added: readonly RecordHeader[];
} {
  const at = headers.findLastIndex(([name]) => name === firstAdded);
  return at < 0 ? { own: headers, added: [] } : { own: headers.slice(0, at), added: headers.slice(at) };
}

const redrivenFrom = 'kpipe.redriven-from';

/** The headers of a redriven record: its own ones, the count, the first failure, and last of all where it was redriven from. */
export function redrivenHeaders(
  own: readonly RecordHeader[],
  { redrives, firstFailedAt, from }: { redrives: number; firstFailedAt: string | null; from: string },
): readonly RecordHeader[] {
  return [
    ...own,
    ['kpipe.redrives', Buffer.from(String(redrives))],
    ...(firstFailedAt === null ? [] : [['kpipe.first-failed-at', Buffer.from(firstFailedAt)] as const]),
    [redrivenFrom, Buffer.from(from)],
  ];
}

/** Takes off again what `redrivenHeaders` added. */
export function withoutRedrive(headers: readonly RecordHeader[]): {
  readonly own: readonly RecordHeader[];
  readonly redrives: number;
  readonly firstFailedAt: string | null;
} {
  const count = headers.findLast(([name]) => name === 'kpipe.redrives')?.[1]?.toString() ?? '';
  const redrives = /^\d{1,9}$/.test(count) ? Number(count) : 0;
  const end = headers.findLastIndex(([name]) => name === redrivenFrom);
  if (end < 0) {
    return { own: headers, redrives, firstFailedAt: null };
  }
  const failed = headers[end - 1]?.[0] === 'kpipe.first-failed-at' ? headers[end - 1] : undefined;
  const before = failed === undefined ? end : end - 1;
  const start = headers[before - 1]?.[0] === 'kpipe.redrives' ? before - 1 : before;
  const own = [...headers.slice(0, start), ...headers.slice(end + 1)];
  return { own, redrives, firstFailedAt: failed?.[1]?.toString() ?? null };
}

import type { OutgoingRecord, RecordPublisher, TopicPartition } from '../ports.ts';
import { deadLetterRecord, splitHeaders } from '../records/dead-letter.ts';
import type { DeadRecord } from './batch.ts';

/** What a broker takes by default (max.message.bytes), less room for what a dead letter adds. */
const maxRecordBytes = 900_000;
/** Encoding a header takes the driver some 10 µs, all of a request's in one go: more go out in several requests. */
const maxHeadersAtOnce = 10_000;

/**
 * Publishes dead letters, acks=all. A record that the topic could not hold becomes a pointer: its headers and the reason
 * stay, its value is left where it came from, and `kpipe.value-omitted` says how long that was.
 */
export function deadLetterOffice(publisher: RecordPublisher, topic: string, role: string, now: () => number) {
  return async (origin: TopicPartition, dead: readonly DeadRecord[]): Promise<void> => {
    for (const some of byHeaders(dead)) {
      await publisher.publish(
        topic,
        some.map(({ record, reason, message, stage, attempts, sqlstate }) =>
          fitting(
            deadLetterRecord(record, origin, role, {
              reason,
              message,
              stage,
              attempts,
              failedAtMs: now(),
              ...(sqlstate === undefined ? {} : { sqlstate }),
            }),
          ),
        ),
      );
    }
  };
}

/** In order, in parts with not too many headers together; a record that has more by itself goes alone. */
function byHeaders(dead: readonly DeadRecord[]): readonly (readonly DeadRecord[])[] {
  const parts: DeadRecord[][] = [];
  let headers = Infinity;
  for (const each of dead) {
    headers += each.record.headers.length;
    if (headers > maxHeadersAtOnce) {
      parts.push([]);
      headers = each.record.headers.length;
    }
    parts.at(-1)?.push(each);
  }
  return parts;
}

function fitting(record: OutgoingRecord): OutgoingRecord {
  const headers = record.headers ?? [];
  const headerBytes = headers.reduce((sum, [name, value]) => sum + name.length * 3 + (value?.length ?? 0) + 10, 0);
  const valueBytes = record.value?.length ?? 0;
  if (valueBytes + headerBytes + (record.key?.length ?? 0) <= maxRecordBytes) {
    return record;
  }
  return {
    ...record,
    key: (record.key?.length ?? 0) > maxRecordBytes / 2 ? null : record.key,
    value: null,
    headers: [
      ...(headerBytes > maxRecordBytes / 2 ? splitHeaders(headers).added : headers),
      ['kpipe.value-omitted', Buffer.from(String(valueBytes))],
    ],
  };
}

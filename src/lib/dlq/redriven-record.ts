import { partitionOfKey } from '../kafka/partitioner.ts';
import type { AddressedRecord } from '../kafka/transactional-writer.ts';
import type { RecordHeader, SourceRecord } from '../ports.ts';
import { redrivenHeaders } from '../records/dead-letter.ts';
import { markerHeader, placeText } from './dead-letter.ts';
import type { IndexedLetter } from './letter-index.ts';
import type { RedrivePlan, RedriveTarget } from './redrive-plan.ts';

/** The record that is written again, and its content. */
export interface RedriveContent {
  readonly letter: IndexedLetter;
  /** The dead letter or, where that only points to it, the record that failed. */
  readonly record: SourceRecord;
  /** The record's own, without those that a dead letter or an earlier redrive added. */
  readonly headers: readonly RecordHeader[];
  /** Kafka's timestamp of the record that failed. */
  readonly timestampMs: number | null;
  readonly firstFailedAt: string | null;
}

/**
 * Key, value and headers as they were, in their order, with the count of redrives, the time of the first failure and
 * where it comes from behind them. It goes to the partition where it failed; into another topic by its key. Its
 * timestamp stays, unless the topic's retention would soon take it: then it is now.
 */
export function redrivenRecord(content: RedriveContent, plan: RedrivePlan, nowMs: number): AddressedRecord {
  const { letter, record, headers, timestampMs, firstFailedAt } = content;
  const topic = plan.to ?? letter.source.topic;
  const target = plan.targets.find((each) => each.topic === topic);
  return {
    topic,
    partition: partitionFor(letter, record.key, topic, target),
    key: record.key,
    value: record.value,
    headers: redrivenHeaders(headers, {
      redrives: letter.redrives + 1,
      firstFailedAt,
      from: placeText(letter.source),
    }),
    ...timestampFor(timestampMs, target, nowMs),
  };
}

/** What says, behind every copy of the letter, that it was redriven. */
export function redriveMarkers(letter: IndexedLetter): readonly AddressedRecord[] {
  return [...letter.partitions].map((partition) => ({
    topic: letter.lies.topic,
    partition,
    key: null,
    value: null,
    headers: [[markerHeader, Buffer.from(letter.identity)]],
  }));
}

function partitionFor(
  { source }: IndexedLetter,
  key: Buffer | null,
  topic: string,
  target: RedriveTarget | undefined,
): number {
  const count = target?.partitions ?? 1;
  if (topic === source.topic && source.partition < count) {
    return source.partition;
  }
  return key === null ? source.partition % count : partitionOfKey(key, count);
}

function timestampFor(
  timestampMs: number | null,
  target: RedriveTarget | undefined,
  nowMs: number,
): { readonly timestampMs?: number } {
  const retentionMs = target?.retentionMs ?? null;
  // A record that is as old as its topic's retention could go before it is read.
  const isKept = timestampMs !== null && (retentionMs === null || nowMs - timestampMs < retentionMs / 2);
  return isKept ? { timestampMs } : {};
}

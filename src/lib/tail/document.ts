import type { SourceRecord, TopicPartition } from '../ports.ts';
import { shownBytes, shownHeaders, type ShownBytes, type ShownHeader } from '../records/shown-bytes.ts';
import type { TailCounts } from './tail.ts';
import { timeText } from './record-format.ts';

/** A record as `kpipe tail -o ndjson` says it, one a line. */
export interface TailRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
  readonly timestamp: string;
  readonly timestampMs: number;
  readonly key: ShownBytes;
  /** The text as it is, so that no number changes. */
  readonly value: ShownBytes;
  readonly headers: readonly ShownHeader[];
}

/** What `kpipe tail --json` prints when it has ended. */
export interface TailReport extends TailCounts {
  readonly records: readonly TailRecord[];
  /** The signal ended it. */
  readonly interrupted: boolean;
}

export function tailRecord({ topic, partition }: TopicPartition, record: SourceRecord): TailRecord {
  const { offset, timestampMs, key, value, headers } = record;
  return {
    topic,
    partition,
    offset,
    timestamp: timeText(timestampMs),
    timestampMs,
    key: shownBytes(key),
    value: shownBytes(value),
    headers: shownHeaders(headers),
  };
}

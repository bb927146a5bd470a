import type { SourceRecord, TopicPartition, UnreadableRange } from '../ports.ts';

/** What was read of one partition, in its order. */
export interface RangeBatch extends TopicPartition {
  readonly records: readonly SourceRecord[];
  /** Up to here it has been read: control records, aborted ones and gaps included. */
  readonly nextPosition: bigint;
  /** Offsets, both inclusive, that went from the log before they were read. */
  readonly lost?: { readonly from: bigint; readonly to: bigint };
  readonly unreadable?: UnreadableRange;
}

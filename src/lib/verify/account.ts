import type { OffsetRange } from './offset-ranges.ts';
import { countOffsets, rangeText } from './offset-ranges.ts';

/**
 * What `kpipe verify` holds against each other, per partition. The role's counters say what became of the offsets of a
 * *stretch* (from where it began to its position; a replay ends one and begins the next):
 *
 *   next - first = stored + duplicates + dead letters + skipped + gaps
 *
 * and of these two leave something to be counted: stored (and re-read) records have rows, dead ones a dead letter.
 */
export interface Stretch {
  readonly partition: number;
  readonly firstOffset: bigint;
  readonly nextOffset: bigint;
  readonly stored: number;
  readonly duplicates: number;
  /** Of the duplicates, those whose row was there from this very record. */
  readonly rereads: number;
  readonly deadLetters: number;
  readonly skipped: number;
  readonly gaps: number;
  /** The replay that ended it; null: it is the running one. */
  readonly endedBy: string | null;
}

/** What was counted, not told. */
export interface StretchCounts {
  readonly stretch: Stretch;
  /** Records of its offsets that have a row. */
  readonly rows: number;
  /** Rows that are there once too often. */
  readonly repeatedRows: number;
  /** Records of its offsets that are in the dead letter topic. */
  readonly buried: number;
}

/** What comparing offset by offset with Kafka found of one stretch. */
export interface Comparison {
  /** In Kafka, valid, and without a row. */
  readonly missingRows: readonly OffsetRange[];
  /** In Kafka, invalid, and without a dead letter. */
  readonly missingLetters: readonly OffsetRange[];
  /** Rows that say something else than the record. */
  readonly changed: readonly ChangedRecord[];
  /** Without a row since their daily partition was dropped. */
  readonly expired: number;
  /** Without row and dead letter, and no longer in Kafka. */
  readonly unread: readonly OffsetRange[];
  /** How many records were held against their rows. */
  readonly compared: number;
}

export interface ChangedRecord {
  readonly offset: bigint;
  readonly columns: readonly string[];
}

export type FindingKind =
  | 'position-unaccounted'
  | 'rows-missing'
  | 'rows-uncounted'
  | 'rows-repeated'
  | 'rows-beyond-position'
  | 'dead-letters-missing'
  | 'no-effect'
  | 'content-changed';

/** Something that does not balance. */
export interface Finding {
  readonly kind: FindingKind;
  readonly partition: number;
  readonly records: number;
  /** `5` or `7-9`: which, as far as they were found; at most 20. */
  readonly offsets: readonly string[];
  readonly text: string;
}

/** Ranges of offsets that one finding names. */
export const namedAtMost = 20;

export interface JudgeOptions {
  /** Records of the dead letter topic that were deleted, by retention or by hand: each may have been one of ours. */
  readonly lettersDeleted: number;
  /** Lines may have gone with their day. */
  readonly rowsExpire: boolean;
}

/** What does not add up by the counts alone. */
export function imbalances(
  { stretch, rows, repeatedRows, buried }: StretchCounts,
  { lettersDeleted }: JudgeOptions,
): { readonly position: number; readonly rows: number; readonly repeated: number; readonly letters: number } {
  const { stored, duplicates, rereads, deadLetters, skipped, gaps } = stretch;
  const told = stored + duplicates + deadLetters + skipped + gaps;
  return {
    position: Number(stretch.nextOffset - stretch.firstOffset) - told,
    rows: stored + rereads - rows,
    repeated: repeatedRows,
    // More than was counted: written, then killed before the position moved, and another outcome after that.
    letters: Math.max(0, deadLetters - buried - lettersDeleted),
  };
}

export function isBalanced(counts: StretchCounts, options: JudgeOptions): boolean {
  const { position, rows, repeated, letters } = imbalances(counts, options);
  return position === 0 && rows === 0 && repeated === 0 && letters === 0;
}

/** Everything that is wrong with a stretch; with a comparison, which offsets. */
export function findingsOf(
  counts: StretchCounts,
  comparison: Comparison | null,
  repeatedAt: readonly OffsetRange[],
  options: JudgeOptions,
): readonly Finding[] {
  const { partition, nextOffset } = counts.stretch;
  const wrong = imbalances(counts, options);
  const missing = comparison?.missingRows ?? [];
  const unburied = comparison?.missingLetters ?? [];
  const unread = comparison?.unread ?? [];
  const expired = (comparison?.expired ?? 0) + (options.rowsExpire ? countOffsets(unread) : 0);
  const rowsMissing = Math.max(wrong.rows - expired, 0);
  const position = Math.abs(wrong.position);
  // What is found without effect belongs to what the counts miss; only the rest is news.
  const counted = rowsMissing + wrong.letters + Math.max(wrong.position, 0) + options.lettersDeleted;
  const withoutEffect = Math.max(countOffsets(missing) + countOffsets(unburied) - counted, 0);
  const finding = (kind: FindingKind, records: number, offsets: readonly OffsetRange[], text: string): Finding[] =>
    records === 0 ? [] : [{ kind, partition, records, offsets: offsets.slice(0, namedAtMost).map(rangeText), text }];
  return [
    ...finding(
      'position-unaccounted',
      position,
      [...missing, ...unburied],
      wrong.position > 0
        ? `the position ${nextOffset} is ${position} beyond what the counters account for`
        : `the counters account for ${position} more than the position ${nextOffset} says`,
    ),
    ...finding(
      'rows-missing',
      rowsMissing,
      [...missing, ...(options.rowsExpire ? [] : unread)],
      'counted as stored, and without a row',
    ),
    ...finding('rows-uncounted', Math.max(-wrong.rows, 0), [], 'rows that the role did not count as stored'),
    ...finding('rows-repeated', wrong.repeated, repeatedAt, 'rows that are there more than once'),
    ...finding(
      'dead-letters-missing',
      wrong.letters,
      // Of a record that only PostgreSQL refused, decoding does not tell.
      unburied.length > 0 ? unburied : missing,
      'counted as dead, and not in the dead letter topic',
    ),
    ...finding('no-effect', withoutEffect, [...missing, ...unburied], 'neither a row nor a dead letter'),
    ...finding(
      'content-changed',
      comparison?.changed.length ?? 0,
      (comparison?.changed ?? []).map(({ offset }) => ({ from: offset, to: offset + 1n })),
      `the row differs from the record in Kafka: ${columnsOf(comparison?.changed ?? [])}`,
    ),
  ];
}

function columnsOf(changed: readonly ChangedRecord[]): string {
  return [...new Set(changed.flatMap(({ columns }) => columns))].toSorted().join(', ');
}

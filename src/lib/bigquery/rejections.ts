import type { Rejection } from '../runtime/sink.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import { maxTimestampMicros, minTimestampMicros } from './columns.ts';
import type { Cell, TypedColumns } from './typed-columns.ts';

export type EncodedRows =
  | { readonly kind: 'encoded'; readonly encoded: readonly Buffer[] }
  | { readonly kind: 'rejected'; readonly rejections: readonly Rejection[] };

/**
 * All rows with their declared columns, or those that no table takes: found here, because the API answers it late, or (a
 * stand-in) not at all.
 * @param fits whether a request has room for an encoded row; a load job has for more than a record can hold
 */
export function encodeRows(
  rows: readonly AnalyticsRow[],
  typed: TypedColumns,
  encode: (row: AnalyticsRow, cells: readonly Cell[]) => Buffer,
  fits: (encoded: Buffer) => boolean,
): EncodedRows {
  const encoded: Buffer[] = [];
  const rejections: Rejection[] = [];
  for (const row of rows) {
    const outcome = encodeRow(row, typed, encode, fits);
    if (Buffer.isBuffer(outcome)) {
      encoded.push(outcome);
    } else {
      rejections.push(outcome);
    }
  }
  return rejections.length === 0 ? { kind: 'encoded', encoded } : { kind: 'rejected', rejections };
}

function encodeRow(
  row: AnalyticsRow,
  typed: TypedColumns,
  encode: (row: AnalyticsRow, cells: readonly Cell[]) => Buffer,
  fits: (encoded: Buffer) => boolean,
): Buffer | Rejection {
  const { offset, timeMicros } = row;
  if (timeMicros < minTimestampMicros || timeMicros > maxTimestampMicros) {
    return { offset, reason: 'bq_schema', message: 'time is outside the years 1 to 9999, which a TIMESTAMP can hold' };
  }
  const outcome = typed.cellsOf(row);
  if (outcome.kind === 'unfit') {
    return { offset, reason: 'bq_schema', message: outcome.message };
  }
  const encoded = encode(row, outcome.cells);
  if (fits(encoded)) {
    return encoded;
  }
  return {
    offset,
    reason: 'too_large',
    message: `a row of ${encoded.length} bytes; BigQuery takes 10 MB in one request`,
  };
}

/** Dead letters for the rows that BigQuery refused, by their number in the batch. */
export function schemaRejections(
  rows: readonly AnalyticsRow[],
  refused: readonly { readonly index: number; readonly message: string }[],
): readonly Rejection[] {
  return refused.flatMap(({ index, message }) => {
    const row = rows[index];
    return row === undefined ? [] : [{ offset: row.offset, reason: 'bq_schema', message }];
  });
}

import type { Rejection } from '../runtime/sink.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import { maxTimestampMicros, minTimestampMicros } from './columns.ts';
import { fitsRequest } from './requests.ts';

/** What no BigQuery table takes is found here: the API answers it late, or (a stand-in) not at all. */
export function rejectionOf({ offset, timeMicros }: AnalyticsRow, encoded: Buffer | undefined): Rejection | undefined {
  if (encoded !== undefined && !fitsRequest(encoded)) {
    return {
      offset,
      reason: 'too_large',
      message: `a row of ${encoded.length} bytes; BigQuery takes 10 MB in one request`,
    };
  }
  return timeRejection(offset, timeMicros);
}

/** The same for a load job, which takes rows of up to 100 MB: more than a record can have. */
export function lineRejectionOf({ offset, timeMicros }: AnalyticsRow): Rejection | undefined {
  return timeRejection(offset, timeMicros);
}

function timeRejection(offset: bigint, timeMicros: bigint): Rejection | undefined {
  if (timeMicros < minTimestampMicros || timeMicros > maxTimestampMicros) {
    return { offset, reason: 'bq_schema', message: 'time is outside the years 1 to 9999, which a TIMESTAMP can hold' };
  }
  return undefined;
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

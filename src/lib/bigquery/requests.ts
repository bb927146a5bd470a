/** Rows [start, end) of a batch, sent as one AppendRows request. */
export interface RequestRange {
  readonly start: number;
  readonly end: number;
}

/** AppendRows takes 10 MB; what is left of them is for the request's own fields and the row descriptor. */
export const maxRequestBytes = 10_000_000 - 64_000;
/** A request is sent once it has this much: below 1 MB the throughput of the Storage Write API suffers. */
export const fullRequestBytes = 1_000_000;
/** A row's tag and length inside the request. */
const rowOverheadBytes = 6;

/** Whether an encoded row can be sent at all. */
export function fitsRequest(row: Buffer): boolean {
  return row.length + rowOverheadBytes <= maxRequestBytes;
}

/** Splits rows that fit a request each into requests, in order, without a gap, none above `maxRequestBytes`. */
export function splitIntoRequests(rows: readonly Buffer[]): readonly RequestRange[] {
  const ranges: RequestRange[] = [];
  let start = 0;
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    const size = row.length + rowOverheadBytes;
    if (index > start && (bytes >= fullRequestBytes || bytes + size > maxRequestBytes)) {
      ranges.push({ start, end: index });
      start = index;
      bytes = 0;
    }
    bytes += size;
  }
  if (rows.length > start) {
    ranges.push({ start, end: rows.length });
  }
  return ranges;
}

/**
 * Finds the rows that are refused when refused batches name none, by halving: k of n rows cost about 2·k·log2(n) attempts.
 * Gives up when more than `limit` are found, because then it is not the rows that are wrong.
 * @param accepts whether a batch of these rows is taken; must have no effect
 * @returns the numbers of the refused rows, or null above the limit
 */
export async function findRefused<Row>(
  rows: readonly Row[],
  accepts: (rows: readonly Row[]) => Promise<boolean>,
  limit: number,
): Promise<readonly number[] | null> {
  const refused: number[] = [];
  const suspects: RequestRange[] = [{ start: 0, end: rows.length }];
  for (let range = suspects.pop(); range !== undefined; range = suspects.pop()) {
    const { start, end } = range;
    if (start === end || (await accepts(rows.slice(start, end)))) {
      continue;
    }
    if (end - start === 1) {
      refused.push(start);
      if (refused.length > limit) {
        return null;
      }
      continue;
    }
    const middle = start + Math.floor((end - start) / 2);
    suspects.push({ start: middle, end }, { start, end: middle });
  }
  return refused;
}

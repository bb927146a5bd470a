/**
 * Lag as time, when the record at the position cannot be read: interpolated over a table of (end offset, time) points
 * seen before. The position's time is when the log's end stood there.
 */
export interface EndPoint {
  readonly offset: bigint;
  readonly atMs: number;
}

const points = 60;

/**
 * Adds a point. A flat run (no records came) is kept by its two ends: the first says when the offset was reached, the
 * last how long it lasted. An end below the one before is a log that began anew: the table begins anew too.
 */
export function addEndPoint(table: readonly EndPoint[], point: EndPoint): readonly EndPoint[] {
  const last = table.at(-1);
  if (last !== undefined && point.offset < last.offset) {
    return [point];
  }
  const flat = last !== undefined && last.offset === point.offset && table.at(-2)?.offset === point.offset;
  return [...(flat ? table.slice(0, -1) : table), point].slice(-points);
}

/**
 * When the log's end passed the offset, in ms since the epoch; null when the table cannot tell: fewer than two points,
 * no growth in it, or an offset outside of it (extrapolation is where the "3+ years" of other tools come from).
 */
export function timeOfOffset(table: readonly EndPoint[], offset: bigint): number | null {
  const first = table[0];
  const last = table.at(-1);
  if (first === undefined || last === undefined || first.offset === last.offset) {
    return null;
  }
  if (offset < first.offset || offset > last.offset) {
    return null;
  }
  // The last point at the offset: the record there came after the flat run, not at its beginning.
  const below = table.findLast((point) => point.offset <= offset);
  const above = table.find((point) => point.offset > offset);
  if (below === undefined || above === undefined) {
    return last.atMs;
  }
  const share = Number(offset - below.offset) / Number(above.offset - below.offset);
  return below.atMs + share * (above.atMs - below.atMs);
}

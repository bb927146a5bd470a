/** Offsets from the first to before the last. */
export interface OffsetRange {
  readonly from: bigint;
  readonly to: bigint;
}

export function countOffsets(ranges: readonly OffsetRange[]): number {
  return ranges.reduce((sum, { from, to }) => sum + Number(to - from), 0);
}

/** Ranges, ascending and apart, out of ranges in any order that may overlap. */
export function mergedRanges(ranges: Iterable<OffsetRange>): readonly OffsetRange[] {
  const merged: OffsetRange[] = [];
  for (const range of [...ranges].toSorted((left, right) =>
    left.from < right.from ? -1 : Number(left.from > right.from),
  )) {
    const last = merged.at(-1);
    if (last !== undefined && range.from <= last.to) {
      merged[merged.length - 1] = { from: last.from, to: range.to < last.to ? last.to : range.to };
    } else {
      merged.push(range);
    }
  }
  return merged;
}

/** The same of single offsets. */
export function rangesOf(offsets: Iterable<bigint>): readonly OffsetRange[] {
  return mergedRanges(Array.from(offsets, (offset) => ({ from: offset, to: offset + 1n })));
}

/** What of the ranges the others do not cover. Both ascend and lie apart. */
export function withoutRanges(ranges: readonly OffsetRange[], others: readonly OffsetRange[]): readonly OffsetRange[] {
  let next = 0;
  return ranges.flatMap((range) => {
    const left: OffsetRange[] = [];
    let { from } = range;
    while ((others[next]?.to ?? range.to) <= from && next < others.length) {
      next += 1;
    }
    for (let index = next; from < range.to; index += 1) {
      const cut = others[index];
      if (cut === undefined || cut.from >= range.to) {
        left.push({ from, to: range.to });
        break;
      }
      if (cut.from > from) {
        left.push({ from, to: cut.from });
      }
      from = cut.to;
    }
    return left;
  });
}

/** Looks offsets up in ascending ranges. */
export function rangeLookup(ranges: readonly OffsetRange[]): (offset: bigint) => boolean {
  return (offset) => {
    let [low, high] = [0, ranges.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const range = ranges[middle];
      if (range !== undefined && range.to <= offset) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    const found = ranges[low];
    return found !== undefined && found.from <= offset;
  };
}

/** `5`, `7-9`; both ends included. */
export function rangeText({ from, to }: OffsetRange): string {
  return to - from === 1n ? String(from) : `${from}-${to - 1n}`;
}

import { formatLsn, parseSegmentName, segmentAt, segmentName, segmentStart, type WalSegment } from './lsn.ts';

/** A segment as it lies in the archive: finished, or the one that is still being received. */
export interface ArchivedSegment {
  readonly name: string;
  readonly complete: boolean;
}

export type ArchiveRange =
  /** Every segment from the first wanted one on, without a hole. */
  | { readonly kind: 'continuous'; readonly segments: readonly ArchivedSegment[]; readonly endLsn: bigint }
  | { readonly kind: 'gap'; readonly missing: readonly string[]; readonly detail: string };

export interface RangeQuestion {
  readonly timeline: number;
  readonly segmentBytes: number;
  readonly startLsn: bigint;
  /** The range must reach at least here. */
  readonly neededLsn: bigint;
}

/**
 * Which segments lead from `startLsn` to the archive's tail on one timeline. A hole before a later segment is a gap also
 * behind `neededLsn`: who restores to a later time falls into it.
 */
export function archiveRange(archived: readonly ArchivedSegment[], question: RangeQuestion): ArchiveRange {
  const { timeline, segmentBytes, startLsn, neededLsn } = question;
  const found = new Map<bigint, ArchivedSegment>();
  for (const segment of archived) {
    const place = parseSegmentName(segment.name, segmentBytes);
    if (place?.timeline === timeline && (segment.complete || !found.has(place.number))) {
      found.set(place.number, segment);
    }
  }
  const first = segmentAt(timeline, startLsn, segmentBytes).number;
  const needed = (neededLsn - 1n) / BigInt(segmentBytes);
  const present = [...found.keys()].filter((number) => number >= first);
  const last = present.reduce((highest, number) => (number > highest ? number : highest), first - 1n);
  const end = last > needed ? last : needed;
  const segments: ArchivedSegment[] = [];
  const missing: string[] = [];
  for (let number = first; number <= end; number += 1n) {
    const segment = found.get(number);
    if (segment === undefined || (!segment.complete && number < end)) {
      missing.push(segmentName({ timeline, number }, segmentBytes));
    } else {
      segments.push(segment);
    }
  }
  if (missing.length > 0) {
    return { kind: 'gap', missing, detail: describeGap(missing, { timeline, number: last }, question) };
  }
  return { kind: 'continuous', segments, endLsn: segmentStart({ timeline, number: end + 1n }, segmentBytes) };
}

function describeGap(missing: readonly string[], last: WalSegment, question: RangeQuestion): string {
  const names = `${missing.slice(0, 3).join(', ')}${missing.length > 3 ? ` and ${missing.length - 3} more` : ''}`;
  const held = segmentName(last, question.segmentBytes);
  return (missing[0] ?? '') > held
    ? `the archive ends with ${held}; ${names} and with it the way to ${formatLsn(question.neededLsn)} is missing`
    : `missing in the middle: ${names}; the archive goes on to ${held}`;
}

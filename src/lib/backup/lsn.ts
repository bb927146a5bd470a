/**
 * Positions in the write-ahead log. An LSN is a byte position (`16/B374D848`), a bigint inside. A segment is a file of
 * `segmentBytes`; its name is the timeline and the segment's number in two halves, 8 hexadecimal digits each.
 */
export interface WalSegment {
  readonly timeline: number;
  /** Counts segments from LSN 0. */
  readonly number: bigint;
}

const hex8 = (value: bigint): string => value.toString(16).toUpperCase().padStart(8, '0');

/** `16/B374D848` → bigint; undefined when the text is no LSN. */
export function parseLsn(text: string): bigint | undefined {
  const match = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  return match === null ? undefined : (BigInt(`0x${match[1]}`) << 32n) + BigInt(`0x${match[2]}`);
}

export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

/** The segment that holds the byte at an LSN. */
export function segmentAt(timeline: number, lsn: bigint, segmentBytes: number): WalSegment {
  return { timeline, number: lsn / BigInt(segmentBytes) };
}

/** The segment of the last byte before an LSN: the last one that is needed to replay up to it. */
export function segmentBefore(timeline: number, lsn: bigint, segmentBytes: number): WalSegment {
  return segmentAt(timeline, lsn === 0n ? 0n : lsn - 1n, segmentBytes);
}

export function segmentName({ timeline, number }: WalSegment, segmentBytes: number): string {
  const perFile = 0x100000000n / BigInt(segmentBytes);
  return hex8(BigInt(timeline)) + hex8(number / perFile) + hex8(number % perFile);
}

/** `000000010000000A000000FE` → its segment; undefined for other files. */
export function parseSegmentName(name: string, segmentBytes: number): WalSegment | undefined {
  const match = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name);
  if (match === null) {
    return undefined;
  }
  const perFile = 0x100000000n / BigInt(segmentBytes);
  const low = BigInt(`0x${match[3]}`);
  return low >= perFile
    ? undefined
    : { timeline: Number.parseInt(match[1] ?? '', 16), number: BigInt(`0x${match[2]}`) * perFile + low };
}

export function segmentStart({ number }: WalSegment, segmentBytes: number): bigint {
  return number * BigInt(segmentBytes);
}

import { KpipeError, messageOf } from '../errors.ts';
import { parseOffsetPoint, type OffsetPoint } from '../offsets/offset-spec.ts';

/** Where a replay sets positions to: what `--to` says. */
export type ReplayTarget =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  /** The first record at or after that time. */
  | { readonly kind: 'time'; readonly timestampMs: number }
  | { readonly kind: 'offset'; readonly offset: bigint }
  /** So many offsets on from the present position, or back. */
  | { readonly kind: 'shift'; readonly by: bigint }
  /** Lines of topic,partition,offset. */
  | { readonly kind: 'file'; readonly path: string }
  /** What another group has committed. */
  | { readonly kind: 'group'; readonly group: string };

const howToWrite =
  'write earliest, latest, @2026-02-14T09:30:00Z, -2h, 1200 (an offset), +100, -100, file:PATH or group:NAME';

/**
 * The grammar of `--to`: `earliest|latest|@TIME|-2h|OFFSET|+N|-N|file:PATH|group:NAME`. Times are those of
 * offset-spec.ts (without a zone they are UTC, and the plan shows the instant). `+N` and `-N` count from the position,
 * since that is what a replay moves.
 * @throws KPIPE_USAGE
 */
export function parseTarget(text: string, nowMs: number): ReplayTarget {
  if (text === 'earliest' || text === 'latest') {
    return { kind: text };
  }
  if (text.startsWith('file:') && text.length > 5) {
    return { kind: 'file', path: text.slice(5) };
  }
  if (text.startsWith('group:') && text.length > 6) {
    return { kind: 'group', group: text.slice(6) };
  }
  if (/^[+-]\d{1,19}$/.test(text)) {
    return { kind: 'shift', by: BigInt(text) };
  }
  const point = pointOf(text, nowMs);
  switch (point.kind) {
    case 'start':
      return { kind: 'earliest' };
    case 'end':
      return { kind: 'latest' };
    case 'offset':
    case 'time':
      return point;
    case 'afterStart':
    case 'beforeEnd':
      throw new KpipeError('KPIPE_USAGE', `--to: ${text} is no position`, { next: howToWrite });
  }
}

function pointOf(text: string, nowMs: number): OffsetPoint {
  try {
    return parseOffsetPoint(text, nowMs);
  } catch (error) {
    throw new KpipeError('KPIPE_USAGE', `--to: ${messageOf(error)}`, { next: howToWrite, cause: error });
  }
}

/**
 * Offsets by partition from the lines of a file, `topic,partition,offset`, as Kafka's own tool exports them. Empty lines
 * and those that begin with # don't count, lines of other topics neither.
 * @throws KPIPE_INPUT_INVALID naming the line; KPIPE_USAGE when no line is about the topic
 */
export function parseOffsetsFile(text: string, topic: string): ReadonlyMap<number, bigint> {
  const offsets = new Map<number, bigint>();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) {
      continue;
    }
    const match = /^"?([A-Za-z0-9._-]+)"?\s*,\s*(\d{1,9})\s*,\s*(\d{1,19})\s*$/.exec(line.trim());
    if (match === null) {
      throw new KpipeError('KPIPE_INPUT_INVALID', `line ${index + 1} is not topic,partition,offset`, {
        next: 'write lines such as events,0,1200',
      });
    }
    if (match[1] !== topic) {
      continue;
    }
    const partition = Number(match[2]);
    if (offsets.has(partition)) {
      throw new KpipeError('KPIPE_INPUT_INVALID', `line ${index + 1} names partition ${partition} a second time`);
    }
    offsets.set(partition, BigInt(match[3] ?? 0));
  }
  if (offsets.size === 0) {
    throw new KpipeError('KPIPE_USAGE', `the file has no line about topic ${topic}`);
  }
  return offsets;
}

import { parseDuration } from '../config/units.ts';
import { KpipeError } from '../errors.ts';
import { parseRfc3339 } from '../records/timestamp.ts';

/**
 * Places in a topic as people write them, in rpk's manner:
 *
 * ```
 * start  end  now            the first record there is, after the last one, this instant
 * 1234                       an offset
 * +3  -3                     3 offsets after the start, 3 before the end, of each partition
 * -15m  -1h30m               that long ago
 * 2022-02-14                 a day's first instant, UTC; 2022-02-14+01:00 elsewhere
 * 2022-02-14T10:30Z          an instant, with or without seconds; without a zone it is UTC
 * ```
 *
 * A range is `@FROM:TO`, read up to but without TO. There, after FROM, `+3` and `1h` count from FROM: `@1234:+10`,
 * `@2022-02-14:1h`. No FROM is the start; no TO has no end.
 */
export type OffsetPoint =
  | { readonly kind: 'start' }
  | { readonly kind: 'end' }
  | { readonly kind: 'offset'; readonly offset: bigint }
  | { readonly kind: 'afterStart'; readonly count: bigint }
  | { readonly kind: 'beforeEnd'; readonly count: bigint }
  /** The first record at or after it. */
  | { readonly kind: 'time'; readonly timestampMs: number };

/** Only as a range's end: so many offsets after its beginning. */
export type OffsetRangeEnd = OffsetPoint | { readonly kind: 'afterFrom'; readonly count: bigint };

export interface OffsetRange {
  readonly from: OffsetPoint;
  /** null: without an end. */
  readonly to: OffsetRangeEnd | null;
}

const examples = 'write @-15m:end, @-48h:-24h, @2022-02-14:1h, @2022-02-14T10:30Z, @1234:+10, @-3, @start or @end';

/** One place, `-15m` or `@-15m`. @throws KPIPE_USAGE */
export function parseOffsetPoint(text: string, nowMs: number): OffsetPoint {
  const token = tokenOf(text.replace(/^@/, ''));
  if (token === undefined || token.rest !== '') {
    throw notAPlace(text);
  }
  switch (token.kind) {
    case 'ahead':
      throw new KpipeError('KPIPE_USAGE', `${text} lies ahead: there is nothing to read there yet`, {
        next: `-${token.text} is that long ago`,
      });
    case 'ago':
      return { kind: 'time', timestampMs: nowMs - token.ms };
    case 'now':
      return { kind: 'time', timestampMs: nowMs };
    default:
      return token.point;
  }
}

/** `@FROM:TO` with or without the `@`. @throws KPIPE_USAGE */
export function parseOffsetRange(text: string, nowMs: number): OffsetRange {
  const body = text.replace(/^@/, '');
  const first = body.startsWith(':') ? { rest: body, text: '' } : tokenOf(body);
  if (first === undefined || body === '') {
    throw notAPlace(text);
  }
  const from: OffsetPoint = first.text === '' ? { kind: 'start' } : parseOffsetPoint(first.text, nowMs);
  const end = first.rest.slice(1);
  if (end === '') {
    return { from, to: null };
  }
  const token = tokenOf(end);
  if (token === undefined || token.rest !== '') {
    throw notAPlace(text);
  }
  const to = rangeEnd(token, from, nowMs);
  if (endsBeforeItBegins(from, to)) {
    throw new KpipeError('KPIPE_USAGE', `${text} ends before it begins`, { next: examples });
  }
  return { from, to };
}

/** As far as that can be told without a look at the topic. */
function endsBeforeItBegins(from: OffsetPoint, to: OffsetRangeEnd): boolean {
  switch (to.kind) {
    case 'start':
      return from.kind !== 'start';
    case 'time':
      return from.kind === 'time' && to.timestampMs < from.timestampMs;
    case 'offset':
      return from.kind === 'offset' && to.offset < from.offset;
    case 'beforeEnd':
      return from.kind === 'end' || (from.kind === 'beforeEnd' && to.count > from.count);
    case 'end':
    case 'afterStart':
    case 'afterFrom':
      return false;
  }
}

function rangeEnd(token: Token, from: OffsetPoint, nowMs: number): OffsetRangeEnd {
  switch (token.kind) {
    case 'ahead':
      if (from.kind !== 'time') {
        throw new KpipeError('KPIPE_USAGE', `${token.text} counts from a time, and the range begins at an offset`, {
          next: 'end it with an offset, +N, -N, end, or a time',
        });
      }
      return { kind: 'time', timestampMs: from.timestampMs + token.ms };
    case 'point':
      return token.point.kind === 'afterStart' ? { kind: 'afterFrom', count: token.point.count } : token.point;
    case 'ago':
    case 'now':
      return { kind: 'time', timestampMs: nowMs - (token.kind === 'ago' ? token.ms : 0) };
  }
}

type Token = { readonly text: string; readonly rest: string } & (
  | { readonly kind: 'point'; readonly point: OffsetPoint }
  | { readonly kind: 'now' }
  /** `-15m` and `15m`: what they count from depends on where they stand. */
  | { readonly kind: 'ago' | 'ahead'; readonly ms: number }
);

const shapes = {
  word: /^(start|end|now)(?=:|$)/,
  count: /^([+-]?)(\d{1,19})(?=:|$)/,
  duration: /^([+-]?)((?:\d+(?:\.\d+)?(?:ms|s|m|h|d|w))+)(?=:|$)/,
  time: /^(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(:\d{2}(?:[.,]\d{1,9})?)?)?([Zz]|[+-]\d{2}:\d{2})?$/,
} as const;

function tokenOf(text: string): Token | undefined {
  const word = shapes.word.exec(text);
  if (word !== null) {
    const kind = word[1] === 'start' ? 'start' : 'end';
    return word[1] === 'now'
      ? { ...cut(text, word), kind: 'now' }
      : { ...cut(text, word), kind: 'point', point: { kind } };
  }
  const count = shapes.count.exec(text);
  if (count !== null) {
    return { ...cut(text, count), kind: 'point', point: countedPoint(count[1] ?? '', BigInt(count[2] ?? '0')) };
  }
  const duration = shapes.duration.exec(text);
  const ms = parseDuration(duration?.[2] ?? '');
  if (duration !== null && ms !== undefined) {
    return { ...cut(text, duration), kind: duration[1] === '-' ? 'ago' : 'ahead', ms };
  }
  return timeToken(text);
}

function countedPoint(sign: string, count: bigint): OffsetPoint {
  switch (sign) {
    case '+':
      return { kind: 'afterStart', count };
    case '-':
      return { kind: 'beforeEnd', count };
    default:
      return { kind: 'offset', offset: count };
  }
}

/** Times have colons too. Every reading of the text as a time, the longest first: `T10:30:15` is one time, `T10:30:15m` one and 15 minutes. */
function timeToken(text: string): Token | undefined {
  for (let length = text.length; length > 0; length = text.lastIndexOf(':', length - 1)) {
    const match = shapes.time.exec(text.slice(0, length));
    if (match === null) {
      continue;
    }
    const [, day = '', minutes = '00:00', seconds = ':00', zone = 'Z'] = match;
    const parsed = parseRfc3339(`${day}T${minutes}${seconds.replace(',', '.')}${zone}`);
    if (typeof parsed === 'string') {
      return undefined;
    }
    const timestampMs = parsed.ms + (parsed.micros > 0 ? 1 : 0);
    return {
      text: text.slice(0, length),
      rest: text.slice(length),
      kind: 'point',
      point: { kind: 'time', timestampMs },
    };
  }
  return undefined;
}

function cut(text: string, match: RegExpExecArray): { readonly text: string; readonly rest: string } {
  return { text: match[0], rest: text.slice(match[0].length) };
}

function notAPlace(text: string): KpipeError {
  return new KpipeError('KPIPE_USAGE', `${text === '' ? '(empty)' : text} is no place in a topic`, { next: examples });
}

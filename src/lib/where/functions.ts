import { parseRfc3339 } from '../records/timestamp.ts';
import { parseNumber } from './numbers.ts';
import { isList, isMembers, isNumber, type Value } from './values.ts';

/** What a function gives back: a condition may stand where true or false is asked. */
export type ResultKind = 'condition' | 'text' | 'number';

interface CallableOf<Parameters extends readonly Value[]> {
  readonly gives: ResultKind;
  readonly parameters: number;
  /** As it is written, for error texts. */
  readonly usage: string;
  readonly call: (...parameters: Parameters) => Value;
}

export type Method = CallableOf<[receiver: Value, argument: Value]>;
export type Callable = CallableOf<[argument: Value]>;

/** Written after their subject: `type.startsWith("order.")`. What is no text has no such property: false. */
export const methods: Readonly<Record<string, Method>> = {
  startsWith: onTexts('startsWith', (text, part) => text.startsWith(part)),
  endsWith: onTexts('endsWith', (text, part) => text.endsWith(part)),
  contains: onTexts('contains', (text, part) => text.includes(part)),
  like: onTexts('like', isLike),
  lowerAscii: {
    gives: 'text',
    parameters: 0,
    usage: 'TEXT.lowerAscii()',
    call: (text) =>
      typeof text === 'string' ? text.replaceAll(/[A-Z]+/g, (capitals) => capitals.toLowerCase()) : null,
  },
};

/** Written before their argument: `size(data.items) > 3`. What they cannot answer is null. */
export const functions: Readonly<Record<string, Callable>> = {
  size: { gives: 'number', parameters: 1, usage: 'size(TEXT, LIST or OBJECT)', call: sizeOf },
  number: {
    gives: 'number',
    parameters: 1,
    usage: 'number(TEXT)',
    call: (value) => (typeof value === 'string' ? (parseNumber(value) ?? null) : isNumber(value) ? value : null),
  },
  timestamp: {
    gives: 'number',
    parameters: 1,
    usage: 'timestamp("2026-01-31T12:00:00Z")',
    call: timestampOf,
  },
};

function onTexts(name: string, holds: (text: string, part: string) => boolean): Method {
  return {
    gives: 'condition',
    parameters: 1,
    usage: `TEXT.${name}(TEXT)`,
    call: (text, part) => typeof text === 'string' && typeof part === 'string' && holds(text, part),
  };
}

function sizeOf(value: Value): Value {
  if (typeof value === 'string') {
    return value.length;
  }
  return isList(value) ? value.length : isMembers(value) ? Object.keys(value).length : null;
}

/** Milliseconds since the epoch of RFC 3339 text; of a number, which is that already, itself. */
function timestampOf(value: Value): Value {
  if (typeof value !== 'string') {
    return isNumber(value) ? value : null;
  }
  const parsed = parseRfc3339(value);
  return typeof parsed === 'string' ? null : parsed.ms + parsed.micros / 1000;
}

/**
 * `*` is any text, `?` one character. Only the last `*` is ever gone back to, which suffices, so that the cost is at most
 * the product of both lengths: a regular expression can cost exponentially more.
 */
function isLike(text: string, pattern: string): boolean {
  let at = 0;
  let inPattern = 0;
  let starAt = -1;
  let resumeAt = 0;
  while (at < text.length) {
    const expected = pattern[inPattern];
    if (expected === '*') {
      starAt = inPattern;
      resumeAt = at;
      inPattern += 1;
    } else if (expected !== undefined && (expected === '?' || expected === text[at])) {
      at += 1;
      inPattern += 1;
    } else if (starAt >= 0) {
      resumeAt += 1;
      at = resumeAt;
      inPattern = starAt + 1;
    } else {
      return false;
    }
  }
  return pattern.slice(inPattern).replaceAll('*', '') === '';
}

/** JSON documents of every shape, half of them broken, each repeatable from its seed. */
type Random = () => number;

/** mulberry32: a document is repeated from its seed. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)]!;
const times = <T>(random: Random, most: number, make: () => T): T[] =>
  Array.from({ length: Math.floor(random() * (most + 1)) }, make);

const pieces = [
  'a',
  'id',
  ' ',
  'ä',
  '€',
  '😀',
  '\u2028',
  '\\n',
  '\\"',
  '\\\\',
  '\\/',
  '\\b',
  '\\f',
  '\\r',
  '\\t',
  '\\u0041',
  '\\u00e9',
  '\\ud83d\\ude00',
  '\\u0000',
  '\\ud800',
  '\\uDFFF',
  '\\udc00',
  '\\\\u0000',
  '__proto__',
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
] as const;
const blanks = ['', '', '', '', ' ', '\n', '\t', '\r\n'] as const;
const numbers = [
  '0',
  '-0',
  '1',
  '-1',
  '10',
  '1.10',
  '0.5',
  '1e5',
  '1E+5',
  '1e-5',
  '-1.5e400',
  '9007199254740993',
  '1e16383',
  '1e16384',
  '1e-16384',
  '0e99999',
  '1e00016383',
  '123456789012345678901234567890',
] as const;

function jsonString(random: Random): string {
  return `"${times(random, 4, () => pick(random, pieces)).join('')}"`;
}

function jsonValue(random: Random, depth: number): string {
  const blank = (): string => pick(random, blanks);
  const choice = random();
  if (depth > 0 && choice < 0.3) {
    const members = times(
      random,
      4,
      () => `${blank()}${jsonString(random)}${blank()}:${blank()}${jsonValue(random, depth - 1)}${blank()}`,
    );
    return `{${members.join(',') || blank()}}`;
  }
  if (depth > 0 && choice < 0.5) {
    return `[${times(random, 4, () => `${blank()}${jsonValue(random, depth - 1)}${blank()}`).join(',') || blank()}]`;
  }
  return choice < 0.75
    ? jsonString(random)
    : choice < 0.9
      ? pick(random, numbers)
      : pick(random, ['true', 'false', 'null']);
}

const debris = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '\\u',
  '\\u00',
  '0',
  '1',
  '-',
  '+',
  '.',
  'e',
  'E',
  't',
  'true',
  'nul',
  '\n',
  '\u0000',
  '\u001f',
  '\u007f',
  '\ufeff',
  '/',
  "'",
  'NaN',
  '//',
  ' ',
  '01',
  '.5',
  '5.',
  '1e',
  '\u00a0',
] as const;

function mutate(random: Random, text: string): string {
  const at = Math.floor(random() * (text.length + 1));
  const length = 1 + Math.floor(random() * 3);
  switch (Math.floor(random() * 4)) {
    case 0:
      return text.slice(0, at) + text.slice(at + length);
    case 1:
      return text.slice(0, at) + pick(random, debris) + text.slice(at);
    case 2:
      return text.slice(0, at) + pick(random, debris) + text.slice(at + length);
    default:
      return text.slice(0, at);
  }
}

/**
 * The oracle errs on keys with a backslash: V8 13.6 (Node 24), having seen {"a":1,"\\\\":2}, reads the second key of
 * {"a":1,"\\n":2} as a backslash too. So no document of the comparison has such a key; a table below holds them.
 */
export function withoutBackslashKeys(text: string): string {
  return text.replaceAll(/("(?:[^"\\]|\\.)*")(\s*:)/g, (_, token: string, colon: string) => {
    return token.replaceAll(/\\\\|\\u005c/gi, '|') + colon;
  });
}

/** A valid document most of the time; otherwise one with a mutation or two. */
export function documentFrom(seed: number): string {
  const random = randomFrom(seed);
  const top =
    random() < 0.7
      ? `{"k":${jsonValue(random, 4)},${jsonString(random)}:${jsonValue(random, 3)}}`
      : jsonValue(random, 5);
  let text = `${pick(random, blanks)}${top}${pick(random, blanks)}`;
  const mutations = random() < 0.5 ? 0 : random() < 0.7 ? 1 : 2;
  for (let count = 0; count < mutations; count += 1) {
    text = mutate(random, text);
  }
  // As a producer's bytes would hold it: what is no text becomes U+FFFD here already.
  return withoutBackslashKeys(Buffer.from(text).toString());
}

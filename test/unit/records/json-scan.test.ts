import { isDeepStrictEqual } from 'node:util';

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { JsonScanner, storableSlice, type JsonKind } from '../../../src/lib/records/json-scan.ts';
import { documentFrom, withoutBackslashKeys } from '../../support/json-documents.ts';

/**
 * The oracle is V8's JSON.parse. The scanner differs on purpose in three things, and only there: it bounds the depth, it
 * refuses exponents beyond 16383, and it refuses keys that PostgreSQL cannot store.
 */
const maxDepth = 60;
const scanner = new JsonScanner({ maxDepth });

function parsed(text: string): { readonly value: unknown } | null {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return null;
  }
}

function kindOf(value: unknown): JsonKind {
  return value === null
    ? 'null'
    : Array.isArray(value)
      ? 'array'
      : typeof value === 'boolean'
        ? value
          ? 'true'
          : 'false'
        : (typeof value as 'object' | 'string' | 'number');
}

const storable = (text: string): string => text.toWellFormed().replaceAll('\u0000', '\ufffd');

/** What the document means once its strings are storable. */
function sanitised(value: unknown): unknown {
  if (typeof value === 'string') {
    return storable(value);
  }
  if (Array.isArray(value)) {
    return value.map(sanitised);
  }
  return typeof value === 'object' && value !== null
    ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sanitised(inner)]))
    : value;
}

/** By the text: of a repeated key JSON.parse keeps only the last value, with whatever keys the others had. */
function hasUnstorableKey(text: string): boolean {
  return [...text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?/g)].some(([, token = '""', colon]) => {
    const key = colon === undefined ? '' : (JSON.parse(token) as string);
    return storable(key) !== key;
  });
}

/** Every exponent that stands outside a string. */
function hasWildExponent(text: string): boolean {
  const outside = text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
  return [...outside.matchAll(/\d[eE][+-]?(\d+)/g)].some((match) => Number(match[1]) > 16_383);
}

/** Null when scanner and oracle agree on the document, else what differs. */
function difference(text: string): string | null {
  const bytes = Buffer.from(text);
  const oracle = parsed(text);
  const fault = scanner.scan(bytes, 0, bytes.length);
  switch (fault) {
    case 'malformed_json':
      return oracle === null ? null : 'refused what JSON.parse takes';
    case 'number_range':
      return hasWildExponent(text) ? null : 'number_range without such an exponent';
    case 'unstorable_text':
      return oracle === null || hasUnstorableKey(text) ? null : 'unstorable_text without such a key';
    case 'too_deep':
      return 'these documents are not that deep';
    case null:
      break;
  }
  if (oracle === null) {
    return 'took what JSON.parse refuses';
  }
  if (hasUnstorableKey(text)) {
    return 'took a key that cannot be stored';
  }
  if (hasWildExponent(text)) {
    return 'took a wild exponent';
  }
  return scanDifference(bytes, oracle.value);
}

function scanDifference(bytes: Buffer, value: unknown): string | null {
  if (scanner.kind !== kindOf(value)) {
    return `kind ${scanner.kind}`;
  }
  const slice = storableSlice(bytes, 0, bytes.length, scanner.unstorableEscapes);
  if (!isDeepStrictEqual(JSON.parse(slice.toString()), sanitised(value))) {
    return 'the storable text means something else';
  }
  if (slice.length !== bytes.length) {
    return 'the storable text has another length';
  }
  if (scanner.kind !== 'object') {
    return scanner.memberCount === 0 ? null : 'members of what is no object';
  }
  const members = scanner.members.slice(0, scanner.memberCount).map((member) => {
    const keyText = bytes.toString('utf8', member.keyStart, member.keyEnd);
    const valueText = bytes.toString('utf8', member.valueStart, member.valueEnd);
    const inner: unknown = JSON.parse(valueText);
    const truthful =
      kindOf(inner) === member.kind &&
      member.keyEscaped === keyText.includes('\\') &&
      member.escaped === (member.kind === 'string' && valueText.includes('\\')) &&
      valueText.trim() === valueText;
    return { name: JSON.parse(keyText) as string, inner, truthful };
  });
  if (!members.every((member) => member.truthful)) {
    return 'a member says something wrong of itself';
  }
  return isDeepStrictEqual(Object.fromEntries(members.map(({ name, inner }) => [name, inner])), value)
    ? null
    : 'the members mean something else';
}

describe('the scanner against JSON.parse', () => {
  test('120,000 documents, half of them mutated: the same are taken, and the members stand where they are', () => {
    const perRun = 1000;
    const taken = { valid: 0, refused: 0 };
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), (start) => {
        for (let seed = start; seed < start + perRun; seed += 1) {
          const text = documentFrom(seed);
          const found = difference(text);
          if (found !== null) {
            throw new Error(`${found}: ${JSON.stringify(text)} (document seed ${seed})`);
          }
          taken[parsed(text) === null ? 'refused' : 'valid'] += 1;
        }
      }),
      { numRuns: 120, endOnFailure: true },
    );
    // The generator must go on making both kinds, or the property proves nothing.
    expect(taken.valid).toBeGreaterThan(30_000);
    expect(taken.refused).toBeGreaterThan(30_000);
  }, 60_000);

  test('any JSON value at all, and any text at all', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json({ maxDepth: 6 }), fc.string({ unit: 'binary' }), fc.string()), (text) => {
        expect(difference(withoutBackslashKeys(Buffer.from(text).toString()))).toBeNull();
      }),
      { numRuns: 3000 },
    );
  });

  test('only the range given is read, whatever stands around it', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string(), fc.string(), (seed, before, after) => {
        const text = documentFrom(seed);
        const whole = Buffer.from(`${before}${text}${after}`);
        const start = Buffer.byteLength(before);
        const alone = scanner.scan(Buffer.from(text), 0, Buffer.byteLength(text));
        expect(scanner.scan(whole, start, start + Buffer.byteLength(text))).toBe(alone);
      }),
      { numRuns: 2000 },
    );
  });
});

test.each([
  ['{"a":1,"\\\\":2}', ['a', '\\']],
  ['{"a":1,"\\n":2}', ['a', '\n']],
  ['{"a":1,"x\\\\":{"\\/":3},"x\\/":4}', ['a', 'x\\', 'x/']],
  ['{"\\u005c":1,"\\\\u0000":2}', ['\\', '\\u0000']],
])('keys with a backslash: %s', (text, keys) => {
  const bytes = Buffer.from(text);
  expect(scanner.scan(bytes, 0, bytes.length)).toBeNull();
  const found = scanner.members.slice(0, scanner.memberCount);
  expect(found.map((member): unknown => JSON.parse(bytes.toString('utf8', member.keyStart, member.keyEnd)))).toEqual(
    keys,
  );
});

describe('the deliberate differences', () => {
  const fault = (text: string, depth = maxDepth): unknown =>
    new JsonScanner({ maxDepth: depth }).scan(Buffer.from(text), 0, Buffer.byteLength(text));

  test.each([
    ['[[[]]]', 2, null],
    ['[[[1]]]', 3, null],
    ['[[[1]]]', 2, 'too_deep'],
    ['{"a":{"b":{"c":1}}}', 3, null],
    ['{"a":{"b":{"c":1}}}', 2, 'too_deep'],
    ['{"a":1,"b":[[[[2]]]]}', 4, 'too_deep'],
  ])('%s at depth %i: %s', (text, depth, expected) => {
    expect(fault(text, depth)).toBe(expected);
  });

  test('100,000 open brackets are refused without a deep stack, 5,000 closed ones pass', () => {
    expect(fault('['.repeat(100_000), 5000)).toBe('too_deep');
    expect(fault(`${'['.repeat(5000)}1${']'.repeat(5000)}`, 5000)).toBeNull();
  });

  test.each([
    ['1e16383', null],
    ['1e+16383', null],
    ['-1.5E-16383', null],
    ['1e000000016383', null],
    ['1e16384', 'number_range'],
    ['0e16384', 'number_range'],
    ['1e-99999999999999999999', 'number_range'],
    ['"1e16384"', null],
  ])('%s: %s', (text, expected) => {
    expect(fault(text)).toBe(expected);
    expect(fault(`{"a":[${text}]}`)).toBe(expected);
  });

  test.each([
    ['{"\\u0000":1}', 'unstorable_text'],
    ['{"a":{"x\\ud800":1}}', 'unstorable_text'],
    ['{"\\ud83d":{"\\ude00":1}}', 'unstorable_text'],
    ['{"\\ud83d\\ude00":1}', null],
    ['{"\\\\u0000":1}', null],
    ['{"a":"\\u0000"}', null],
  ])('%s: %s', (text, expected) => {
    expect(fault(text)).toBe(expected);
  });
});

describe('storableSlice', () => {
  test('overwrites exactly what is noted, and copies only then', () => {
    const bytes = Buffer.from('{"a":"x\\u0000\\\\u0000","b":"\\ud800\\ud83d\\ude00\\uDC00"}');
    scanner.scan(bytes, 0, bytes.length);
    const text = storableSlice(bytes, 0, bytes.length, scanner.unstorableEscapes).toString();
    expect(text).toBe('{"a":"x\\ufffd\\\\u0000","b":"\\ufffd\\ud83d\\ude00\\ufffd"}');
    expect(bytes.toString()).toContain('x\\u0000');
    const [, b] = scanner.members;
    const inner = storableSlice(bytes, b!.valueStart, b!.valueEnd, scanner.unstorableEscapes);
    expect(inner.toString()).toBe('"\\ufffd\\ud83d\\ude00\\ufffd"');
    const untouched = storableSlice(bytes, 0, 6, scanner.unstorableEscapes);
    expect(untouched.buffer).toBe(bytes.buffer);
  });
});

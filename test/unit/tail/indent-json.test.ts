import fc from 'fast-check';
import { expect, test } from 'vitest';

import { indentJson } from '../../../src/lib/tail/indent-json.ts';

test('lays out as JSON.stringify does', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(indentJson(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2));
      expect(indentJson(JSON.stringify(value, null, 7))).toBe(JSON.stringify(value, null, 2));
    }),
    { numRuns: 1000 },
  );
});

test('numbers, escapes and repeated names stay as they are written', () => {
  expect(indentJson('{"n":9007199254740993,"p":1.10,"v":1e400,"n":-0,"s":"\\u0041 { , : \\" [ ]"}')).toBe(
    '{\n  "n": 9007199254740993,\n  "p": 1.10,\n  "v": 1e400,\n  "n": -0,\n  "s": "\\u0041 { , : \\" [ ]"\n}',
  );
});

test('a thousand levels make no text of a million blanks', () => {
  const deep = `${'['.repeat(1000)}1${']'.repeat(1000)}`;
  expect(indentJson(deep).length).toBeLessThan(170_000);
  expect(indentJson(deep).replaceAll(/\s/g, '')).toBe(deep);
});

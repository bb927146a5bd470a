import fc from 'fast-check';
import { expect, test } from 'vitest';

import { parseExactJson } from '../../../src/lib/records/exact-json.ts';

test.each([
  '9007199254740993',
  '1.10',
  '-0',
  '1e400',
  '[0.1,{"a":123456789012345678901234567890}]',
  '{"n":5,"t":"1.10"}',
])('%s is written as it was read', (text) => {
  expect(JSON.stringify(parseExactJson(text))).toBe(text);
});

test('numbers that JavaScript holds are plain numbers', () => {
  expect(parseExactJson('{"n":5,"list":[1.5]}')).toEqual({ n: 5, list: [1.5] });
});

test('any JSON value survives', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      expect(JSON.parse(JSON.stringify(parseExactJson(text)))).toEqual(JSON.parse(text));
    }),
  );
});

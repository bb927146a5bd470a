import { expect, test } from 'vitest';
import { parse } from 'yaml';

import { renderDocument } from '../../../src/cli/output/document.ts';

const result = {
  offset: 2n ** 63n - 1n,
  none: null,
  gone: undefined,
  of: new Map([['a', 1n]]),
  list: [{ at: 1n }],
  text: 'x\n\u001b',
};
const plain = { offset: '9223372036854775807', none: null, of: { a: '1' }, list: [{ at: '1' }], text: 'x\n\u001b' };

test('json is one document, offsets as text', () => {
  expect(JSON.parse(renderDocument(result, 'json'))).toEqual(plain);
  expect(renderDocument(result, 'json')).toContain('\n  "offset": "9223372036854775807"');
});

test('yaml says the same', () => {
  expect(parse(renderDocument(result, 'yaml'))).toEqual(plain);
});

test('ndjson is a line an item of a list, one line for anything else, and nothing for an empty list', () => {
  expect(
    renderDocument([result, { n: 1n }], 'ndjson')
      .split('\n')
      .map((line): unknown => JSON.parse(line)),
  ).toEqual([plain, { n: '1' }]);
  expect(renderDocument(result, 'ndjson').split('\n')).toHaveLength(1);
  expect(renderDocument([], 'ndjson')).toBe('');
});

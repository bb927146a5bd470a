import fc from 'fast-check';
import { expect, test } from 'vitest';

import { previewOf, shownBytes, shownHeaders } from '../../../src/lib/records/shown-bytes.ts';

test('text where it is UTF-8, else base64', () => {
  expect(shownBytes(null)).toBeNull();
  expect(shownBytes(Buffer.from(''))).toBe('');
  expect(shownBytes(Buffer.from('ä\u0000'))).toBe('ä\u0000');
  expect(shownBytes(Buffer.from([0xff, 0x00]))).toEqual({ base64: '/wA=' });
  expect(
    shownHeaders([
      ['a', null],
      ['a', Buffer.from('1')],
    ]),
  ).toEqual([
    { name: 'a', value: null },
    { name: 'a', value: '1' },
  ]);
});

test.each<[Buffer | null, number, string | null]>([
  [null, 5, null],
  [Buffer.from(''), 5, ''],
  [Buffer.from('abcde'), 5, 'abcde'],
  [Buffer.from('abcdef'), 5, 'abcde…'],
  [Buffer.from([0xff, 0xfe]), 10, '0xfffe'],
  [Buffer.alloc(50, 0xff), 10, '0xffffffff…'],
  [Buffer.from('ä'.repeat(50)), 5, 'äääää…'],
  [Buffer.from(`a${'€'.repeat(50)}`), 5, 'a€€€€…'],
  [Buffer.from('😀'.repeat(50)), 4, '😀😀…'],
])('a preview of %j by %i is %s', (bytes, length, expected) => {
  expect(previewOf(bytes, length)).toBe(expected);
});

test('of any bytes a preview is short, well-formed text', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 40 }), (bytes, length) => {
      const preview = previewOf(Buffer.from(bytes), length) ?? '';
      expect(preview.length).toBeLessThanOrEqual(length + 1);
      expect(preview.isWellFormed()).toBe(true);
    }),
  );
});

test('of any long text it is the beginning, never hex', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }),
      fc.integer({ min: 4, max: 40 }),
      (text, length) => {
        const preview = previewOf(Buffer.from(text), length) ?? '';
        // The cut may leave U+FFFD at the end, and the text may hold it anywhere.
        const begin = preview.replace(/…$/, '').replaceAll('\ufffd', '');
        expect(text.replaceAll('\ufffd', '').startsWith(begin)).toBe(true);
      },
    ),
    { numRuns: 1000 },
  );
});

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { escapeControls } from '../../../src/cli/output/escape.ts';
import { paletteFor } from '../../../src/cli/output/text.ts';

/** Everything that moves, hides, reorders or recolours text on a terminal, by Unicode's own classes. */
const dangerous =
  /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\p{Cs}]|[\u200b-\u200f\u2060-\u206f\ufeff\ufff9-\ufffb\u00ad\u180e]|[\u{e0000}-\u{e007f}]/u;

describe('text from data', () => {
  test('no dangerous code point of all that Unicode has passes, and no other one is touched', () => {
    for (let code = 0; code <= 0x10ffff; code += 1) {
      const character = String.fromCodePoint(code);
      const shown = escapeControls(character);
      if (dangerous.test(character)) {
        expect(shown).toMatch(/^\\(?:[nrte]|x[0-9a-f]{2}|u\{[0-9a-f]+\})$/);
      } else if (shown !== character) {
        throw new Error(`U+${code.toString(16)} became ${shown}`);
      }
    }
  });

  test.each([
    ['a\nb\r\t', 'a\\nb\\r\\t'],
    ['\u001b]0;title\u0007', '\\e]0;title\\x07'],
    ['\u009b31m', '\\x9b31m'],
    ['a\u202eb', 'a\\u{202e}b'],
    ['\ud800', '\\u{d800}'],
    ['😀 ä € \u00a0', '😀 ä € \u00a0'],
    ['\u{e0041}', '\\u{e0041}'],
    ['\\n', '\\n'],
  ])('%j is shown as %s', (text, shown) => {
    expect(escapeControls(text)).toBe(shown);
  });

  test('whatever it is, what comes out is harmless, well-formed, and stays so', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const shown = escapeControls(text);
        expect(dangerous.test(shown)).toBe(false);
        expect(shown.isWellFormed()).toBe(true);
        expect(escapeControls(shown)).toBe(shown);
      }),
    );
  });

  test('every span of a line is escaped, with its tone or without', () => {
    const { paint } = paletteFor('stdout', { NO_COLOR: '1' });
    expect(paint(['a\u001b', { tone: 'bad', text: 'b\u202e' }, 'c\n'])).toBe('a\\eb\\u{202e}c\\n');
    expect(paint('\u0007')).toBe('\\x07');
  });
});

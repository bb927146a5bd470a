/**
 * Text that came from data, made safe for a terminal: C0 and C1 controls, DEL, bidirectional overrides, line and
 * paragraph separators, zero-width and tag characters and lone surrogates are shown as escapes.
 * `stripVTControlCharacters` is not enough: it leaves CR, BS, C1 strings and bidi marks.
 */
const unsafe =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu;

const named: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\u001b': '\\e' };

export function escapeControls(text: string): string {
  return text.replaceAll(unsafe, (character) => {
    const name = named[character];
    if (name !== undefined) {
      return name;
    }
    const code = character.codePointAt(0) ?? 0;
    return code > 0xff ? `\\u{${code.toString(16)}}` : `\\x${code.toString(16).padStart(2, '0')}`;
  });
}

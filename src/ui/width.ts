import stringWidth from 'string-width';

/** Letters of Latin, Greek and Cyrillic, punctuation, arrows, boxes, blocks and braille: a column each. */
const narrow =
  /^[\u0020-\u007e\u00a0-\u02ff\u0370-\u052f\u2010-\u2027\u2030-\u205e\u2190-\u2199\u2200-\u22ff\u2500-\u25ff\u2800-\u28ff✓✗]*$/;

/** How many columns a text takes on a terminal. */
export function widthOf(text: string): number {
  return narrow.test(text) ? text.length : stringWidth(text);
}

/** Exactly so wide: cut with `…`, or filled up with spaces. */
export function fit(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const own = widthOf(text);
  if (own > width) {
    return cut(text, width);
  }
  const space = ' '.repeat(width - own);
  return align === 'right' ? space + text : text + space;
}

function cut(text: string, width: number): string {
  if (width <= 0) {
    return '';
  }
  let kept = '';
  let taken = 0;
  for (const character of text) {
    const own = widthOf(character);
    if (taken + own > width - 1) {
      break;
    }
    kept += character;
    taken += own;
  }
  return `${kept}…${' '.repeat(width - 1 - taken)}`;
}

/** Lines of whole words, the second and later ones indented; a word that is longer than a line is left as it is. */
export function wrapWords(text: string, width: number, indent = 0): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (line.trim() !== '' && widthOf(longer) > width) {
      lines.push(line);
      line = `${' '.repeat(indent)}${word}`;
    } else {
      line = longer;
    }
  }
  return [...lines, line];
}

import { escapeControls } from './escape.ts';
import type { Line, Palette, Span } from './text.ts';

/** One line at the end of a terminal that is written anew as its text changes. */
export class LiveLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #palette: Palette;
  #shown = false;

  constructor(stream: NodeJS.WriteStream, palette: Palette) {
    this.#stream = stream;
    this.#palette = palette;
  }

  /** Cut at the terminal's width: a line that wraps could not be taken back. */
  show(line: Line): void {
    this.#shown = true;
    this.#stream.write(`\r\u001b[2K${this.#palette.paint(fitting(line, this.#stream.columns - 1))}`);
  }

  /** Takes the line away, so that another can be printed. */
  clear(): void {
    if (this.#shown) {
      this.#shown = false;
      this.#stream.write('\r\u001b[2K');
    }
  }
}

function fitting(line: Line, columns: number): readonly Span[] {
  const spans = typeof line === 'string' || 'tone' in line ? [line] : line;
  let left = Math.max(0, columns);
  return spans.map((span) => {
    const { tone, text } = typeof span === 'string' ? ({ tone: 'plain', text: span } as const) : span;
    const shown = escapeControls(text).slice(0, left);
    left -= shown.length;
    return { tone, text: shown };
  });
}

import { LiveLine } from './output/live-line.ts';
import type { Line, Palette } from './output/text.ts';

export interface ProgressFeedOptions<Progress> {
  readonly line: (progress: Progress) => Line;
  /** On a terminal instead of `line`: what may be pressed, for one. */
  readonly terminalLine?: (progress: Progress) => Line;
  /** How often there is a line off a terminal. */
  readonly lineEveryMs: number;
}

/** The progress of long work on stderr: one line that changes on a terminal, a line now and then elsewhere. */
export class ProgressFeed<Progress> {
  readonly #stream: NodeJS.WriteStream;
  readonly #palette: Palette;
  readonly #options: ProgressFeedOptions<Progress>;
  readonly #live: LiveLine;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(stream: NodeJS.WriteStream, palette: Palette, options: ProgressFeedOptions<Progress>) {
    this.#stream = stream;
    this.#palette = palette;
    this.#options = options;
    this.#live = new LiveLine(stream, palette);
  }

  show(progress: Progress): void {
    const { line, terminalLine = line, lineEveryMs } = this.#options;
    if (this.#stream.isTTY) {
      this.#live.show(terminalLine(progress));
    } else if (performance.now() - this.#toldAtMs >= lineEveryMs) {
      this.#toldAtMs = performance.now();
      this.#stream.write(`${this.#palette.paint(line(progress))}\n`);
    }
  }

  clear(): void {
    this.#live.clear();
  }
}

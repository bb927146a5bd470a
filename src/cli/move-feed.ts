import type { MoveProgress } from '../lib/topics/move/carry-out.ts';
import { LiveLine } from './output/live-line.ts';
import type { Line, Palette } from './output/text.ts';
import { moveProgressLine } from './views/topic-moves.ts';

const lineEveryMs = 5000;

/** A move's progress on stderr: one line that changes on a terminal, a line now and then elsewhere. */
export class MoveFeed {
  readonly #stream: NodeJS.WriteStream;
  readonly #palette: Palette;
  readonly #live: LiveLine;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(stream: NodeJS.WriteStream, palette: Palette) {
    this.#stream = stream;
    this.#palette = palette;
    this.#live = new LiveLine(stream, palette);
  }

  show(progress: MoveProgress): void {
    const line: Line = moveProgressLine(progress);
    if (this.#stream.isTTY) {
      this.#live.show(line);
    } else if (performance.now() - this.#toldAtMs >= lineEveryMs) {
      this.#toldAtMs = performance.now();
      this.#stream.write(`${this.#palette.paint(line)}\n`);
    }
  }

  clear(): void {
    this.#live.clear();
  }
}

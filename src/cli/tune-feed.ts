import { formatDuration } from '../lib/config/units.ts';
import type { WatchProgress } from '../lib/topics/tune/watch.ts';
import { LiveLine } from './output/live-line.ts';
import { dim, type Line, type Palette } from './output/text.ts';

const lineEveryMs = 10_000;

/** What is left of a watch, on stderr: one line that changes on a terminal, a line now and then elsewhere. */
export class TuneFeed {
  readonly #stream: NodeJS.WriteStream;
  readonly #palette: Palette;
  readonly #live: LiveLine;
  #toldAtMs = Number.NEGATIVE_INFINITY;

  constructor(stream: NodeJS.WriteStream, palette: Palette) {
    this.#stream = stream;
    this.#palette = palette;
    this.#live = new LiveLine(stream, palette);
  }

  show(progress: WatchProgress): void {
    if (this.#stream.isTTY) {
      this.#live.show([...watchLine(progress), dim('   Ctrl-C: advise from what was seen')]);
    } else if (performance.now() - this.#toldAtMs >= lineEveryMs) {
      this.#toldAtMs = performance.now();
      this.#stream.write(`${this.#palette.paint(watchLine(progress))}\n`);
    }
  }

  clear(): void {
    this.#live.clear();
  }
}

function watchLine({ topics, looks, leftMs }: WatchProgress): Extract<Line, readonly unknown[]> {
  // Whole seconds: tenths would only flicker.
  const left = formatDuration(Math.ceil(leftMs / 1000) * 1000);
  return [
    `watching ${topics} ${topics === 1 ? 'topic' : 'topics'}  ${left} left`,
    dim(`  ${looks} ${looks === 1 ? 'look' : 'looks'}`),
  ];
}

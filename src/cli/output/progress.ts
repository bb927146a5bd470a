import { formatCount, formatDuration } from '../../lib/config/units.ts';
import { escapeControls } from './escape.ts';

/** What long work says of itself while it runs. */
export interface Progress {
  update(done: number, note?: string): void;
  /** Takes the bar away; `summary` stays. */
  end(summary?: string): void;
}

export interface ProgressOptions {
  readonly label: string;
  /** Unknown: no bar, only the count. */
  readonly total?: number;
  readonly stream: NodeJS.WriteStream;
  readonly now?: () => number;
}

const redrawMs = 100;
const lineEveryMs = 5000;
const width = 24;

/** A bar on a terminal; a line now and then elsewhere. */
export function startProgress(options: ProgressOptions): Progress {
  const now = options.now ?? Date.now;
  const startedAt = now();
  const onTerminal = options.stream.isTTY;
  let shownAt = Number.NEGATIVE_INFINITY;
  // What was done before anybody looked says nothing about the rate.
  let before: number | null = null;
  const draw = (done: number, note: string): void => {
    const elapsedMs = now() - startedAt;
    // One look knows no rate.
    const perSec = before !== null && elapsedMs > 0 ? ((done - before) * 1000) / elapsedMs : null;
    before ??= done;
    const text = progressLine(options, done, perSec, escapeControls(note));
    options.stream.write(onTerminal ? `\r\u001b[2K${text.slice(0, options.stream.columns - 1)}` : `${text}\n`);
  };
  return {
    update: (done, note = '') => {
      const elapsed = now() - shownAt;
      if (elapsed >= (onTerminal ? redrawMs : lineEveryMs)) {
        shownAt = now();
        draw(done, note);
      }
    },
    end: (summary) => {
      if (onTerminal && Number.isFinite(shownAt)) {
        options.stream.write('\r\u001b[2K');
      }
      if (summary !== undefined) {
        options.stream.write(`${escapeControls(summary)}\n`);
      }
    },
  };
}

function progressLine(options: ProgressOptions, done: number, perSec: number | null, note: string): string {
  const rate = perSec === null ? '' : `  ${formatCount(perSec)}/s`;
  if (options.total === undefined || options.total === 0) {
    return `${options.label}  ${formatCount(done)}${rate}  ${note}`.trimEnd();
  }
  const share = Math.min(1, done / options.total);
  const filled = Math.round(share * width);
  const bar = '█'.repeat(filled) + '░'.repeat(width - filled);
  const left =
    perSec !== null && perSec > 0 && share < 1
      ? `  ${formatDuration(((options.total - done) * 1000) / perSec)} left`
      : '';
  return `${options.label}  ${bar}  ${formatCount(done)}/${formatCount(options.total)}${rate}${left}  ${note}`.trimEnd();
}

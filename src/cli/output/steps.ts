import type { Line, Palette } from './text.ts';

/**
 * Steps of long work on stderr. On a terminal what runs now stands on a line that its result replaces; elsewhere each step
 * is a line when it begins, and the results are the document's.
 */
export interface Steps {
  running(line: Line): void;
  ended(line: Line): void;
  /** Takes an unfinished line away. */
  clear(): void;
}

export function startSteps(stream: NodeJS.WriteStream, palette: Palette): Steps {
  let unfinished = false;
  const clear = (): void => {
    if (unfinished) {
      stream.write('\r\u001b[2K');
      unfinished = false;
    }
  };
  return {
    clear,
    running: (line) => {
      clear();
      if (stream.isTTY) {
        stream.write(palette.paint(line));
        unfinished = true;
      } else {
        stream.write(`${palette.paint(line)}\n`);
      }
    },
    ended: (line) => {
      clear();
      if (stream.isTTY) {
        stream.write(`${palette.paint(line)}\n`);
      }
    },
  };
}

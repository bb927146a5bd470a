import { EventEmitter } from 'node:events';

import { render } from 'ink';
import type { ReactElement } from 'react';
import { vi, expect } from 'vitest';

import { fullScreenOptions } from '../../src/ui/full-screen.tsx';

/** Keys as a terminal sends them. */
export const keys = {
  up: '\u001b[A',
  down: '\u001b[B',
  enter: '\r',
  escape: '\u001b',
  backspace: '\u007f',
  end: '\u001b[F',
} as const;

/**
 * Enough of a terminal for what Ink writes: it shows what these bytes show. Anything that it does not know is an error, so
 * that no sequence passes unseen.
 */
export class Emulator {
  #grid: string[][];
  #columns: number;
  #x = 0;
  #y = 0;

  constructor(columns: number, rows: number) {
    this.#columns = columns;
    this.#grid = Array.from({ length: rows }, () => this.#blank());
  }

  get lines(): readonly string[] {
    return this.#grid.map((line) => line.join('').trimEnd());
  }

  /** A terminal that loses lines takes those below the cursor first, then those at the top. */
  resize(columns: number, rows: number): void {
    this.#columns = columns;
    this.#grid = this.#grid.map((line) => [...line.slice(0, columns), ...this.#blank().slice(line.length)]);
    const below = Math.max(0, Math.min(this.#grid.length - rows, this.#grid.length - 1 - this.#y));
    this.#grid = this.#grid.slice(0, this.#grid.length - below);
    const above = Math.max(0, this.#grid.length - rows);
    this.#grid = this.#grid.slice(above);
    this.#y -= above;
    this.#x = Math.min(this.#x, columns);
    while (this.#grid.length < rows) {
      this.#grid.push(this.#blank());
    }
  }

  write(bytes: string): void {
    for (const [, parameters = '', command, text = ''] of bytes.matchAll(/\u001b\[([?\d;]*)([A-Za-z])|([^\u001b])/gu)) {
      if (command === undefined) {
        this.#put(text);
      } else {
        this.#obey(command, parameters);
      }
    }
  }

  #put(text: string): void {
    if (text === '\n' || text === '\r') {
      this.#x = 0;
      if (text === '\n') {
        this.#down();
      }
      return;
    }
    if (this.#x >= this.#columns) {
      this.#x = 0;
      this.#down();
    }
    this.#grid[this.#y]![this.#x] = text;
    this.#x += 1;
  }

  #obey(command: string, parameters: string): void {
    const number = parameters === '' ? 1 : Number(parameters.split(';')[0]);
    const line = this.#grid[this.#y]!;
    switch (command) {
      case 'A':
        this.#y = Math.max(0, this.#y - number);
        break;
      case 'E':
        this.#y = Math.min(this.#grid.length - 1, this.#y + number);
        this.#x = 0;
        break;
      case 'G':
        this.#x = number - 1;
        break;
      case 'H': {
        const [row = 1, column = 1] = parameters.split(';').map((part) => (part === '' ? 1 : Number(part)));
        this.#y = Math.min(this.#grid.length, row) - 1;
        this.#x = Math.min(this.#columns, column) - 1;
        break;
      }
      case 'K':
        // At the end of a full line the cursor stands on the last cell.
        line.fill(' ', parameters === '2' ? 0 : Math.min(this.#x, this.#columns - 1));
        break;
      case 'J':
        line.fill(' ', this.#x);
        this.#grid.slice(this.#y + 1).forEach((below) => below.fill(' '));
        break;
      case 'm':
      case 'h':
      case 'l':
        break;
      default:
        throw new Error(`the terminal of the tests does not know ESC [ ${parameters} ${command}`);
    }
  }

  #down(): void {
    if (this.#y === this.#grid.length - 1) {
      this.#grid = [...this.#grid.slice(1), this.#blank()];
    } else {
      this.#y += 1;
    }
  }

  #blank(): string[] {
    return Array.from({ length: this.#columns }, () => ' ');
  }
}

/** A terminal of a size that changes, which keeps every byte. */
class FakeOutput extends EventEmitter {
  readonly isTTY = true;
  readonly emulator: Emulator;
  columns: number;
  rows: number;
  written = '';

  constructor(columns: number, rows: number) {
    super();
    this.columns = columns;
    this.rows = rows;
    this.emulator = new Emulator(columns, rows);
  }

  resize(columns: number, rows: number): void {
    this.columns = columns;
    this.rows = rows;
    this.emulator.resize(columns, rows);
    this.emit('resize');
  }

  readonly write = (text: string, ...rest: readonly unknown[]): boolean => {
    this.written += text;
    this.emulator.write(text);
    const done = rest.findLast((each) => typeof each === 'function') as (() => void) | undefined;
    done?.();
    return true;
  };
}

class FakeInput extends EventEmitter {
  readonly isTTY = true;
  #data: string | null = null;

  readonly write = (data: string): void => {
    this.#data = data;
    this.emit('readable');
    this.emit('data', data);
  };
  readonly read = (): string | null => {
    const data = this.#data;
    this.#data = null;
    return data;
  };
  readonly setEncoding = (): this => this;
  readonly setRawMode = (): this => this;
  readonly resume = (): this => this;
  readonly pause = (): this => this;
  readonly ref = (): this => this;
  readonly unref = (): this => this;
}

export interface FakeTerminal {
  /** The lines on the screen, as many as it has. */
  readonly frame: () => readonly string[];
  readonly shows: (pattern: RegExp) => Promise<string>;
  readonly press: (...pressed: readonly string[]) => void;
  readonly resize: (columns: number, rows: number) => void;
  /** Every byte so far. */
  readonly written: () => string;
  readonly close: () => void;
}

/** Shows a screen with the options of the real one. */
export function openTerminal(screen: ReactElement, columns = 100, rows = 24): FakeTerminal {
  const stdout = new FakeOutput(columns, rows);
  const stdin = new FakeInput();
  const instance = render(screen, {
    ...fullScreenOptions,
    stdout: stdout as unknown as NodeJS.WriteStream,
    stdin: stdin as unknown as NodeJS.ReadStream,
  });
  const frame = (): readonly string[] => stdout.emulator.lines;
  return {
    frame,
    press: (...pressed) => pressed.forEach((key) => stdin.write(key)),
    shows: async (pattern) => {
      await vi.waitFor(() => expect(frame().join('\n')).toMatch(pattern), { timeout: 10_000, interval: 20 });
      return frame().join('\n');
    },
    resize: (to, high) => stdout.resize(to, high),
    written: () => stdout.written,
    close: () => instance.unmount(),
  };
}

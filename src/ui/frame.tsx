import { Chalk, supportsColor } from 'chalk';
import { Box, useStdout } from 'ink';
import { createContext, use, useLayoutEffect, useMemo, useRef, type ReactElement } from 'react';

import { clip, type Cell, type CellLine } from './cell.ts';
import { frameDiff, type FrameOf } from './frame-diff.ts';

/** Whether colours are wanted; without them signs say the same. */
export const Colors = createContext(true);

export interface FrameProps {
  readonly head: readonly CellLine[];
  readonly body: readonly CellLine[];
  /** At the lower edge, whatever the body has. */
  readonly foot: readonly CellLine[];
  readonly width: number;
  readonly height: number;
}

/**
 * A whole screen of lines. Ink has the terminal, its keys and its end; the lines are written past it, cell by cell as they
 * change: measuring and comparing them as text took Ink more than all the looks at the cluster (bench/screen.mjs).
 */
export function Frame({ head, body, foot, width, height }: FrameProps): ReactElement {
  const { stdout } = useStdout();
  const colors = use(Colors);
  const paint = useMemo(() => painter(colors), [colors]);
  const shown = useRef<FrameOf | null>(null);
  useLayoutEffect(() => {
    const room = Math.max(0, height - head.length - foot.length);
    const blank = Array.from({ length: Math.max(0, room - body.length) }, (): CellLine => []);
    const lines = [...head, ...body.slice(0, room), ...blank, ...foot].slice(0, height);
    const now = { lines: lines.map((cells) => clip(cells, width)), width };
    const text = frameDiff(shown.current, now, paint);
    shown.current = now;
    if (text !== '') {
      stdout.write(text);
    }
  });
  return <Box />;
}

function painter(colors: boolean): (cell: Cell) => string {
  const chalk = new Chalk({ level: colors && supportsColor !== false ? supportsColor.level : 0 });
  const tones: Readonly<Record<Cell['tone'], (text: string) => string>> = {
    plain: (text) => text,
    strong: chalk.bold,
    dim: chalk.dim,
    ok: chalk.green,
    warn: chalk.yellow,
    bad: chalk.red,
    accent: chalk.cyan,
  };
  return ({ tone, text }) => (text.trim() === '' ? text : tones[tone](text));
}

/** By https://no-color.org, and FORCE_COLOR against it. */
export function wantsColors(env: Readonly<Record<string, string | undefined>>): boolean {
  return (env['NO_COLOR'] ?? '') === '' || (env['FORCE_COLOR'] ?? '') !== '';
}

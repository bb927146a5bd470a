import { fit, widthOf } from './width.ts';

/** Text that is safe for a terminal, and how it is meant. */
export interface Cell {
  readonly text: string;
  readonly tone: 'plain' | 'strong' | 'dim' | 'ok' | 'warn' | 'bad' | 'accent';
}

/** A line of the screen. */
export type CellLine = readonly Cell[];

export function lineWidth(cells: CellLine): number {
  return cells.reduce((sum, { text }) => sum + widthOf(text), 0);
}

/** The line, cut with `…` where it is wider than the screen. */
export function clip(cells: CellLine, width: number): CellLine {
  if (lineWidth(cells) <= width) {
    return cells;
  }
  const kept: Cell[] = [];
  let left = width;
  for (const cell of cells) {
    const own = widthOf(cell.text);
    if (own > left || (own === left && cell !== cells.at(-1))) {
      return [...kept, { tone: cell.tone, text: fit(`${cell.text}…`, left) }];
    }
    kept.push(cell);
    left -= own;
  }
  return kept;
}

/** The left part, and the right one at the right edge if there is room for both. */
export function spread(left: CellLine, right: CellLine, width: number): CellLine {
  const space = width - lineWidth(left) - lineWidth(right);
  return space < 2 || right.length === 0 ? left : [...left, { tone: 'plain', text: ' '.repeat(space) }, ...right];
}

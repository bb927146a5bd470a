import type { Cell, CellLine } from './cell.ts';
import { widthOf } from './width.ts';

/** What to write so that a terminal which shows one frame shows another. Pure. */

export interface FrameOf {
  readonly lines: readonly CellLine[];
  readonly width: number;
}

type Paint = (cell: Cell) => string;

/** Positions count from 1. */
const to = (line: number, column: number): string => `\u001b[${line + 1};${column + 1}H`;
const eraseRest = '\u001b[K';
const eraseBelow = '\u001b[J';
/** A terminal that knows these shows what is between them at once; others ignore them. */
const begin = '\u001b[?2026h';
const end = '\u001b[?2026l';

/**
 * Cells that changed where the line is laid out as before, else the whole line; nothing where nothing changed. A terminal of
 * another size, or one that shows nothing yet (`before` null), gets every line.
 */
export function frameDiff(before: FrameOf | null, now: FrameOf, paint: Paint): string {
  const isNew = before === null || before.width !== now.width || before.lines.length !== now.lines.length;
  const changed = now.lines
    .map((cells, line) => {
      const old = isNew ? undefined : before.lines[line];
      return old === undefined || !isLaidOutAlike(old, cells)
        ? wholeLine(cells, line, now.width, paint)
        : changedCells(old, cells, line, paint);
    })
    .join('');
  const text = isNew ? `${to(0, 0)}${eraseBelow}${changed}` : changed;
  return text === '' ? '' : `${begin}${text}${end}`;
}

function isLaidOutAlike(old: CellLine, now: CellLine): boolean {
  return old.length === now.length && old.every(({ text }, at) => widthOf(text) === widthOf(now[at]?.text ?? ''));
}

/** A line that is as wide as the terminal leaves the cursor on its last cell, which erasing would take away. */
function wholeLine(cells: CellLine, line: number, width: number, paint: Paint): string {
  const own = cells.reduce((sum, { text }) => sum + widthOf(text), 0);
  return `${to(line, 0)}${cells.map(paint).join('')}${own < width ? eraseRest : ''}`;
}

function changedCells(old: CellLine, now: CellLine, line: number, paint: Paint): string {
  let column = 0;
  /** Where the cursor stands; null: not in this line. */
  let cursor: number | null = null;
  let text = '';
  for (const [at, cell] of now.entries()) {
    const before = old[at];
    const own = widthOf(cell.text);
    if (before?.text !== cell.text || before.tone !== cell.tone) {
      text += `${cursor === column ? '' : to(line, column)}${paint(cell)}`;
      cursor = column + own;
    }
    column += own;
  }
  return text;
}

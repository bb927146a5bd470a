import type { Cell, CellLine } from './cell.ts';
import { fit, widthOf } from './width.ts';

export interface GridColumn {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /** Where the terminal is narrow, columns of higher numbers go first; without one a column stays. */
  readonly dispensable?: number;
}

export interface GridRow {
  readonly key: string;
  readonly cells: readonly Cell[];
}

export interface Grid {
  readonly columns: readonly GridColumn[];
  readonly rows: readonly GridRow[];
  readonly width: number;
  readonly selected: string | null;
}

const gap = 2;
const mark = 2;
/** A column that must stay is not cut further. */
const narrowest = 3;
const between: Cell = { text: ' '.repeat(gap), tone: 'plain' };

/** A table of one line a row, its titles first: columns as wide as their content, fewer of them in a narrow terminal. */
export function gridLines({ columns, rows, width, selected }: Grid): readonly CellLine[] {
  const layout = layOut(columns, rows, width - mark);
  const titles = columns.map(({ title }): Cell => ({ text: title, tone: 'dim' }));
  return [lineOf(layout, titles, false), ...rows.map(({ key, cells }) => lineOf(layout, cells, key === selected))];
}

export interface Placed {
  readonly column: GridColumn;
  /** Which of the columns given. */
  readonly at: number;
  readonly width: number;
}

/** Which columns fit, and how wide each is. */
export function layOut(columns: readonly GridColumn[], rows: readonly GridRow[], width: number): readonly Placed[] {
  let placed: readonly Placed[] = columns.map((column, at) => ({
    column,
    at,
    width: Math.max(column.title.length, ...rows.map((row) => widthOf(row.cells[at]?.text ?? ''))),
  }));
  while (totalWidth(placed) > width) {
    const worst = placed.reduce<Placed | null>(
      (first, next) => ((next.column.dispensable ?? 0) > (first?.column.dispensable ?? 0) ? next : first),
      null,
    );
    if (worst === null) {
      break;
    }
    placed = placed.filter(({ at }) => at !== worst.at);
  }
  while (totalWidth(placed) > width && placed.some((column) => column.width > narrowest)) {
    placed = shrinkWidest(placed, totalWidth(placed) - width);
  }
  return placed;
}

/** How many columns of the terminal a grid of these rows takes, everything shown. */
export function gridWidth(columns: readonly GridColumn[], rows: readonly GridRow[]): number {
  return mark + totalWidth(layOut(columns, rows, Number.POSITIVE_INFINITY));
}

function totalWidth(placed: readonly Placed[]): number {
  return placed.reduce((sum, { width }) => sum + width + gap, -gap);
}

/** What is still too wide is cut in its widest column, as far as the next widest. */
function shrinkWidest(placed: readonly Placed[], excess: number): readonly Placed[] {
  const widest = placed.reduce((left, right) => (right.width > left.width ? right : left));
  const next = Math.max(narrowest, ...placed.filter((column) => column !== widest).map((column) => column.width));
  const cut = Math.min(excess, Math.max(1, widest.width - next));
  return placed.map((column) => (column === widest ? { ...column, width: column.width - cut } : column));
}

/** The mark shows the selection without colour, too. */
function lineOf(layout: readonly Placed[], cells: CellLine, isSelected: boolean): CellLine {
  const first: Cell = { text: isSelected ? '› ' : '  ', tone: isSelected ? 'accent' : 'plain' };
  return layout.reduce<CellLine>(
    (line, { column, at, width }, index) => {
      const { text, tone } = cells[at] ?? { text: '', tone: 'plain' };
      // The selected row is bold where it has no other tone.
      const shown = isSelected && tone === 'plain' ? 'strong' : tone;
      const cell: Cell = { text: fit(text, width, column.align), tone: shown };
      return index === 0 ? [...line, cell] : [...line, between, cell];
    },
    [first],
  );
}

import type { Cell, CellLine } from '../cell.ts';
import { gridLines, gridWidth } from '../grid.ts';
import { windowAround } from '../lag-screen-layout.ts';
import type { PageRow, PageTable } from '../lag-screen-model.ts';
import { sparkline } from '../sparkline.ts';

export interface TableView {
  readonly table: PageTable;
  /** The rows that the filter leaves, sorted. */
  readonly rows: readonly PageRow[];
  readonly selected: number;
  /** Lines, the titles among them. */
  readonly room: number;
  readonly width: number;
  readonly isFiltered: boolean;
}

const shortestTrend = 8;
const longestTrend = 60;
const gap = 2;

/** The rows around the selected one; sparklines take what the columns leave. */
export function tableLines({ table, rows, selected, room, width, isFiltered }: TableView): readonly CellLine[] {
  if (rows.length === 0) {
    return [[{ tone: 'dim', text: isFiltered ? '  nothing matches the filter' : `  ${table.empty}` }]];
  }
  const shown = windowAround(rows, selected, Math.max(1, room - 1));
  const left = width - gridWidth(table.columns, shown) - gap;
  const trendWidth = Math.max(shortestTrend, Math.min(longestTrend, left));
  const hasTrend = table.trend !== null;
  return gridLines({
    columns: hasTrend ? [...table.columns, { title: titleOf(table.trend, trendWidth), dispensable: 9 }] : table.columns,
    rows: hasTrend ? shown.map((row) => withTrend(row, trendWidth)) : shown,
    width,
    selected: rows[selected]?.key ?? null,
  });
}

/** A narrow sparkline has a short title. */
function titleOf(title: string | null, width: number): string {
  return title === null || title.length > width ? 'TREND' : title;
}

function withTrend({ key, cells, trend }: PageRow, width: number) {
  const line: Cell = { text: sparkline(trend, width), tone: 'accent' };
  return { key, cells: [...cells, line] };
}

import { Box, Text } from 'ink';
import type { ReactElement } from 'react';

/** Text that is safe for a terminal, and how it is meant. */
export interface Cell {
  readonly text: string;
  readonly tone: 'plain' | 'strong' | 'dim' | 'ok' | 'warn' | 'bad' | 'accent';
}

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

export interface GridProps {
  readonly columns: readonly GridColumn[];
  readonly rows: readonly GridRow[];
  readonly width: number;
  readonly selected: string | null;
}

const gap = 2;
const mark = 2;
/** A column that must stay is not cut further. */
const narrowest = 3;

/** A table of one line a row: columns as wide as their content, fewer of them in a narrow terminal. */
export function Grid({ columns, rows, width, selected }: GridProps): ReactElement {
  const layout = layOut(columns, rows, width - mark);
  const titles = columns.map(({ title }): Cell => ({ text: title, tone: 'dim' }));
  return (
    <Box flexDirection="column">
      <Line marked={false} layout={layout} cells={titles} />
      {rows.map((row) => (
        <Line key={row.key} marked={row.key === selected} layout={layout} cells={row.cells} />
      ))}
    </Box>
  );
}

interface Placed {
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
    width: Math.max(column.title.length, ...rows.map((row) => row.cells[at]?.text.length ?? 0)),
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

interface LineProps {
  readonly marked: boolean;
  readonly layout: readonly Placed[];
  readonly cells: readonly Cell[];
}

const empty: Cell = { text: '', tone: 'plain' };

/** The mark shows the selection without colour too. */
function Line({ marked, layout, cells }: LineProps): ReactElement {
  return (
    <Box height={1}>
      <Box width={mark} flexShrink={0}>
        <Text>{marked ? '›' : ' '}</Text>
      </Box>
      <Box gap={gap}>
        {layout.map(({ column, at, width }) => (
          <Box
            key={at}
            width={width}
            flexShrink={0}
            justifyContent={column.align === 'right' ? 'flex-end' : 'flex-start'}
          >
            <Toned cell={cells[at] ?? empty} strong={marked} />
          </Box>
        ))}
      </Box>
    </Box>
  );
}

const colors = { ok: 'green', warn: 'yellow', bad: 'red', accent: 'cyan' } as const;

export function Toned({ cell, strong = false }: { readonly cell: Cell; readonly strong?: boolean }): ReactElement {
  const color =
    cell.tone === 'plain' || cell.tone === 'strong' || cell.tone === 'dim' ? {} : { color: colors[cell.tone] };
  return (
    <Text wrap="truncate" {...color} bold={strong || cell.tone === 'strong'} dimColor={cell.tone === 'dim'}>
      {cell.text}
    </Text>
  );
}

import Table from 'cli-table3';

import type { Line, Palette } from './text.ts';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

const borderless = Object.fromEntries(
  [
    'top',
    'top-mid',
    'top-left',
    'top-right',
    'bottom',
    'bottom-mid',
    'bottom-left',
    'bottom-right',
    'left',
    'left-mid',
    'mid',
    'mid-mid',
    'right',
    'right-mid',
  ].map((part) => [part, '']),
);

/** A table without borders, two spaces between columns, as people pipe it into other tools. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly Line[])[], palette: Palette): string {
  const table = new Table({
    chars: { ...borderless, middle: '  ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colAligns: columns.map((column) => column.align ?? 'left'),
    head: columns.map((column) => palette.paint({ tone: 'dim', text: column.title })),
  });
  table.push(...rows.map((row) => row.map((cell) => palette.paint(cell))));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

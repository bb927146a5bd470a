import { Text } from 'ink';
import type { ReactElement } from 'react';

/** Text that is safe for a terminal, and how it is meant. */
export interface Cell {
  readonly text: string;
  readonly tone: 'plain' | 'strong' | 'dim' | 'ok' | 'warn' | 'bad' | 'accent';
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

export interface CellsProps {
  readonly cells: readonly Cell[];
  readonly strong?: boolean;
}

/** One line of the screen, as one text: a screen has few nodes to lay out, however many cells it has. */
export function Cells({ cells, strong = false }: CellsProps): ReactElement {
  const runs = joined(cells);
  return (
    <Text wrap="truncate" bold={strong}>
      {runs.every(({ text }) => text === '')
        ? ' '
        : runs.map((cell, at) => <Toned key={`${at} ${cell.tone}`} cell={cell} />)}
    </Text>
  );
}

/** Neighbours of one tone are one run; spaces have none. */
function joined(cells: readonly Cell[]): readonly Cell[] {
  const runs: Cell[] = [];
  for (const cell of cells) {
    const last = runs.at(-1);
    if (last !== undefined && (last.tone === cell.tone || cell.text.trim() === '')) {
      runs[runs.length - 1] = { tone: last.tone, text: last.text + cell.text };
    } else {
      runs.push(cell);
    }
  }
  return runs;
}

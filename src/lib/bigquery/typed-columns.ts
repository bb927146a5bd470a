import type { WarehouseColumns } from '../config/schema.ts';
import { DataPaths, scalarElements } from '../records/data-path.ts';
import { Span } from '../records/span.ts';
import { typeMatcher } from '../records/projection.ts';
import type { AnalyticsRow } from './analytics-row.ts';
import { readCell, type CellValue } from './cell.ts';
import { columns as ownColumns, rowDescriptor, sqlType, type Column, type RowDescriptor } from './columns.ts';

/** A declared column's value in one row; a column that has none is not among the row's cells. */
export interface Cell {
  readonly column: Column;
  /** In an encoded row. */
  readonly fieldNumber: number;
  /** One for each element of an array. */
  readonly values: readonly CellValue[];
}

export type Cells =
  | { readonly kind: 'cells'; readonly cells: readonly Cell[] }
  /** `message` names path, type and column, and quotes no value. */
  | { readonly kind: 'unfit'; readonly message: string };

/** The columns that kpipe.yaml declares by event type, ready to be filled from events. */
export interface TypedColumns {
  readonly declared: WarehouseColumns;
  readonly columns: readonly Column[];
  /** Of a row with them. */
  readonly descriptor: RowDescriptor;
  cellsOf(row: Pick<AnalyticsRow, 'type' | 'data'>): Cells;
}

interface Source {
  readonly column: Column;
  readonly fieldNumber: number;
  readonly path: readonly string[];
}

const noCells: Cells = { kind: 'cells', cells: [] };
/** Event types are producers' words: however many there are, memory stays bounded. */
const maxKnownTypes = 1000;

/** @param maxDepth how deep an event's data may nest: the role's limit, which it has passed already */
export function compileTypedColumns(declared: WarehouseColumns, maxDepth: number): TypedColumns {
  const columns = declaredColumns(declared);
  const sources = Object.entries(declared).flatMap(([pattern, byName]) => {
    const matches = typeMatcher([pattern]);
    return Object.entries(byName).map(([name, { from }]) => {
      const index = columns.findIndex((column) => column.name === name);
      return { matches, source: sourceOf(columns[index], index, from) };
    });
  });
  const known = new Map<string, readonly Source[]>();
  const sourcesOf = (type: Buffer): readonly Source[] => {
    const name = type.toString();
    const found = known.get(name);
    if (found !== undefined) {
      return found;
    }
    if (known.size >= maxKnownTypes) {
      known.clear();
    }
    const made = firstOfEach(
      sources.flatMap(({ matches, source }) => (source !== null && matches(name) ? [source] : [])),
    );
    known.set(name, made);
    return made;
  };
  const paths = new DataPaths(maxDepth, 'first');
  return {
    declared,
    columns,
    descriptor: rowDescriptor(columns),
    cellsOf: ({ type, data }) =>
      columns.length === 0 || data === null ? noCells : readCells(sourcesOf(type), data, paths),
  };
}

/** Each column once, in the order of its first declaration. */
export function declaredColumns(declared: WarehouseColumns | undefined): readonly Column[] {
  const found = new Map<string, Column>();
  for (const [pattern, byName] of Object.entries(declared ?? {})) {
    for (const [name, { from, type }] of Object.entries(byName)) {
      const description = `${from} of ${pattern}, by kpipe.yaml`;
      found.set(name, found.get(name) ?? { name, ...columnType(type), description });
    }
  }
  return [...found.values()];
}

/** `ARRAY<INT64>` as a schema tells it. */
function columnType(type: string): Pick<Column, 'type' | 'mode'> {
  const element = /^ARRAY<(\w+)>$/.exec(type)?.[1];
  return { type: (element ?? type) as Column['type'], mode: element === undefined ? 'NULLABLE' : 'REPEATED' };
}

function sourceOf(column: Column | undefined, index: number, from: string): Source | null {
  return column === undefined
    ? null
    : { column, fieldNumber: ownColumns.length + index + 1, path: from.split('.').slice(1) };
}

/** Of several patterns that match a type and fill the same column, the first one in the file does. */
function firstOfEach(sources: readonly Source[]): readonly Source[] {
  return sources.filter((source, index) => sources.findIndex(({ column }) => column === source.column) === index);
}

function readCells(sources: readonly Source[], data: Buffer, paths: DataPaths): Cells {
  if (sources.length === 0) {
    return noCells;
  }
  const cells: Cell[] = [];
  const whole = Span.of(data);
  for (const { column, fieldNumber, path } of sources) {
    const place = paths.find(whole, path);
    if (place === undefined || place.kind === 'null') {
      continue;
    }
    const isArray = column.mode === 'REPEATED';
    const places = isArray
      ? place.kind === 'array'
        ? scalarElements(data, place.valueStart, place.valueEnd)
        : null
      : [place];
    // BigQuery's arrays hold no NULL, and leaving one out would move the others.
    const values = places?.map((each) => (each.kind === 'null' ? undefined : readCell(column.type, data, each)));
    if (values === undefined || !areAllRead(values)) {
      const from = ['data', ...path].join('.');
      return { kind: 'unfit', message: `${from} is no ${sqlType(column)}: column ${column.name}` };
    }
    if (values.length > 0) {
      cells.push({ column, fieldNumber, values });
    }
  }
  return { kind: 'cells', cells };
}

function areAllRead(values: readonly (CellValue | undefined)[]): values is readonly CellValue[] {
  return !values.includes(undefined);
}

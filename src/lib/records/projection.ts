import type { ColumnType, ProjectionConfig } from '../config/schema.ts';
import { DataPaths } from './data-path.ts';
import { dead, type Decoded } from './decoded.ts';
import type { EventRow } from './event.ts';
import type { Member } from './json-scan.ts';
import { decodeJsonString } from './text.ts';
import { parseEpochMs, parseRfc3339, type Timestamp } from './timestamp.ts';

/** What one event does to one row of an operational table. Values are in PostgreSQL's text form, checked here. */
export interface ProjectionChange {
  /** Index into the role's projections. */
  readonly projection: number;
  readonly kind: 'upsert' | 'delete';
  readonly key: readonly string[];
  /** In the order of the configuration; null where the event has no value: an upsert replaces the whole row. */
  readonly columns: readonly (string | null)[];
  readonly offset: bigint;
  /** The row after it, columns by name, where other projections write some of them too. */
  readonly row?: Readonly<Record<string, string | null>>;
}

export type Projector = (event: EventRow) => Decoded<readonly ProjectionChange[]>;

/** btree's limit is 2,704 bytes an entry. */
const maxKeyBytes = 2600;
const noChanges: Decoded<readonly ProjectionChange[]> = { kind: 'row', row: [] };

interface Column {
  readonly name: string;
  readonly path: readonly string[];
  readonly type: ColumnType;
}

interface CompiledProjection {
  readonly index: number;
  readonly table: string;
  readonly matches: (type: string, source: string) => boolean;
  readonly deletes: (type: string) => boolean;
  readonly key: readonly Column[];
  readonly columns: readonly Column[];
}

/** Compiles the configured projections into a function from an event to its changes, or to a dead letter. */
export function createProjector(
  projections: readonly ProjectionConfig[],
  limits: { readonly maxDepth: number },
): Projector {
  const compiled = projections.map(compile);
  const lookup = new ValueLookup(limits.maxDepth);
  return (event) => {
    if (compiled.length === 0) {
      return noChanges;
    }
    const type = event.type.toString();
    const source = event.source.toString();
    const changes: ProjectionChange[] = [];
    for (const projection of compiled) {
      if (projection.matches(type, source)) {
        const change = changeOf(projection, event, type, lookup);
        if (change.kind === 'dead') {
          return change;
        }
        changes.push(change.row);
      }
    }
    return changes.length === 0 ? noChanges : { kind: 'row', row: changes };
  };
}

function compile(config: ProjectionConfig, index: number): CompiledProjection {
  const columnsOf = (columns: ProjectionConfig['columns']): Column[] =>
    Object.entries(columns).map(([name, { from, type }]) => ({ name, path: from.split('.'), type }));
  const matchesType = typeMatcher([config.match.type]);
  return {
    index,
    table: config.table,
    matches: (type, source) =>
      matchesType(type) && (config.match.source === undefined || config.match.source === source),
    deletes: typeMatcher(config.deleteOn),
    key: columnsOf(config.key),
    columns: columnsOf(config.columns),
  };
}

/** Whether a type is one of these; `order.*` stands for all that begin so. */
export function typeMatcher(patterns: readonly string[]): (type: string) => boolean {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('*')));
  const prefixes = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  return (type) => exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix));
}

function changeOf(
  projection: CompiledProjection,
  event: EventRow,
  type: string,
  lookup: ValueLookup,
): Decoded<ProjectionChange> {
  const isDelete = projection.deletes(type);
  const key: string[] = [];
  for (const column of projection.key) {
    const value = lookup.value(event, column);
    if (value === null || value === wrongType) {
      return dead(
        'projection_type',
        `${column.path.join('.')} ${value === null ? 'is missing' : `is no ${column.type}`}: the key ${column.name} of ${projection.table}`,
      );
    }
    key.push(value);
  }
  if (key.reduce((sum, part) => sum + Buffer.byteLength(part), 0) > maxKeyBytes) {
    return dead('projection_type', `the key of ${projection.table} has more than ${maxKeyBytes} bytes`);
  }
  const columns: (string | null)[] = [];
  for (const column of isDelete ? [] : projection.columns) {
    const value = lookup.value(event, column);
    if (value === wrongType) {
      return dead(
        'projection_type',
        `${column.path.join('.')} is no ${column.type}: column ${column.name} of ${projection.table}`,
      );
    }
    columns.push(value);
  }
  return {
    kind: 'row',
    row: { projection: projection.index, kind: isDelete ? 'delete' : 'upsert', key, columns, offset: event.offset },
  };
}

const wrongType = Symbol('wrong type');

/** Finds values in an event by path. The members of `data` are scanned once an event. */
class ValueLookup {
  readonly #paths: DataPaths;

  constructor(maxDepth: number) {
    this.#paths = new DataPaths(maxDepth, 'last');
  }

  /** The value as text of the column's type, null when there is none (or JSON null). */
  value(event: EventRow, column: Column): string | null | typeof wrongType {
    const [root, ...path] = column.path;
    switch (root) {
      case 'id':
      case 'source':
      case 'type':
        return checkedText(event[root].toString(), column.type);
      case 'subject':
        return event.subject === null ? null : checkedText(event.subject.toString(), column.type);
      case 'time':
        return timeText(event.time, column.type);
      default:
        return this.#inData(event, path, column.type);
    }
  }

  #inData(event: EventRow, path: readonly string[], type: ColumnType): string | null | typeof wrongType {
    const { data } = event;
    if (data === null) {
      return null;
    }
    if (path.length === 0) {
      return type === 'jsonb' ? data.toString() : wrongType;
    }
    const member = this.#paths.find(data, path);
    return member === undefined ? null : memberText(data.bytes, member, type);
  }
}

function memberText(bytes: Buffer, member: Member, type: ColumnType): string | null | typeof wrongType {
  if (member.kind === 'null') {
    return type === 'jsonb' ? 'null' : null;
  }
  const raw = bytes.toString('utf8', member.valueStart, member.valueEnd);
  switch (type) {
    case 'jsonb':
      return raw;
    case 'boolean':
      return member.kind === 'true' || member.kind === 'false' ? raw : wrongType;
    case 'bigint':
      return member.kind === 'number' ? integerText(raw, 63n) : wrongType;
    case 'integer':
      return member.kind === 'number' ? integerText(raw, 31n) : wrongType;
    case 'numeric':
      return member.kind === 'number' ? raw : wrongType;
    case 'double precision':
      return member.kind === 'number' ? doubleText(raw) : wrongType;
    case 'timestamptz':
      return member.kind === 'number'
        ? timeText(parseEpochMs(raw), type)
        : member.kind === 'string'
          ? checkedText(decodeJsonString(bytes, member.valueStart, member.valueEnd, member.escaped), type)
          : wrongType;
    default:
      return member.kind === 'string'
        ? checkedText(decodeJsonString(bytes, member.valueStart, member.valueEnd, member.escaped), type)
        : wrongType;
  }
}

/** What a double holds, which PostgreSQL refuses to make of 1e400 or 1e-400, too. */
function doubleText(raw: string): string | typeof wrongType {
  const value = Number(raw);
  const isLost = !Number.isFinite(value) || (value === 0 && /^[^eE]*[1-9]/.test(raw));
  return isLost ? wrongType : String(value);
}

/** A JSON integer that fits into `bits` bits and a sign. */
function integerText(raw: string, bits: bigint): string | typeof wrongType {
  if (!/^-?\d{1,19}$/.test(raw)) {
    return wrongType;
  }
  const value = BigInt(raw);
  return value >= -(1n << bits) && value < 1n << bits ? value.toString() : wrongType;
}

/** A string as the column's type. */
function checkedText(text: string, type: ColumnType): string | typeof wrongType {
  switch (type) {
    case 'text':
      return text;
    case 'uuid':
      return /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(text) ? text.toLowerCase() : wrongType;
    case 'date':
      return typeof parseRfc3339(`${text}T00:00:00Z`) === 'string' ? wrongType : inPostgres(text);
    case 'timestamptz':
      return timeText(parseRfc3339(text), type);
    case 'jsonb':
      return JSON.stringify(text);
    default:
      return wrongType;
  }
}

function timeText(time: Timestamp | string, type: ColumnType): string | typeof wrongType {
  if (typeof time === 'string' || Number.isNaN(new Date(time.ms).getTime())) {
    return wrongType;
  }
  const iso = new Date(time.ms).toISOString();
  switch (type) {
    case 'timestamptz':
      return inPostgres(`${iso.slice(0, -1)}${String(time.micros).padStart(3, '0')}Z`);
    case 'date':
      return inPostgres(iso.slice(0, iso.indexOf('T')));
    case 'text':
      return iso;
    default:
      return wrongType;
  }
}

/**
 * ISO 8601 as PostgreSQL reads it: ISO's year 0000 is 1 BC there. ISO years outside 0–9999 have a sign and six digits,
 * which it would misread.
 */
function inPostgres(iso: string): string | typeof wrongType {
  if (iso.startsWith('0000-')) {
    return `0001${iso.slice(4)} BC`;
  }
  return /^\d{4}-/.test(iso) ? iso : wrongType;
}

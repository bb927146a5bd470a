import type { RecordHeader } from '../ports.ts';
import { isBinaryMode } from '../records/event.ts';
import { textStart } from '../records/text.ts';
import { parseNumber } from './numbers.ts';
import { memberOf, parseJson, type Members, type Value } from './values.ts';

/** What `--where` is asked of. A `SourceRecord` with its topic and partition is one. */
export interface WhereRecord {
  readonly topic: string;
  /** null: not known yet, as of a record that is still to be produced. */
  readonly partition: number | null;
  readonly offset: bigint | null;
  readonly timestampMs: number | null;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
}

/** The kinds of variables: what the compiler knows of their values. `any`: whatever the record's JSON says. */
export type VariableKind = 'text' | 'number' | 'object' | 'any';

/** A variable: how it is read from a record. */
export interface Variable<Kind extends WhereRecord> {
  readonly kind: VariableKind;
  readonly read: (record: Kind) => Value;
}

export type Variables<Kind extends WhereRecord> = Readonly<Record<string, Variable<Kind>>>;

/** What every record has. `json` is its value as JSON; the attributes are an event's, in any of CloudEvents' modes. */
export function recordVariables(): Variables<WhereRecord> {
  const json = remembered((record) => jsonOf(record.value));
  const headers = remembered((record) => headersOf(record.headers));
  const binary = remembered((record) => isBinaryMode(record));
  const attribute = (name: string): Variable<WhereRecord> => ({
    kind: 'any',
    read: (record) => (binary(record) ? memberOf(headers(record), `ce_${name}`) : memberOf(json(record), name)),
  });
  return {
    key: { kind: 'text', read: ({ key }) => textOf(key) },
    value: { kind: 'text', read: ({ value }) => textOf(value) },
    headers: { kind: 'object', read: headers },
    topic: { kind: 'text', read: ({ topic }) => topic },
    partition: { kind: 'number', read: ({ partition }) => partition },
    offset: {
      kind: 'number',
      read: ({ offset }) => (offset === null ? null : (parseNumber(offset.toString()) ?? null)),
    },
    timestamp: { kind: 'number', read: ({ timestampMs }) => timestampMs },
    json: { kind: 'any', read: json },
    id: attribute('id'),
    source: attribute('source'),
    type: attribute('type'),
    subject: attribute('subject'),
    time: attribute('time'),
    data: { kind: 'any', read: (record) => (binary(record) ? json(record) : memberOf(json(record), 'data')) },
  };
}

/** Several variables of an expression look at the same record: it is taken apart once. */
function remembered<Result>(read: (record: WhereRecord) => Result): (record: WhereRecord) => Result {
  let of: WhereRecord | undefined;
  let result: Result | undefined;
  return (record) => {
    if (of !== record || result === undefined) {
      result = read(record);
      of = record;
    }
    return result;
  };
}

function jsonOf(value: Buffer | null): Value {
  const start = value === null ? null : textStart(value);
  return value === null || start === null ? null : (parseJson(value.toString('utf8', start)) ?? null);
}

/** Of headers with one name the last one counts, as for Kafka's own clients. */
function headersOf(headers: readonly RecordHeader[]): Members {
  return Object.fromEntries(headers.map(([name, value]) => [name, textOf(value)]));
}

function textOf(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString();
}

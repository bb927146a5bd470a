import { deadBy, type Decoded } from './decoded.ts';
import { storableSlice, type JsonScanner, type Member } from './json-scan.ts';
import { emptyObject, type LogLine } from './log-line.ts';
import {
  severityFromLevel,
  severityFromName,
  severityFromOtel,
  unspecifiedSeverity,
  type Severity,
} from './severity.ts';
import { decodeJsonString, keyOf, storableText } from './text.ts';
import { parseEpoch, parseRfc3339, type EpochUnit, type Timestamp, type TimestampFault } from './timestamp.ts';

/** The names that the loggers in use give to one meaning; the first that is there wins. */
const fields = {
  time: ['time', 'timestamp', '@timestamp', 'ts', 'timeUnixNano', 'observedTimeUnixNano'],
  severity: ['severity', 'level', 'log.level', 'levelname', 'severityText', 'severityNumber'],
  service: ['service', 'service.name', 'service_name', 'app', 'application', 'name'],
  body: ['message', 'msg', 'body', 'event', 'log'],
  traceId: ['trace_id', 'traceId', 'trace.id', 'traceID', 'trace'],
  spanId: ['span_id', 'spanId', 'span.id', 'spanID', 'span'],
  attributes: ['attributes'],
  resource: ['resource'],
} as const;
type Field = keyof typeof fields;
const fieldNames = [
  'time',
  'severity',
  'service',
  'body',
  'traceId',
  'spanId',
  'attributes',
  'resource',
] as const satisfies readonly Field[];

const fieldOf: ReadonlyMap<string, { readonly field: Field; readonly rank: number }> = new Map(
  fieldNames.flatMap((field) => fields[field].map((name, rank) => [name, { field, rank }] as const)),
);

type Found = Partial<Record<Field, { readonly member: Member; readonly rank: number; readonly name: string }>>;

/** One JSON object as one line; the scanner has just scanned it. What has no place of its own goes to attributes. */
export function decodeLogObject(value: Buffer, scanner: JsonScanner): Decoded<readonly LogLine[]> {
  const members = scanner.members.slice(0, scanner.memberCount).map((member) => ({ ...member }));
  const escapes = [...scanner.unstorableEscapes];
  const found = findFields(value, members);
  // An object is more than the name or id in it (`service: {name, version}`): it stays among the attributes too.
  const named = [found.service, found.traceId, found.spanId].filter((entry) => entry?.member.kind === 'object');
  const taken = new Set(Object.values(found).flatMap((entry) => (named.includes(entry) ? [] : [entry.member])));
  const object: LogObject = { value, escapes, found };
  const time = timeOf(object);
  if (typeof time === 'string') {
    return deadBy(time);
  }
  const level = memberOf(object, 'severity');
  const rest = members.filter((entry) => !taken.has(entry));
  return {
    kind: 'row',
    row: [
      {
        time,
        severity: level === undefined ? nestedSeverity(object, members) : severityOf(object, level),
        service: nameOf(object, 'service'),
        traceId: nameOf(object, 'traceId'),
        spanId: nameOf(object, 'spanId'),
        body: bodyOf(object),
        attributes: attributesOf(object, rest),
        resource: objectText(object, 'resource') ?? emptyObject,
        unstructured: false,
        sanitised: escapes.length > 0,
      },
    ],
  };
}

interface LogObject {
  readonly value: Buffer;
  readonly escapes: readonly number[];
  readonly found: Found;
}

function findFields(value: Buffer, members: readonly Member[]): Found {
  const found: Found = {};
  for (const entry of members) {
    const name = keyOf(value, entry);
    const known = fieldOf.get(name);
    if (known === undefined || !fits(known.field, entry)) {
      continue;
    }
    const before = found[known.field];
    if (before === undefined || known.rank <= before.rank) {
      found[known.field] = { member: entry, rank: known.rank, name };
    }
  }
  return found;
}

/** Whether a value can mean the field at all; if not it stays an attribute. `service: {name}` is ECS. */
function fits(field: Field, entry: Member): boolean {
  switch (field) {
    case 'time':
      return entry.kind !== 'null';
    case 'severity':
      return entry.kind === 'string' || entry.kind === 'number';
    case 'service':
    case 'traceId':
    case 'spanId':
      return entry.kind === 'string' || entry.kind === 'object';
    case 'body':
      return entry.kind !== 'null';
    case 'attributes':
    case 'resource':
      return entry.kind === 'object';
  }
}

function memberOf(object: LogObject, field: Field): Member | undefined {
  return object.found[field]?.member;
}

function textOf(object: LogObject, entry: Member): string {
  return entry.kind === 'string'
    ? decodeJsonString(object.value, entry.valueStart, entry.valueEnd, entry.escaped)
    : storableSlice(object.value, entry.valueStart, entry.valueEnd, object.escapes).toString();
}

function timeOf(object: LogObject): Timestamp | null | TimestampFault {
  const entry = object.found.time;
  if (entry === undefined) {
    return null;
  }
  const text = textOf(object, entry.member);
  if (entry.name.endsWith('UnixNano')) {
    // OTLP's own name in a flat object. 0 is its word for a time that nobody knows.
    return /^\d{1,20}$/.test(text) ? (/^0+$/.test(text) ? null : parseEpoch(text, 'ns')) : 'invalid_timestamp';
  }
  if (entry.member.kind === 'string') {
    return parseRfc3339(text);
  }
  return entry.member.kind === 'number' ? parseEpoch(text, epochUnit(Number(text))) : 'invalid_timestamp';
}

/**
 * pino counts milliseconds, zap and GELF seconds, others micro- and nanoseconds, all under the same names. A unit is told by
 * the size: each range is 1973 to 5138 in its own unit, and no log is from before. Nothing is a log's time beyond int64.
 */
function epochUnit(value: number): EpochUnit {
  const size = Math.abs(value);
  return size < 1e11 ? 's' : size < 1e14 ? 'ms' : size < 1e17 ? 'us' : size < 2 ** 63 ? 'ns' : 'ms';
}

function severityOf(object: LogObject, entry: Member): Severity {
  const text = textOf(object, entry);
  if (object.found.severity?.name === 'severityNumber') {
    return severityFromOtel(text);
  }
  return entry.kind === 'number' ? severityFromLevel(Number(text)) : severityFromName(text);
}

/** ECS without dots: `log: {level}`. */
function nestedSeverity(object: LogObject, members: readonly Member[]): Severity {
  const log = members.findLast((entry) => entry.kind === 'object' && keyOf(object.value, entry) === 'log');
  const inner: unknown = log === undefined ? undefined : JSON.parse(textOf(object, log));
  const level = isRecord(inner) ? inner['level'] : undefined;
  return typeof level === 'string' ? severityFromName(storableText(level)) : unspecifiedSeverity;
}

/** A string, or the `name` or `id` of an object (ECS nests `service: {name}`, `trace: {id}`). */
function nameOf(object: LogObject, field: 'service' | 'traceId' | 'spanId'): string | null {
  const entry = memberOf(object, field);
  if (entry === undefined) {
    return null;
  }
  const text = textOf(object, entry);
  if (entry.kind === 'string') {
    return text;
  }
  const inner: unknown = JSON.parse(text);
  const name = isRecord(inner) ? (inner['name'] ?? inner['id']) : undefined;
  return typeof name === 'string' ? storableText(name) : null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The message; without one, the whole object's text, so that a search still finds it. */
function bodyOf(object: LogObject): string {
  const entry = memberOf(object, 'body');
  return entry === undefined
    ? storableSlice(object.value, 0, object.value.length, object.escapes).toString().trim()
    : textOf(object, entry);
}

function objectText(object: LogObject, field: 'attributes' | 'resource'): Buffer | undefined {
  const entry = memberOf(object, field);
  return entry === undefined
    ? undefined
    : storableSlice(object.value, entry.valueStart, entry.valueEnd, object.escapes);
}

/** `attributes` itself, with every member that has no place of its own put beside its own ones. */
function attributesOf(object: LogObject, rest: readonly Member[]): Buffer {
  const own = objectText(object, 'attributes');
  if (rest.length === 0) {
    return own ?? emptyObject;
  }
  const parts: Buffer[] = [];
  for (const entry of rest) {
    parts.push(Buffer.from(parts.length === 0 ? '{' : ','));
    parts.push(object.value.subarray(entry.keyStart, entry.keyEnd), Buffer.from(':'));
    parts.push(storableSlice(object.value, entry.valueStart, entry.valueEnd, object.escapes));
  }
  const inner = own?.toString().trim().slice(1, -1).trim() ?? '';
  parts.push(Buffer.from(inner === '' ? '}' : `,${inner}}`));
  return Buffer.concat(parts);
}

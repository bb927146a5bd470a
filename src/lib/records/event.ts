import { isUtf8 } from 'node:buffer';

import type { SourceRecord } from '../ports.ts';
import { dead, deadBy, type Decoded } from './decoded.ts';
import { JsonScanner, storableSlice, type Member } from './json-scan.ts';
import { Span } from './span.ts';
import { decodeJsonString, keyOf, scanValue, storableText } from './text.ts';
import { isStorableMs, parseEpochMs, parseRfc3339Bytes, type Timestamp, type TimestampFault } from './timestamp.ts';

/**
 * An event as it is stored: CloudEvents 1.0 in structured or binary mode, or bare JSON with the same attribute names.
 * Texts are UTF-8 bytes that stand in the record's value wherever they can, so that the hot path copies bytes and makes
 * neither strings nor views.
 */
export interface EventRow {
  readonly offset: bigint;
  /** Kafka's timestamp. */
  readonly recordTimeMs: number;
  readonly id: Span;
  readonly source: Span;
  readonly type: Span;
  readonly subject: Span | null;
  readonly time: Timestamp;
  /** JSON text, verbatim but for escapes that PostgreSQL cannot store; null when the event has no data. */
  readonly data: Span | null;
  /** JSON text of the attributes that CloudEvents does not define, or null when there are none. */
  readonly extensions: Span | null;
  readonly key: Buffer | null;
  /** The record's value as it came, kept where `data` had to be altered to be storable. */
  readonly raw: Buffer | null;
}

export interface EventDecoderOptions {
  readonly defaultSource: string;
  readonly limits: { readonly maxValueBytes: number; readonly maxDepth: number; readonly maxHeaders: number };
}

export type EventDecoder = (record: SourceRecord) => Decoded<EventRow>;

const maxIdBytes = 512;
/** Of `type` and `subject`. */
const maxAttributeBytes = 2048;

/** A decoder with its own scanner: one a role, records one after another. */
export function createEventDecoder(options: EventDecoderOptions): EventDecoder {
  const scanner = new JsonScanner(options.limits);
  const defaultSource = Span.of(Buffer.from(options.defaultSource));
  const context: DecodeContext = { scanner, defaultSource };
  return (record) => {
    const { value } = record;
    if (record.headers.length > options.limits.maxHeaders) {
      return dead('too_many_headers', `the record has ${record.headers.length} headers`);
    }
    if (value !== null && value.length > options.limits.maxValueBytes) {
      return dead('too_large', `the value has ${value.length} bytes`);
    }
    return record.headers.length > 0 && isBinaryMode(record)
      ? decodeBinaryMode(record, context)
      : decodeStructured(record, context);
  };
}

interface DecodeContext {
  readonly scanner: JsonScanner;
  readonly defaultSource: Span;
}

/** What both modes gather before the common rules apply. undefined: absent. */
interface Attributes {
  id?: Span;
  source?: Span;
  type?: Span;
  subject?: Span;
  time?: Timestamp | TimestampFault;
  data?: Span;
  extensions?: Span;
  altered?: boolean;
}

function decodeStructured(record: SourceRecord, { scanner, defaultSource }: DecodeContext): Decoded<EventRow> {
  const { value } = record;
  if (value === null) {
    return deadBy('null_value');
  }
  const fault = scanValue(scanner, value);
  if (fault !== null) {
    return deadBy(fault);
  }
  if (scanner.kind !== 'object') {
    return dead('schema', `the value is a JSON ${scanner.kind}, not an object`);
  }
  const gathered: Attributes = {};
  const problem = gatherMembers(value, scanner, gathered);
  return problem ?? finish(record, gathered, defaultSource);
}

function gatherMembers(value: Buffer, scanner: JsonScanner, into: Attributes): Decoded<never> | null {
  let extensions: Member[] | null = null;
  for (let index = 0; index < scanner.memberCount; index += 1) {
    const member = scanner.members[index];
    if (member === undefined) {
      break;
    }
    const outcome = takeMember(attributeOf(value, member), member, value, scanner, into);
    if (outcome === 'extension') {
      extensions ??= [];
      extensions.push(member);
    } else if (outcome !== null) {
      return outcome;
    }
  }
  into.altered = scanner.unstorableEscapes.length > 0;
  if (extensions !== null) {
    into.extensions = Span.of(joinMembers(value, extensions, scanner.unstorableEscapes));
  }
  return null;
}

const attributes = [
  'id',
  'source',
  'type',
  'subject',
  'time',
  'data',
  'data_base64',
  'specversion',
  'datacontenttype',
] as const;
type Attribute = (typeof attributes)[number];

/** By length and second letter, no two attributes are alike: no string is made for a name. */
const byLengthAndLetter = new Map(attributes.map((name) => [name.length * 256 + name.charCodeAt(1), name]));

/** Which of the attributes that are read here the member is; null: none of them. */
function attributeOf(value: Buffer, member: Member): Attribute | null {
  if (member.keyEscaped) {
    const key = keyOf(value, member);
    return attributes.find((name) => name === key) ?? null;
  }
  const start = member.keyStart + 1;
  const length = member.keyEnd - 1 - start;
  const name = byLengthAndLetter.get(length * 256 + (value[start + 1] ?? 0));
  return name !== undefined && standsAt(value, start, name) ? name : null;
}

function standsAt(value: Buffer, start: number, name: string): boolean {
  for (let index = 0; index < name.length; index += 1) {
    if (value[start + index] !== name.charCodeAt(index)) {
      return false;
    }
  }
  return true;
}

function takeMember(
  name: Attribute | null,
  member: Member,
  value: Buffer,
  scanner: JsonScanner,
  into: Attributes,
): Decoded<never> | 'extension' | null {
  switch (name) {
    case 'id':
    case 'source':
      return takeIdentity(name, member, value, scanner, into);
    case 'type':
    case 'subject':
      if (member.kind === 'null') {
        return null;
      }
      if (member.kind !== 'string') {
        return dead('schema', `${name} is a JSON ${member.kind}, not a string`);
      }
      into[name] = stringSpan(value, member);
      return null;
    case 'time':
      if (member.kind === 'null') {
        return null;
      }
      if (member.kind !== 'string' && member.kind !== 'number') {
        return dead('schema', `time is a JSON ${member.kind}, not a string or a number`);
      }
      into.time = timeOf(value, member);
      return null;
    case 'data':
      into.data = dataSpan(value, member, scanner);
      return null;
    case 'data_base64':
      into.data ??= dataSpan(value, member, scanner);
      return 'extension';
    case 'specversion':
    case 'datacontenttype':
      return null;
    case null:
      return 'extension';
  }
}

function timeOf(value: Buffer, member: Member): Timestamp | TimestampFault {
  if (member.kind === 'number') {
    return parseEpochMs(value.toString('latin1', member.valueStart, member.valueEnd));
  }
  const { bytes, start, end } = stringSpan(value, member);
  return parseRfc3339Bytes(bytes, start, end);
}

function takeIdentity(
  name: 'id' | 'source',
  member: Member,
  value: Buffer,
  scanner: JsonScanner,
  into: Attributes,
): Decoded<never> | null {
  if (name === 'source' && member.kind === 'null') {
    return null;
  }
  if (member.kind !== 'string') {
    return dead('schema', `${name} is a JSON ${member.kind}, not a string`);
  }
  if (hasEscapeInside(scanner, member)) {
    return dead('invalid_id', `${name} holds U+0000 or a lone surrogate`);
  }
  const text = stringSpan(value, member);
  const before = into[name];
  if (before !== undefined && !before.equals(text)) {
    return dead('ambiguous_id', `the object has two different values for ${name}`);
  }
  into[name] = text;
  return null;
}

function hasEscapeInside(scanner: JsonScanner, member: Member): boolean {
  return scanner.unstorableEscapes.some((at) => at >= member.valueStart && at < member.valueEnd);
}

function stringSpan(value: Buffer, { escaped, valueStart, valueEnd }: Member): Span {
  return escaped
    ? Span.of(Buffer.from(decodeJsonString(value, valueStart, valueEnd, true)))
    : new Span(value, valueStart + 1, valueEnd - 1);
}

function dataSpan(value: Buffer, { valueStart, valueEnd }: Member, { unstorableEscapes }: JsonScanner): Span {
  return unstorableEscapes.length === 0
    ? new Span(value, valueStart, valueEnd)
    : Span.of(storableSlice(value, valueStart, valueEnd, unstorableEscapes));
}

/** `{"a":1,"b":2}` of the members' own text. */
function joinMembers(value: Buffer, members: readonly Member[], escapes: readonly number[]): Buffer {
  const parts: Buffer[] = [];
  for (const member of members) {
    parts.push(Buffer.from(parts.length === 0 ? '{' : ','));
    parts.push(value.subarray(member.keyStart, member.keyEnd), Buffer.from(':'));
    parts.push(storableSlice(value, member.valueStart, member.valueEnd, escapes));
  }
  parts.push(Buffer.from('}'));
  return Buffer.concat(parts);
}

/** Binary mode: the attributes are headers `ce_*`, the value is the data. */
export function isBinaryMode(record: Pick<SourceRecord, 'headers'>): boolean {
  let structured = false;
  let binary = false;
  for (const [name, value] of record.headers) {
    if (name === 'ce_id' || name === 'ce_specversion') {
      binary = true;
    } else if (value !== null && name.toLowerCase() === 'content-type') {
      structured = value.toString('latin1', 0, 23).toLowerCase() === 'application/cloudevents';
    }
  }
  return binary && !structured;
}

function decodeBinaryMode(record: SourceRecord, { scanner, defaultSource }: DecodeContext): Decoded<EventRow> {
  const gathered: Attributes = {};
  const extensions = new Map<string, string>();
  let contentType = 'application/json';
  for (const [name, value] of record.headers) {
    if (value === null) {
      continue;
    }
    if (name.toLowerCase() === 'content-type') {
      contentType = value.toString('latin1').toLowerCase();
    }
    const problem = name.startsWith('ce_') ? takeHeader(name.slice(3), value, gathered, extensions) : null;
    if (problem !== null) {
      return problem;
    }
  }
  if (extensions.size > 0) {
    gathered.extensions = Span.of(Buffer.from(JSON.stringify(Object.fromEntries(extensions))));
  }
  // No bytes are no data, whatever the content type.
  const hasBody = record.value !== null && record.value.length > 0;
  const problem = hasBody ? takeBody(record.value, contentType, scanner, gathered) : null;
  return problem ?? finish(record, gathered, defaultSource);
}

function takeHeader(
  name: string,
  value: Buffer,
  into: Attributes,
  extensions: Map<string, string>,
): Decoded<never> | null {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(value);
  } catch {
    return dead('invalid_utf8', `the header ce_${name} is not UTF-8`);
  }
  switch (name) {
    case 'id':
    case 'source':
      if (text.includes('\u0000')) {
        return dead('invalid_id', `${name} holds U+0000`);
      }
      if (into[name] !== undefined && !into[name].equals(Span.of(value))) {
        return dead('ambiguous_id', `the record has two different headers ce_${name}`);
      }
      into[name] = Span.of(value);
      return null;
    case 'type':
    case 'subject':
      into[name] = Span.of(Buffer.from(storable(text, into)));
      return null;
    case 'time':
      into.time = parseRfc3339Bytes(value, 0, value.length);
      return null;
    case 'specversion':
      return null;
    default:
      extensions.set(storable(name, into), storable(text, into));
      return null;
  }
}

/** A header's text, storable; that it was not is remembered. */
function storable(text: string, into: Attributes): string {
  const kept = storableText(text);
  into.altered ||= kept !== text;
  return kept;
}

/** JSON stays JSON; other text becomes a JSON string, other bytes a JSON string of base64. */
function takeBody(value: Buffer, contentType: string, scanner: JsonScanner, into: Attributes): Decoded<never> | null {
  const isJson = /^(?:application|text)\/(?:[^;]*\+)?json\b/.test(contentType);
  if (!isJson) {
    const isText = contentType.startsWith('text/');
    if (isText && !isUtf8(value)) {
      return deadBy('invalid_utf8');
    }
    const text = isText ? storable(value.toString(), into) : value.toString('base64');
    into.data = Span.of(Buffer.from(JSON.stringify(text)));
    return null;
  }
  const fault = scanValue(scanner, value);
  if (fault !== null) {
    return deadBy(fault);
  }
  into.data = Span.of(storableSlice(value, value[0] === 0xef ? 3 : 0, value.length, scanner.unstorableEscapes));
  into.altered ||= scanner.unstorableEscapes.length > 0;
  return null;
}

/** The rules that hold in both modes. */
function finish(record: SourceRecord, gathered: Attributes, defaultSource: Span): Decoded<EventRow> {
  const { id, type, source = defaultSource, subject = null } = gathered;
  if (id === undefined) {
    return dead('schema', 'id is missing');
  }
  if (type === undefined || type.length === 0) {
    return dead('schema', 'type is missing');
  }
  if (id.length === 0 || id.length > maxIdBytes) {
    return dead('invalid_id', id.length === 0 ? 'id is empty' : `id has ${id.length} bytes, at most ${maxIdBytes}`);
  }
  if (source.length === 0 || source.length > maxIdBytes) {
    return dead('invalid_id', `source has ${source.length} bytes, 1 to ${maxIdBytes} are allowed`);
  }
  if (type.length > maxAttributeBytes || (subject?.length ?? 0) > maxAttributeBytes) {
    return dead('schema', `type and subject have at most ${maxAttributeBytes} bytes`);
  }
  const time = gathered.time ?? { ms: record.timestampMs, micros: 0 };
  if (typeof time === 'string') {
    return deadBy(time);
  }
  if (!isStorableMs(record.timestampMs)) {
    return deadBy('timestamp_range');
  }
  return {
    kind: 'row',
    row: {
      offset: record.offset,
      recordTimeMs: record.timestampMs,
      id,
      source,
      type,
      subject,
      time,
      data: gathered.data ?? null,
      extensions: gathered.extensions ?? null,
      key: record.key,
      raw: gathered.altered === true ? record.value : null,
    },
  };
}

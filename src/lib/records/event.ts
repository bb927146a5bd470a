import type { SourceRecord } from '../ports.ts';
import { dead, deadBy, type Decoded } from './decoded.ts';
import { JsonScanner, storableSlice, type Member } from './json-scan.ts';
import { decodeJsonString, keyOf, scanValue, storableText } from './text.ts';
import { isStorableMs, parseEpochMs, parseRfc3339, type Timestamp } from './timestamp.ts';

/**
 * An event as it is stored: CloudEvents 1.0 in structured or binary mode, or bare JSON with the same attribute names.
 * Texts are UTF-8 bytes that stand in the record's value wherever they can, so that the hot path copies bytes and makes
 * no strings.
 */
export interface EventRow {
  readonly offset: bigint;
  /** Kafka's timestamp. */
  readonly recordTimeMs: number;
  readonly id: Buffer;
  readonly source: Buffer;
  readonly type: Buffer;
  readonly subject: Buffer | null;
  readonly time: Timestamp;
  /** JSON text, verbatim but for escapes that PostgreSQL cannot store; null when the event has no data. */
  readonly data: Buffer | null;
  /** JSON text of the attributes that CloudEvents does not define, or null when there are none. */
  readonly extensions: Buffer | null;
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
  const defaultSource = Buffer.from(options.defaultSource);
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
  readonly defaultSource: Buffer;
}

/** What both modes gather before the common rules apply. undefined: absent. */
interface Attributes {
  id?: Buffer;
  source?: Buffer;
  type?: Buffer;
  subject?: Buffer;
  time?: string | Buffer;
  timeIsNumber?: boolean;
  data?: Buffer;
  extensions?: Buffer;
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
    const name = member.keyEscaped
      ? keyOf(value, member)
      : value.toString('latin1', member.keyStart + 1, member.keyEnd - 1);
    const outcome = takeMember(name, member, value, scanner, into);
    if (outcome === 'extension') {
      extensions ??= [];
      extensions.push(member);
    } else if (outcome !== null) {
      return outcome;
    }
  }
  into.altered = scanner.unstorableEscapes.length > 0;
  if (extensions !== null) {
    into.extensions = joinMembers(value, extensions, scanner.unstorableEscapes);
  }
  return null;
}

function takeMember(
  name: string,
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
      into[name] = stringBytes(value, member);
      return null;
    case 'time':
      if (member.kind === 'null') {
        return null;
      }
      if (member.kind !== 'string' && member.kind !== 'number') {
        return dead('schema', `time is a JSON ${member.kind}, not a string or a number`);
      }
      into.timeIsNumber = member.kind === 'number';
      into.time =
        member.kind === 'number'
          ? value.toString('latin1', member.valueStart, member.valueEnd)
          : decodeJsonString(value, member.valueStart, member.valueEnd, member.escaped);
      return null;
    case 'data':
      into.data = storableSlice(value, member.valueStart, member.valueEnd, scanner.unstorableEscapes);
      return null;
    case 'data_base64':
      into.data ??= storableSlice(value, member.valueStart, member.valueEnd, scanner.unstorableEscapes);
      return 'extension';
    case 'specversion':
    case 'datacontenttype':
      return null;
    default:
      return 'extension';
  }
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
  const bytes = stringBytes(value, member);
  const before = into[name];
  if (before !== undefined && !before.equals(bytes)) {
    return dead('ambiguous_id', `the object has two different values for ${name}`);
  }
  into[name] = bytes;
  return null;
}

function hasEscapeInside(scanner: JsonScanner, member: Member): boolean {
  return scanner.unstorableEscapes.some((at) => at >= member.valueStart && at < member.valueEnd);
}

function stringBytes(value: Buffer, member: Member): Buffer {
  return member.escaped
    ? Buffer.from(decodeJsonString(value, member.valueStart, member.valueEnd, true))
    : value.subarray(member.valueStart + 1, member.valueEnd - 1);
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
    gathered.extensions = Buffer.from(JSON.stringify(Object.fromEntries(extensions)));
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
      if (into[name] !== undefined && !into[name].equals(value)) {
        return dead('ambiguous_id', `the record has two different headers ce_${name}`);
      }
      into[name] = value;
      return null;
    case 'type':
    case 'subject':
      into[name] = Buffer.from(storableText(text));
      return null;
    case 'time':
      into.time = text;
      return null;
    case 'specversion':
      return null;
    default:
      extensions.set(storableText(name), storableText(text));
      return null;
  }
}

/** JSON stays JSON; other text becomes a JSON string, other bytes a JSON string of base64. */
function takeBody(value: Buffer, contentType: string, scanner: JsonScanner, into: Attributes): Decoded<never> | null {
  const isJson = /^(?:application|text)\/(?:[^;]*\+)?json\b/.test(contentType);
  if (!isJson) {
    const isText = contentType.startsWith('text/');
    const text = isText ? storableText(value.toString()) : value.toString('base64');
    into.data = Buffer.from(JSON.stringify(text));
    into.altered = isText && !Buffer.from(text).equals(value);
    return null;
  }
  const fault = scanValue(scanner, value);
  if (fault !== null) {
    return deadBy(fault);
  }
  into.data = storableSlice(value, value[0] === 0xef ? 3 : 0, value.length, scanner.unstorableEscapes);
  into.altered = scanner.unstorableEscapes.length > 0;
  return null;
}

/** The rules that hold in both modes. */
function finish(record: SourceRecord, gathered: Attributes, defaultSource: Buffer): Decoded<EventRow> {
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
  const time = timeOf(gathered, record.timestampMs);
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

function timeOf(gathered: Attributes, recordTimeMs: number): Timestamp | 'invalid_timestamp' | 'timestamp_range' {
  if (gathered.time === undefined) {
    return parseEpochMs(String(recordTimeMs));
  }
  const text = gathered.time.toString();
  return gathered.timeIsNumber === true ? parseEpochMs(text) : parseRfc3339(text);
}

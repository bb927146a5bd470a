import { z } from 'zod';

import { deadBy, dead, type Decoded } from './decoded.ts';
import type { JsonScanner } from './json-scan.ts';
import { emptyObject, type LogLine } from './log-line.ts';
import { exactNumber, isExactNumber, parseExactJson, type ExactNumber } from './exact-json.ts';
import { severityFromName, severityFromOtel } from './severity.ts';
import { keyOf, storableText, textStart } from './text.ts';
import { parseEpoch, type Timestamp, type TimestampFault } from './timestamp.ts';

/**
 * OTLP/JSON (OpenTelemetry protocol, `ExportLogsServiceRequest` or one `LogRecord`): proto3's JSON mapping. 64-bit integers
 * are strings or numbers, an absent member may be null, an enum may be its name, and attributes are lists of
 * `{key, value: {stringValue | intValue | …}}`. Numbers keep their text: 9007199254740993, 1.10 and 1e400 are no doubles.
 */
const exact = z.custom<ExactNumber>(isExactNumber);
const numeral = z.union([z.string(), z.number(), exact]);
const anyValue = z.looseObject({
  stringValue: z.string().optional(),
  boolValue: z.boolean().optional(),
  intValue: numeral.optional(),
  doubleValue: numeral.optional(),
  bytesValue: z.string().optional(),
  arrayValue: z.looseObject({ values: z.array(z.unknown()).optional() }).optional(),
  kvlistValue: z.looseObject({ values: z.array(z.unknown()).optional() }).optional(),
});
const keyValue = z.looseObject({ key: z.string(), value: anyValue.optional() });
const nanos = numeral.transform((value, context) => {
  const text = textOf(value);
  if (!/^\d+(?:\.\d+)?(?:[eE]\+?\d+)?$/.test(text) || !Number.isInteger(Number(text))) {
    context.addIssue({ code: 'custom', message: 'no count of nanoseconds' });
    return z.NEVER;
  }
  return text;
});
const severityNumber = z.union([
  z.number().int().min(0).max(24),
  z
    .string()
    .regex(/^SEVERITY_NUMBER_[A-Z]+[1-4]?$/)
    .transform((name) => severityFromOtel(name).number),
]);
const logRecord = z.looseObject({
  timeUnixNano: nanos.optional(),
  observedTimeUnixNano: nanos.optional(),
  severityNumber: severityNumber.optional(),
  severityText: z.string().optional(),
  body: anyValue.optional(),
  attributes: z.array(keyValue).optional(),
  traceId: z.string().optional(),
  spanId: z.string().optional(),
});
const exportRequest = z.looseObject({
  resourceLogs: z.array(
    z.looseObject({
      resource: z.looseObject({ attributes: z.array(keyValue).optional() }).optional(),
      scopeLogs: z.array(z.looseObject({ logRecords: z.array(logRecord).optional() })).optional(),
    }),
  ),
});
type KeyValues = readonly z.output<typeof keyValue>[];

/** A LogRecord has no other fields: an object that also holds a `message` is some logger's own, and loses nothing. */
const recordFields = new Set([...Object.keys(logRecord.shape), 'droppedAttributesCount', 'flags', 'eventName']);
/** The table counts a record's lines in a smallint. */
const maxLines = 32_767;

/** The lines of an OTLP document, or null when the object is not one. The scanner has just scanned it. */
export function decodeOtlp(value: Buffer, scanner: JsonScanner): Decoded<readonly LogLine[]> | null {
  const names = new Set(scanner.members.slice(0, scanner.memberCount).map((member) => keyOf(value, member)));
  const isExport = names.has('resourceLogs');
  if (!isExport && !isLogRecord(names)) {
    return null;
  }
  const sanitised = scanner.unstorableEscapes.length > 0;
  // A byte order mark is no JSON to JSON.parse.
  const document = parseExactJson(value.toString('utf8', textStart(value) ?? 0), withoutNulls);
  if (!isExport) {
    const parsed = logRecord.safeParse(document);
    return parsed.success ? lines([lineOf(parsed.data, [], sanitised)]) : null;
  }
  const parsed = exportRequest.safeParse(document);
  if (!parsed.success) {
    return dead('schema', 'resourceLogs is not an OTLP export');
  }
  const rows = parsed.data.resourceLogs.flatMap(({ resource, scopeLogs }) =>
    (scopeLogs ?? []).flatMap((scope) =>
      (scope.logRecords ?? []).map((record) => lineOf(record, resource?.attributes ?? [], sanitised)),
    ),
  );
  if (rows.length > maxLines) {
    return dead('too_large', `the OTLP export holds ${rows.length} log records`);
  }
  return rows.length === 0 ? dead('schema', 'the OTLP export holds no log record') : lines(rows);
}

function isLogRecord(names: ReadonlySet<string>): boolean {
  return (
    ['timeUnixNano', 'observedTimeUnixNano', 'severityNumber'].some((name) => names.has(name)) &&
    [...names].every((name) => recordFields.has(name))
  );
}

/** proto3's JSON: null is a member that is absent. */
function withoutNulls(value: unknown): unknown {
  return value ?? undefined;
}

function lines(rows: readonly (LogLine | null)[]): Decoded<readonly LogLine[]> {
  const whole = rows.filter((row) => row !== null);
  return whole.length === rows.length ? { kind: 'row', row: whole } : deadBy('timestamp_range');
}

function lineOf(record: z.output<typeof logRecord>, resource: KeyValues, sanitised: boolean): LogLine | null {
  const time = timeOf(record.timeUnixNano) ?? timeOf(record.observedTimeUnixNano);
  if (typeof time === 'string') {
    return null;
  }
  const service = resource.find((attribute) => attribute.key === 'service.name')?.value?.stringValue;
  return {
    time,
    severity: {
      number: record.severityNumber ?? severityFromName(record.severityText ?? '').number,
      text: storableOrNull(record.severityText),
    },
    service: storableOrNull(service),
    traceId: storableOrNull(record.traceId),
    spanId: storableOrNull(record.spanId),
    body: storableText(bodyText(record.body)),
    attributes: jsonOf(record.attributes ?? []),
    resource: jsonOf(resource),
    unstructured: false,
    sanitised,
  };
}

function storableOrNull(text: string | undefined): string | null {
  return text === undefined ? null : storableText(text);
}

/** 0 is OTLP's word for a time that nobody knows. */
function timeOf(nanoseconds: string | undefined): Timestamp | TimestampFault | null {
  return nanoseconds === undefined || /^0+$/.test(nanoseconds) ? null : parseEpoch(nanoseconds, 'ns');
}

function bodyText(body: z.output<typeof anyValue> | undefined): string {
  const value = body === undefined ? '' : plainValue(body);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function textOf(value: z.output<typeof numeral>): string {
  return typeof value === 'object' ? value.rawJSON : String(value);
}

/** An AnyValue as JSON; an integer is a number also beyond 2^53, and NaN, which JSON has not, stays the text that it is. */
function plainValue(value: z.output<typeof anyValue>): unknown {
  if (value.intValue !== undefined) {
    const text = textOf(value.intValue);
    return /^-?(?:0|[1-9]\d{0,18})$/.test(text) ? exactNumber(text) : value.intValue;
  }
  if (value.arrayValue !== undefined) {
    return (value.arrayValue.values ?? []).map(plainItem);
  }
  if (value.kvlistValue !== undefined) {
    const entries = z.array(keyValue).safeParse(value.kvlistValue.values ?? []);
    return entries.success ? plainObject(entries.data) : value.kvlistValue.values;
  }
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue ?? null;
}

/** What is no AnyValue stays as it is. */
function plainItem(item: unknown): unknown {
  const value = anyValue.safeParse(item);
  return value.success ? plainValue(value.data) : item;
}

function plainObject(entries: KeyValues): Record<string, unknown> {
  return Object.fromEntries(
    entries.map(({ key, value }) => [storableText(key), value === undefined ? null : plainValue(value)]),
  );
}

function jsonOf(entries: KeyValues): Buffer {
  if (entries.length === 0) {
    return emptyObject;
  }
  const sanitise = (_key: string, value: unknown): unknown => (typeof value === 'string' ? storableText(value) : value);
  return Buffer.from(JSON.stringify(plainObject(entries), sanitise));
}

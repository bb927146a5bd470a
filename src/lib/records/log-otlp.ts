import { z } from 'zod';

import { deadBy, dead, type Decoded } from './decoded.ts';
import type { JsonScanner } from './json-scan.ts';
import { emptyObject, type LogLine } from './log-line.ts';
import { severityFromName } from './severity.ts';
import { keyOf, storableText, textStart } from './text.ts';
import { isStorableMs, type Timestamp } from './timestamp.ts';

/**
 * OTLP/JSON (OpenTelemetry protocol, `ExportLogsServiceRequest` or one `LogRecord`): proto3's JSON mapping, so 64-bit
 * integers are strings and attributes are lists of `{key, value: {stringValue | intValue | …}}`.
 */
const anyValue = z.looseObject({
  stringValue: z.string().optional(),
  boolValue: z.boolean().optional(),
  intValue: z.union([z.string(), z.number()]).optional(),
  doubleValue: z.union([z.number(), z.string()]).optional(),
  bytesValue: z.string().optional(),
  arrayValue: z.looseObject({ values: z.array(z.unknown()).optional() }).optional(),
  kvlistValue: z.looseObject({ values: z.array(z.unknown()).optional() }).optional(),
});
const keyValue = z.looseObject({ key: z.string(), value: anyValue.optional() });
const nanos = z
  .union([z.string().regex(/^\d{1,20}$/), z.number().nonnegative().refine(Number.isInteger)])
  .transform((value) => BigInt(value));
const logRecord = z.looseObject({
  timeUnixNano: nanos.optional(),
  observedTimeUnixNano: nanos.optional(),
  severityNumber: z.number().int().min(0).max(24).optional(),
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
  const document: unknown = JSON.parse(value.toString('utf8', textStart(value) ?? 0));
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

function lines(rows: readonly (LogLine | null)[]): Decoded<readonly LogLine[]> {
  const whole = rows.filter((row) => row !== null);
  return whole.length === rows.length ? { kind: 'row', row: whole } : deadBy('timestamp_range');
}

function lineOf(record: z.output<typeof logRecord>, resource: KeyValues, sanitised: boolean): LogLine | null {
  const time = record.timeUnixNano === undefined || record.timeUnixNano === 0n ? null : fromNanos(record.timeUnixNano);
  if (time === 'timestamp_range') {
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

function fromNanos(value: bigint): Timestamp | 'timestamp_range' {
  const ms = Number(value / 1_000_000n);
  return !isStorableMs(ms) ? 'timestamp_range' : { ms, micros: Number((value / 1000n) % 1000n) };
}

function bodyText(body: z.output<typeof anyValue> | undefined): string {
  const value = body === undefined ? '' : plainValue(body);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** An AnyValue as JSON; integers stay text beyond 2^53, where a JSON number would lose digits. */
function plainValue(value: z.output<typeof anyValue>): unknown {
  if (value.intValue !== undefined) {
    const number = Number(value.intValue);
    return Number.isSafeInteger(number) ? number : String(value.intValue);
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

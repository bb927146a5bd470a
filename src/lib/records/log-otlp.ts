import { z } from 'zod';

import { deadBy, dead, type Decoded } from './decoded.ts';
import type { JsonScanner } from './json-scan.ts';
import { emptyObject, type LogLine } from './log-line.ts';
import { severityFromName } from './severity.ts';
import { keyOf, storableText } from './text.ts';
import { maxMs, type Timestamp } from './timestamp.ts';

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
const nanos = z.union([z.string().regex(/^\d{1,20}$/), z.number()]).transform((value) => BigInt(value));
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

/** The lines of an OTLP document, or null when the object is not one. The scanner has just scanned it. */
export function decodeOtlp(value: Buffer, scanner: JsonScanner): Decoded<readonly LogLine[]> | null {
  const names = new Set(scanner.members.slice(0, scanner.memberCount).map((member) => keyOf(value, member)));
  const isExport = names.has('resourceLogs');
  if (!isExport && !names.has('timeUnixNano') && !names.has('observedTimeUnixNano') && !names.has('severityNumber')) {
    return null;
  }
  const sanitised = scanner.unstorableEscapes.length > 0;
  const document: unknown = JSON.parse(value.toString());
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
  return rows.length === 0 ? dead('schema', 'the OTLP export holds no log record') : lines(rows);
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
      text: record.severityText ?? null,
    },
    service: service === undefined ? null : storableText(service),
    traceId: record.traceId ?? null,
    spanId: record.spanId ?? null,
    body: storableText(bodyText(record.body)),
    attributes: jsonOf(record.attributes ?? []),
    resource: jsonOf(resource),
    unstructured: false,
    sanitised,
  };
}

function fromNanos(value: bigint): Timestamp | 'timestamp_range' {
  const ms = Number(value / 1_000_000n);
  return ms > maxMs ? 'timestamp_range' : { ms, micros: Number((value / 1000n) % 1000n) };
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
    return (value.arrayValue.values ?? []).map((item) => plainValue(anyValue.parse(item)));
  }
  if (value.kvlistValue !== undefined) {
    return plainObject((value.kvlistValue.values ?? []).map((item) => keyValue.parse(item)));
  }
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue ?? null;
}

function plainObject(entries: KeyValues): Record<string, unknown> {
  return Object.fromEntries(entries.map(({ key, value }) => [key, value === undefined ? null : plainValue(value)]));
}

function jsonOf(entries: KeyValues): Buffer {
  if (entries.length === 0) {
    return emptyObject;
  }
  const sanitise = (_key: string, value: unknown): unknown => (typeof value === 'string' ? storableText(value) : value);
  return Buffer.from(JSON.stringify(plainObject(entries), sanitise));
}

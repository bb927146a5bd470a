import type { JsonPlace } from '../records/data-path.ts';
import { decodeJsonString } from '../records/text.ts';
import { parseEpochMs, parseRfc3339, type Timestamp } from '../records/timestamp.ts';
import { maxTimestampMicros, minTimestampMicros, type ColumnType } from './columns.ts';
import { decimalText } from './decimal.ts';

/**
 * One value of a declared column, read from JSON without passing through a double (but for FLOAT64, which is one):
 * texts, decimals and JSON as UTF-8 bytes, INT64 and a TIMESTAMP's microseconds as bigint, a DATE as days since 1970.
 */
export type CellValue = Buffer | bigint | number | boolean;

const minInt64 = -(2n ** 63n);
const maxInt64 = 2n ** 63n - 1n;
/** 0001-01-01 and 9999-12-31. */
const minDays = -719_162;
const maxDays = 2_932_896;
const dayMs = 86_400_000;

/** @returns undefined when the value, which is not null, is none of the type: nothing is rounded, cut or guessed */
export function readCell(type: ColumnType, data: Buffer, place: JsonPlace): CellValue | undefined {
  switch (type) {
    case 'JSON':
      return data.subarray(place.valueStart, place.valueEnd);
    case 'STRING':
      return place.kind === 'string' ? stringBytes(data, place) : undefined;
    case 'BOOL':
      return place.kind === 'true' || place.kind === 'false' ? place.kind === 'true' : undefined;
    case 'INT64':
      return int64(numeral(data, place));
    case 'NUMERIC':
    case 'BIGNUMERIC': {
      const text = decimalText(type, numeral(data, place));
      return text === undefined ? undefined : Buffer.from(text);
    }
    case 'FLOAT64':
      return place.kind === 'number' ? finite(Number(rawText(data, place))) : undefined;
    case 'TIMESTAMP':
      return timestampMicros(data, place);
    case 'DATE':
      return place.kind === 'string' ? daysSinceEpoch(String(stringBytes(data, place))) : undefined;
  }
}

function stringBytes(data: Buffer, { valueStart, valueEnd, escaped }: JsonPlace): Buffer {
  return escaped
    ? Buffer.from(decodeJsonString(data, valueStart, valueEnd, true))
    : data.subarray(valueStart + 1, valueEnd - 1);
}

function rawText(data: Buffer, { valueStart, valueEnd }: JsonPlace): string {
  return data.toString('latin1', valueStart, valueEnd);
}

/** A number's text; of a string too, because that is how producers keep numbers from JavaScript's doubles. */
function numeral(data: Buffer, place: JsonPlace): string {
  switch (place.kind) {
    case 'number':
      return rawText(data, place);
    case 'string':
      return String(stringBytes(data, place));
    default:
      return '';
  }
}

function int64(text: string): bigint | undefined {
  if (!/^-?(?:0|[1-9]\d{0,18})$/.test(text)) {
    return undefined;
  }
  const value = BigInt(text);
  return value >= minInt64 && value <= maxInt64 ? value : undefined;
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

function timestampMicros(data: Buffer, place: JsonPlace): bigint | undefined {
  const time: Timestamp | string =
    place.kind === 'string'
      ? parseRfc3339(String(stringBytes(data, place)))
      : place.kind === 'number'
        ? parseEpochMs(rawText(data, place))
        : 'not a time';
  if (typeof time === 'string') {
    return undefined;
  }
  const micros = BigInt(time.ms) * 1000n + BigInt(time.micros);
  return micros >= minTimestampMicros && micros <= maxTimestampMicros ? micros : undefined;
}

function daysSinceEpoch(text: string): number | undefined {
  const time = /^\d{4}-\d{2}-\d{2}$/.test(text) ? parseRfc3339(`${text}T00:00:00Z`) : 'not a date';
  const days = typeof time === 'string' ? Number.NaN : time.ms / dayMs;
  return days >= minDays && days <= maxDays ? days : undefined;
}
